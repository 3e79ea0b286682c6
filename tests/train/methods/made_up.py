"""Small settings and batches for the tests of methods: random pictures, labels by chance, no corpus."""

import torch

from train.models.encoder import EncoderConfig
from train.runs.method import Batch, Setting

AUS = ("AU01", "AU04", "AU12")
SUBJECTS, SIZE = 4, 32


def setting(**changes: object) -> Setting:
    given = Setting(
        EncoderConfig(backbone="light"),
        AUS,
        torch.tensor([0.2, 0.5, 0.4]),
        SUBJECTS,
        activities=("hear a joke", "harsh insults"),
        expressions=("anger", "happiness", "neutral"),
        size=SIZE,
    )
    return given._replace(**changes)  # type: ignore[arg-type]


def batch(size: int = 8, views: int = 1, seed: int = 0) -> Batch:
    """`size` pictures; every known label occurs."""
    g = torch.Generator().manual_seed(seed)
    place = torch.arange(size)
    return Batch(
        images=torch.randn(views, size, 3, SIZE, SIZE, generator=g),
        occurrence=(torch.rand(size, len(AUS), generator=g) < 0.5).float(),
        known=torch.rand(size, len(AUS), generator=g) < 0.9,
        subject=place % SUBJECTS,
        activity=place // SUBJECTS % 2,
        expression=place % 3,
        session=place % SUBJECTS,
        frame=place,
    )


def clips(clips: int = 3, frames: int = 4, seed: int = 0) -> Batch:
    """Clips of distinct subjects, two views: every (B, ...) is (B, T, ...)."""
    g = torch.Generator().manual_seed(seed)
    shape = (clips, frames)
    who = torch.arange(clips)[:, None].expand(shape)
    nothing = torch.full(shape, -1)
    return Batch(
        images=torch.randn(2, *shape, 3, SIZE, SIZE, generator=g),
        occurrence=torch.zeros(*shape, 0),
        known=torch.zeros(*shape, 0, dtype=torch.bool),
        subject=who,
        activity=nothing,
        expression=nothing,
        session=who,
        frame=torch.arange(frames).expand(shape),
    )
