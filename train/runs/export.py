"""From a finished run to an rtau artifact: model.onnx, model.pt2 and card.yaml; of CL-ILE's stage 1 an identity one."""

from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtau.errors import ConfigError
from rtau.models import Card, Provenance
from train.data.corpora.augment import Augmentation
from train.data.corpora.index import Header, read_header
from train.data.provenance import ICT_FACE, MAKEHUMAN
from train.export import when_and_where, write_artifact
from train.methods.clile import ILE
from train.runs.checkpoint import read_net
from train.runs.config import DataConfig, RunConfig
from train.runs.identity_artifact import write_identity
from train.runs.method import Method
from train.runs.probe import LinearProbe
from train.runs.report import per_au
from train.runs.run import OWN, PROBE, Trained, read_trained

TOLERANCE = 1e-4
_POINTS = 478
_SIDE = 256  # of the pictures of an index
_RESTRICTED = "as the corpus: research only, not to be passed on"
_SOURCES: dict[str, tuple[Provenance, ...]] = {  # by corpus
    "BP4D": (Provenance("BP4D", "agreement with Binghamton University", "BP4D-Spontaneous, 2014", "labelled frames"),),
    "BP4D+": (Provenance("BP4D+", "agreement with Binghamton University", "MMSE, 2016", "labelled frames"),),
    "DISFA": (Provenance("DISFA", "agreement with the University of Denver", "DISFA, 2013", "labelled frames"),),
    "DISFA+": (Provenance("DISFA+", "agreement with the University of Denver", "DISFA+, 2016", "labelled frames"),),
    "GFT": (Provenance("GFT", "agreement with the University of Pittsburgh", "GFT, 2017", "labelled frames"),),
    "Aff-Wild2": (Provenance("Aff-Wild2", "academic agreement with iBUG", "Aff-Wild2", "labelled frames"),),
    "synth": (ICT_FACE, MAKEHUMAN),
}


class Exported(nn.Module):
    """A network as the runtime sees it: image (B, 3, S, S), points (B, 478, 2) -> four (B, N).

    The points are not looked at. Intensity is no estimate: it is the occurrence p, as 5 p^2.32, which is 1 at p = 0.5.
    """

    def __init__(self, method: Method, probe: nn.Module | None) -> None:
        super().__init__()
        self.method, self.probe = method, probe

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self.probe is None:
            occurrence = self.method.predict(image)
            assert occurrence is not None, "a method without a probe has a head"
        else:
            occurrence = self.probe(self.method.features(image))
        intensity = 5 * occurrence ** (np.log(5) / np.log(2))
        return occurrence, intensity, intensity, intensity


def export(out: Path, fold: str, to: Path) -> None:
    """Write fold `fold` of the run in `out` into folder `to`; the method's own head, or the honest probe's classifier.

    Stage 1 of CL-ILE gives an identity artifact, without model.pt2. Raises ConfigError where the run has no classifier,
    or its index does not say where faces lie in its pictures.
    """
    trained = read_trained(out, fold)
    config, method, result = trained.run.config, trained.method, trained.result
    header = read_header(Path(config.data.index))
    if not header.template:
        raise ConfigError(
            f"{config.data.index}: was not aligned by rtau's landmarks, so rtau cannot cut faces alike; index it anew "
            "with --faces found"
        )
    if isinstance(method, ILE):
        write_identity(to, method, _card(trained, header), TOLERANCE)
        return
    size = config.augmentation.size
    example = {"image": torch.randn(2, 3, size, size), "points": torch.zeros(2, _POINTS, 2)}
    with torch.no_grad():
        probe = None if method.predict(example["image"]) is not None else _probe(out / fold, method, example, config)
    net = Exported(method, probe).eval()
    way = OWN if probe is None else "honest_selected"
    measured = {f"{score}_{au}": value for score in ("f1", "auc") for au, value in per_au([result], way, score).items()}
    metrics = {name: round(value, 3) for name, value in measured.items()}
    card = msgspec.structs.replace(_card(trained, header), metrics=metrics)
    axes = {"image": {0: "n"}, "points": {0: "n"}}
    write_artifact(to, net, example, axes, card, TOLERANCE)
    batch = torch.export.Dim("n")
    program = torch.export.export(net, (), example, dynamic_shapes={name: {0: batch} for name in axes})
    torch.export.save(program, to / "model.pt2")
    with torch.no_grad():
        again = torch.export.load(to / "model.pt2").module()(**example)
        worst = max(float((a - b).abs().max()) for a, b in zip(net(**example), again, strict=True))
    if worst > TOLERANCE:
        raise RuntimeError(f"{to / 'model.pt2'}: differs from the network by {worst:.2g}")


def _card(trained: Trained, header: Header) -> Card:
    """Of an AU model, without metrics."""
    run, data, _, _, result = trained
    config = run.config
    places = placed(np.array(header.template), config.data, config.augmentation)
    return Card(
        role="au",
        name=f"{config.method.__struct_config__.tag}-{data.corpus.name.lower()}",
        version=run.hash,
        sha256="",
        input_size=config.augmentation.size,
        mean=config.augmentation.mean,
        std=config.augmentation.std,
        outputs={
            "occurrence": "(N, A) probability",
            "intensity": "(N, A) 0-5, no estimate: 5 p^2.32 of the occurrence p, 1 at 0.5",
            "left": "(N, A) as intensity",
            "right": "(N, A) as intensity",
        },
        aus=data.corpus.aus,
        template=tuple((int(i), round(float(x), 3), round(float(y), 3)) for i, x, y in places),
        licence="Apache-2.0" if data.corpus.name == "synth" else _RESTRICTED,
        trained_on=_SOURCES.get(data.corpus.name, ()),
        command=f"python -m train run (run {run.hash}, {result.fold}, commit {run.commit or 'unknown'})",
        trained=when_and_where(result.minutes),
        limits=(
            f"trained on {result.train_frames} frames of {data.corpus.name}, {result.fold} of {config.data.protocol}",
            "intensity and sides are not estimated",
        ),
    )


def placed(template: NDArray[np.floating], data: DataConfig, how: Augmentation) -> NDArray[np.float64]:
    """Template (P, 3) landmark, x, y in pictures of an index -> in the centre crop that the network sees."""
    kept = _SIDE - 2 * round(_SIDE * (1 - data.middle) / 2) if data.resolution else _SIDE  # pixels before shrinking
    side = data.resolution or _SIDE  # of what is cropped
    shown = side if how.crop is not None else how.size  # pixels of it that a centre crop shows
    places = template.astype(np.float64).copy()
    places[:, 1:] = ((places[:, 1:] - (_SIDE - kept) / 2) * side / kept - (side - shown) / 2) * how.size / shown
    return places


def _probe(folder: Path, method: Method, example: dict[str, Tensor], config: RunConfig) -> LinearProbe:
    path = folder / PROBE
    if not path.exists():
        raise ConfigError(f"{path}: missing; the run needs an honest probe (probe.ways), as the method has no head")
    state = read_net(path)
    probe = LinearProbe(method.features(example["image"]).shape, len(state["bias"]), config.probe.batch_norm)
    probe.load_state_dict(state)
    return probe.eval()
