"""What does pre-training on unlabelled clips give a linear probe, and what each of CLP's two signals?

Pre-training from random weights: 512 clips of 64 rendered people, 8 frames at 5 a second, 500 steps of 64 pictures
(SimCLR: of 64 pictures twice), AdamW with learning rate 0.002 for all. The probe (BatchNorm and a linear layer on the
frozen backbone) learns from 1, 10 or 100 % of the stills of 128 people and is tested on 64 others. `random` is the
untrained backbone with BatchNorm statistics of the same clips.
"""

from typing import NamedTuple

from train.methods.clp import CLPConfig
from train.methods.simclr import SimCLRConfig
from train.runs.config import ProbeConfig, RunConfig, SamplerConfig
from train.runs.run import run
from train.studies.grid import (
    ACTIVITIES,
    RANDOM,
    SCORES,
    SEEDS,
    STILLS,
    VIEWS,
    Score,
    Value,
    done,
    pictures,
    score,
    small,
    table,
)

SHARES = (0.01, 0.1, 1.0)
VARIANTS = ("random", "simclr", "temporal", "reconstruction", "both")
_STEPS = 500


class Cell(NamedTuple):
    variant: str
    seed: int

    @property
    def method(self) -> CLPConfig | SimCLRConfig:
        if self.variant in ("random", "simclr"):
            return SimCLRConfig()
        return CLPConfig(signals=self.variant, dictionary=1024, momentum=0.99)  # type: ignore[arg-type]

    @property
    def pretraining(self) -> RunConfig:
        data = pictures(ACTIVITIES, "all")
        changes: dict[str, object] = {"batch": 64, "steps": _STEPS, "learning_rate": 2e-3}
        if self.variant == "random":
            changes |= {"steps": 20, "learning_rate": 0.0}
        elif self.variant != "simclr":
            changes |= {"batch": 8, "sampler": SamplerConfig(kind="clips", length=8, stride=1)}
        return small(f"clp/{self.variant}", self.seed, data, self.method, encoder=RANDOM, augmentation=VIEWS, **changes)

    def probe(self, share: float) -> RunConfig:
        data = pictures(STILLS, "subjects-3", labelled=share)
        return small(
            f"clp/{self.variant}_{share:g}", self.seed, data, self.method, encoder=RANDOM, augmentation=VIEWS,
            folds=(1,), batch=16, epochs=0, steps=0, initial=self.pretraining.out,
            probe=ProbeConfig(epochs=60, batch_norm=True),
        )  # fmt: skip


def measure(seed: int) -> None:
    """What is missing of a seed."""
    for variant in VARIANTS:
        cell = Cell(variant, seed)
        for config in (cell.pretraining, *map(cell.probe, SHARES)):
            if not done(config):
                run(config)


def report() -> str:
    """Tables of what is measured."""
    lines = ["### CLP before a linear probe", __doc__.split("\n\n", 1)[1].strip()] if __doc__ else []
    for what, name in SCORES:
        rows = [[variant, *(_reached(variant, share, what) for share in SHARES)] for variant in VARIANTS]
        lines += [f"{name}, percent, on unseen people:", table(["", "1 % of labels", "10 %", "100 %"], rows)]
    return "\n\n".join(lines)


def _reached(variant: str, share: float, what: Score) -> Value:
    return score([Cell(variant, seed).probe(share) for seed in SEEDS], "honest_selected", what)
