"""From a finished stage 1 of CL-ILE to an identity artifact, as `rtau` runs it: unit embeddings, the subjects stay."""

import datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rtau.errors import ConfigError
from rtau.models import Card, Provenance
from train.data.corpora import rendered
from train.data.corpora.align import SIDE
from train.data.corpora.index import Header, read_header
from train.data.provenance import BACKGROUNDS, ICT_FACE, MAKEHUMAN
from train.export import write_artifact
from train.methods.clile import ILE, ILEConfig
from train.runs.config import RunConfig
from train.runs.data import load
from train.runs.run import read_run, trained


class _Unit(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (normalize(self.encoder(image), dim=1),)


def export_identity(out: Path, fold_name: str, folder: Path) -> None:
    """Write the identity encoder of a fold of the run in `out` to `folder`: model.onnx and card.yaml.

    Raises ConfigError when the run is no `ile` run, has no such fold, or its index does not tell where landmarks lie.
    """
    run = read_run(out)
    config = run.config
    if not isinstance(config.method, ILEConfig):
        raise ConfigError(f"{out}: is a run of another method; the identity encoder is that of `ile` runs")
    data = load(config)
    folds = {fold.name: fold for fold in data.folds}
    if fold_name not in folds:
        raise ConfigError(f"{out}: has no fold {fold_name}, but {', '.join(folds)}")
    header = read_header(Path(config.data.index))
    method = trained(config, data, folds[fold_name])
    assert isinstance(method, ILE), "the config says so"
    size = config.augmentation.size
    card = Card(
        role="identity",
        name=f"cl-ile-{header.name.lower()}-{fold_name}",
        version=run.hash,
        sha256="",
        input_size=size,
        mean=config.augmentation.mean,
        std=config.augmentation.std,
        outputs={
            "embedding": f"(N, {config.method.width}) of unit length; the cosine of two says how alike two faces are"
        },
        template=template(header, config),
        licence="Apache-2.0" if header.name == rendered.NAME else f"as the agreement on {header.name} says",
        trained_on=_sources(header.name),
        command=f"python -m train export-identity {out} --fold {fold_name} --out {folder}",
        trained=datetime.date.today().isoformat(),
        limits=(
            f"knows {method.net.labels.table.shape[0]} people by how they show Action Units (CL-ILE, stage 1)",
            "for telling the people in front of one camera apart, not for identification or access control",
        ),
    )
    example = {"image": torch.randn(2, 3, size, size)}
    write_artifact(folder, _Unit(method.net.identity), example, {"image": {0: "n"}}, card)


def template(header: Header, config: RunConfig) -> tuple[tuple[int, float, float], ...]:
    """Landmark index, x, y in the pixels of a test view: the index has them in pictures of SIDE pixels.

    Raises ConfigError where the index has none.
    """
    if not header.template:
        raise ConfigError(
            f"{config.data.index}: does not tell where the mesh's landmarks lie; index the corpus with `--faces found`"
        )
    how, side = config.augmentation, config.data.resolution or SIDE
    shown = side if how.crop is not None else how.size  # side of the middle part that a test view shows
    left, scale = (side - shown) // 2, how.size / shown

    def placed(x: float) -> float:
        return round((x * side / SIDE - left) * scale, 3)

    return tuple((i, placed(x), placed(y)) for i, x, y in header.template)


def _sources(corpus: str) -> tuple[Provenance, ...]:
    if corpus == rendered.NAME:
        return (ICT_FACE, MAKEHUMAN, BACKGROUNDS)
    return (
        Provenance(
            name=corpus,
            licence="by agreement; not to be passed on",
            origin="indexed by its licence holder (docs/corpora.md)",
            used_for="frames with AU and subject labels",
        ),
    )
