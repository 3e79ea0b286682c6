"""A start for the `light` backbone: it traces landmarks in rendered faces, and learns nothing of Action Units.

`python -m train tracing --config configs/train/tracing.yaml`

The papers start from ImageNet weights, which `light` does not have; from random weights a study's budget is spent
before anything is seen. Exact landmarks cost no label, and the people here are none of a study's. Ours.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import apply, invert
from train.data.augment import jittered, photometric, warp
from train.data.corpora.align import SIDE as ALIGNED
from train.data.corpora.align import face_transform
from train.data.corpora.augment import IMAGENET
from train.data.mesh import TELLING
from train.data.renders import Renders, load_renders
from train.engine import fit
from train.export import normalised
from train.models.backbones import BACKBONES

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 48
_MAX_YAW_DEG = 60.0
_CELLS = (SIDE // 16) ** 2


class TracingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    bf16: bool
    middle: float  # share of the aligned picture's side that is seen
    renders: str  # folder with train/ and validation/ shards of `python -m train render`
    first_person: int  # people of a lower number are left to the studies
    seed: int
    out: str  # safetensors, for `encoder.weights`
    run_folder: str


class Sample(NamedTuple):
    image: UInt8  # (48, 48, 3)
    places: Float32  # (P, 2) landmarks of `TELLING` as shares of the picture, from its middle


class Tracer(nn.Module):
    """Images (N, 3, 48, 48) -> (N, P, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = BACKBONES["light"].build()
        self.places = nn.Linear(BACKBONES["light"].dim * _CELLS, 2 * len(TELLING))

    def forward(self, images: Tensor) -> Tensor:
        flat: Tensor = self.places(self.backbone(images).flatten(1))
        return flat.view(len(images), -1, 2)


def run(config: TracingConfig) -> None:
    """Train, and write the backbone's tensors."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    shown, held_out = (load_renders(Path(config.renders) / split, None) for split in ("train", "validation"))
    rows = np.flatnonzero((np.abs(shown.pose[:, 1]) < _MAX_YAW_DEG) & (shown.person >= config.first_person))
    if not len(rows):
        raise ValueError(f"{config.renders}/train: nobody from person {config.first_person} on")
    samples = [_seen(held_out, i, config) for i in range(len(held_out.jpegs))]
    images, truth = torch.from_numpy(np.stack([s.image for s in samples])), np.stack([s.places for s in samples])

    def losses(model: nn.Module, loaded: object) -> dict[str, Tensor]:
        image, places = (torch.as_tensor(part) for part in cast(Sample, loaded))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            found = model(normalised(image, *IMAGENET)).float()  # pixel statistics of the studies' views
        return {"places": smooth_l1_loss(found * SIDE, places * SIDE, beta=0.5)}

    def report(model: nn.Module, _: int) -> str:
        off = np.linalg.norm(model(normalised(images, *IMAGENET)).numpy() - truth, axis=-1)
        return f"off by {SIDE * float(np.median(off)):.2f} px of {SIDE}"

    trained, minutes = fit(
        Tracer(),
        DataLoader(Traced(shown, rows, config), batch_size=config.batch, num_workers=1, prefetch_factor=4),
        losses,
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=500,
        report=report,
        ema_decay=0.99,
    )
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in cast(Tracer, trained).backbone.state_dict().items()}, out)
    print(f"{out}: {minutes:.1f} minutes, {report(trained, config.steps)}")


class Traced(IterableDataset[Sample]):
    """An endless stream of rendered faces."""

    def __init__(self, renders: Renders, rows: NDArray[np.int64], config: TracingConfig) -> None:
        self.renders, self.rows, self.config = renders, rows, config

    def __iter__(self) -> Iterator[Sample]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.config.seed, int(time.time())])
        while True:
            yield _seen(self.renders, int(rng.choice(self.rows)), self.config, rng)


def _seen(renders: Renders, i: int, config: TracingConfig, rng: Generator | None = None) -> Sample:
    """The face as the studies' corpora cut it out, a little moved and with the world's colours where `rng` is given."""
    inner = config.middle * ALIGNED
    whole = face_transform(renders.landmarks[i])
    linear = whole[:, :2] * (inner / SIDE)
    corner = apply(whole, np.full((1, 2), (ALIGNED - inner) / 2))[0]
    transform = np.concatenate([linear, corner[:, None]], axis=1)
    if rng is not None:
        transform = jittered(transform, SIDE, rng, 0.04, 1.06, 3.0)
    image = warp(renders.image(i), transform, (SIDE, SIDE))
    places = apply(invert(transform), renders.landmarks[i][list(TELLING), :2]) / SIDE - 0.5
    return Sample(image if rng is None else photometric(image, rng), places.astype(np.float32))
