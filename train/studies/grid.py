"""What the studies on rendered faces share: one small network and recipe for everybody, three seeds, intervals.

Unless a study is about pre-training, the network starts from `configs/train/tracing.yaml`: it knows where landmarks are
and nothing of Action Units.

A study is a list of runs. Runs that are done are not done again, so that a study goes on where it was stopped.
"""

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import t

from train.data.corpora.augment import Augmentation
from train.models.encoder import EncoderConfig
from train.runs.config import DataConfig, RunConfig
from train.runs.report import mean
from train.runs.run import read_results

Score = Literal["f1", "auc"]

SEEDS = (0, 1, 2)
AUS = ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26", "AU43")  # that a small picture may show
SCORES: tuple[tuple[Score, str], ...] = (("auc", f"Mean ROC-AUC of {len(AUS)} AUs"), ("f1", "Mean F1"))
FOLDER = Path("runs") / "studies"
RANDOM = EncoderConfig(backbone="light")
START = EncoderConfig(backbone="light", weights="runs/tracing/light.safetensors")
STILLS, ACTIVITIES = Path("runs") / "corpora" / "stills", Path("runs") / "corpora" / "activities"
JITTER = Augmentation(size=48, jitter=(0.4, 0.4, 0.4, 0.0), jitter_p=1.0, grey_p=0, blur_p=0)
VIEWS = Augmentation(size=48, crop=(0.8, 1.0), blur_p=0.5)  # of the methods that compare two views


class Value(NamedTuple):
    """Mean over seeds, and half the width of its 95 % interval (Student's t)."""

    mean: float
    half: float
    seeds: int

    def __str__(self) -> str:
        if not self.seeds:
            return "not measured"
        return f"{self.mean:.1f}" if np.isnan(self.half) else f"{self.mean:.1f} ± {self.half:.1f}"


def pictures(index: Path, protocol: str, **changes: Any) -> DataConfig:
    """Small pictures of the face alone."""
    return DataConfig(index=str(index), protocol=protocol, aus=AUS, resolution=56, middle=0.6, **changes)


def small(out: str, seed: int, data: DataConfig, method: Any, **changes: Any) -> RunConfig:
    """A run of the common recipe; `changes` are further keys of the config."""
    recipe: dict[str, Any] = {
        "encoder": START,
        "augmentation": JITTER,
        "batch": 32,
        "epochs": 1,
        "steps": 600,
        "learning_rate": 1e-3,
        "weight_decay": 0.02,
        "schedule": "cosine",
        "save_every": 100_000,
        "accelerator": "cpu",
        "precision": "bf16-mixed",
    }
    return RunConfig(out=str(FOLDER / out / f"seed{seed}"), seed=seed, data=data, method=method, **recipe | changes)


def done(config: RunConfig) -> bool:
    return bool(read_results(Path(config.out)))


def score(configs: Iterable[RunConfig], way: str, what: Score) -> Value:
    """Of one run a seed."""
    return over_seeds([mean(read_results(Path(config.out)), way, what) for config in configs if done(config)])


def over_seeds(values: Sequence[float]) -> Value:
    """One value a seed -> mean and interval; without an interval for fewer than two."""
    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else float("nan")
    return Value(float(np.mean(values)) if n else float("nan"), half, n)


def when_and_where() -> str:
    """For the head of a report."""
    return f"Read {datetime.date.today().isoformat()}; one thread of {os.cpu_count()} cores, {platform.machine()} CPU."


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
