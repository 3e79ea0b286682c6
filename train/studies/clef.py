"""Does CLEF's stage 1, which only knows what people were doing, help stage 2 to see AUs?

Clips of 8 activities by 64 rendered people, 16 of them for testing. Stage 1: 400 steps of 8 activities x 12 people.
Stage 2: 600 steps, with AU labels of 10 or 100 % of the frames. The text table is of hashed words: it says which label
is meant, and nothing about its meaning.
"""

from typing import NamedTuple

from train.data.text_table import hashed, known_strings, write_text_table
from train.methods.clef import CLEFActivitiesConfig, CLEFConfig
from train.runs.config import DataConfig, ProbeConfig, RunConfig, SamplerConfig
from train.runs.run import run
from train.studies.grid import ACTIVITIES, FOLDER, SCORES, SEEDS, Score, done, over_seeds, pictures, score, small, table

SHARES = (0.1, 1.0)
ACTIVITIES_A_BATCH = 8
VARIANTS = ("stage 2 alone", "stage 1 before")
_TEXTS = FOLDER / "texts.npz"


class Cell(NamedTuple):
    variant: str
    seed: int

    @property
    def first(self) -> RunConfig:
        """Stage 1."""
        return small(
            "clef/stage1", self.seed, _data(1.0), CLEFActivitiesConfig(texts=str(_TEXTS)), batch=96, steps=400,
            folds=(1,), sampler=SamplerConfig(kind="activities", activities=ACTIVITIES_A_BATCH),
            probe=ProbeConfig(ways=()),
        )  # fmt: skip

    def second(self, share: float) -> RunConfig:
        """Stage 2."""
        before = self.variant != VARIANTS[0]
        return small(
            f"clef/{'before' if before else 'alone'}_{share:g}", self.seed, _data(share), CLEFConfig(texts=str(_TEXTS)),
            initial=self.first.out if before else "", folds=(1,), probe=ProbeConfig(ways=()),
        )  # fmt: skip


def measure(seed: int) -> None:
    """What is missing of a seed."""
    if not _TEXTS.exists():
        write_text_table(_TEXTS, hashed(known_strings(), 128))
    alone, before = (Cell(variant, seed) for variant in VARIANTS)
    runs = [before.first, *(cell.second(share) for cell in (alone, before) for share in SHARES)]
    for config in runs:
        if not done(config):
            run(config)


def report() -> str:
    """Tables of what is measured."""
    lines = ["### CLEF's stage 1 before its stage 2", __doc__.split("\n\n", 1)[1].strip()] if __doc__ else []
    for what, name in SCORES:
        rows: list[list[object]] = [
            [variant, *(score([Cell(variant, s).second(share) for s in SEEDS], "own", what) for share in SHARES)]
            for variant in VARIANTS
        ]
        rows.append(["gained, seed by seed", *(_gain(share, what) for share in SHARES)])
        lines += [f"{name}, percent, on unseen people:", table(["", "10 % of labels", "100 %"], rows)]
    return "\n\n".join(lines)


def _gain(share: float, what: Score) -> str:
    values = []
    for seed in SEEDS:
        alone, before = (Cell(variant, seed).second(share) for variant in VARIANTS)
        if done(alone) and done(before):
            values.append(score([before], "own", what).mean - score([alone], "own", what).mean)
    return str(over_seeds(values))


def _data(share: float) -> DataConfig:
    return pictures(ACTIVITIES, "subjects-4", labelled=share)
