"""What the whole pipeline makes of rendered people that no training saw: their labels are exact.

Per Action Unit and side, per group of people, and whether a probability is one.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from rtau.boxes import bounds
from rtau.facs import AU_COLUMNS
from train.data.coded import load_coded_renders
from train.data.renders import load_renders
from train.evaluation.agreement import icc31
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

TRUSTED_AUC, TRUSTED_ICC = 0.85, 0.5  # below either the report names the AU
BINS = 10  # of the reliability diagram
FOLDER = Path("runs") / "synth" / "test"


class Estimates(NamedTuple):
    """F found faces, A Action Units in the order of `aus`; labels are NaN where covered."""

    aus: tuple[str, ...]
    truth_left: Float32  # (F, A) intensity 0-5
    truth_right: Float32  # (F, A)
    left: Float32  # (F, A)
    right: Float32  # (F, A)
    probability: Float32  # (F, A) of occurrence on either side
    groups: dict[str, Bools]  # (F,) who belongs to a group
    pictures: NDArray[np.int64]  # (F,) place in the split
    shown: int  # pictures, with those in which no face was found

    def some(self, which: Bools) -> "Estimates":
        rows = ("truth_left", "truth_right", "left", "right", "probability", "pictures")
        return self._replace(**{name: getattr(self, name)[which] for name in rows})


class Scores(NamedTuple):
    """How well one AU is estimated. NaN where it was never or always shown."""

    auc: float  # of occurrence: intensity >= 1 on either side
    f1: float  # at probability 0.5
    icc_left: float  # ICC(3,1) of intensity
    icc_right: float
    shown: int

    @property
    def icc(self) -> float:
        return (self.icc_left + self.icc_right) / 2

    @property
    def trusted(self) -> bool:
        return self.auc >= TRUSTED_AUC and self.icc >= TRUSTED_ICC


class Bin(NamedTuple):
    """Estimates whose probability is alike."""

    said: float  # mean probability
    true: float  # share in which it was so
    size: int


def estimate(runner: Runner, folder: Path) -> Estimates:
    """The pipeline on every picture of a folder of shards."""
    renders = load_renders(folder)
    people = pq.read_table(folder / "index.parquet", columns=["tone", "female", "age"]).to_pydict()
    tone, female, age = (np.array(people[name]) for name in ("tone", "female", "age"))
    columns = [AU_COLUMNS.index(au) for au in runner.aus]
    index, rows = [], []
    for k, data in enumerate(renders.jpegs):
        seen = runner.file(data, ".jpg")
        i = seen.match(bounds(renders.landmarks[k]))
        if i is not None:
            index.append(k)
            rows.append((seen.aus.left[i], seen.aus.right[i], seen.aus.occurrence[i]))
    left, right, probability = (np.stack(part) for part in zip(*rows, strict=True))
    groups = {
        "light skin": tone < 7 / 3,
        "brown skin": (tone >= 7 / 3) & (tone < 14 / 3),
        "dark skin": tone >= 14 / 3,
        "women": female,
        "men": ~female,
        "young": age < 1 / 3,
        "middle-aged": (age >= 1 / 3) & (age < 2 / 3),
        "old": age >= 2 / 3,
    }
    return Estimates(
        tuple(runner.aus),
        renders.left[index][:, columns],
        renders.right[index][:, columns],
        left,
        right,
        probability,
        {name: np.asarray(who[index], dtype=bool) for name, who in groups.items()},
        np.array(index),
        len(renders.jpegs),
    )


def scores(estimates: Estimates) -> dict[str, Scores]:
    """Every AU's scores; covered sides do not count."""
    found = {}
    for a, au in enumerate(estimates.aus):
        wanted, p = _occurrence(estimates, a)
        both = 0 < wanted.sum() < len(wanted)
        icc_left = _agreement(estimates.truth_left[:, a], estimates.left[:, a])
        icc_right = _agreement(estimates.truth_right[:, a], estimates.right[:, a])
        auc, f1 = (float(roc_auc_score(wanted, p)), float(f1_score(wanted, p >= 0.5))) if both else (float("nan"),) * 2
        found[au] = Scores(auc, f1, icc_left, icc_right, int(wanted.sum()))
    return found


def reliability(estimates: Estimates, aus: tuple[str, ...] | None = None) -> list[Bin]:
    """The reliability diagram over some AUs, all of them unless named."""
    chosen = [_occurrence(estimates, estimates.aus.index(au)) for au in aus or estimates.aus]
    wanted, p = (np.concatenate([pair[k] for pair in chosen]) for k in (0, 1))
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    bins = []
    for n in range(BINS):
        some = place == n
        if some.any():
            bins.append(Bin(float(p[some].mean()), float(wanted[some].mean()), int(some.sum())))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: Naeini, Cooper, Hauskrecht, AAAI 2015; 0 where every probability is true."""
    total = sum(each.size for each in bins)
    return sum(each.size * abs(each.said - each.true) for each in bins) / max(total, 1)


def untrusted(found: dict[str, Scores]) -> list[str]:
    """AUs whose figures say that they should not be trusted yet, with the figures."""
    return [f"{au} (AUC {s.auc:.2f}, ICC {s.icc:.2f})" for au, s in found.items() if not s.trusted]


def figures(estimates: Estimates) -> list[Figure]:
    """The section of the report."""
    found = scores(estimates)
    auc, icc = _means(found)
    bins = reliability(estimates)
    said = ", ".join(f"{each.said:.2f} is {each.true:.2f}" for each in bins)
    not_yet = untrusted(found)
    lines = [
        Figure(f"face found in {estimates.shown} pictures", f"{len(estimates.left) / estimates.shown:.1%}"),
        Figure(f"mean ROC-AUC of occurrence, {len(found)} AUs", f"{auc:.3f}", ">= 0.95", auc >= 0.95),
        _eye_beside(estimates),
        Figure("mean ICC(3,1) of intensity, left and right", f"{icc:.3f}", ">= 0.75", icc >= 0.75),
        Figure(f"AUs below AUC {TRUSTED_AUC} or ICC {TRUSTED_ICC} here", ", ".join(not_yet) or "none"),
        Figure("probabilities against how often it is true", said),
        Figure("expected calibration error, all AUs", f"{calibration_error(bins):.3f}"),
    ]
    for name, who in estimates.groups.items():
        if not who.any():
            continue
        group_auc, group_icc = _means(scores(estimates.some(who)))
        text = f"mean AUC {group_auc:.3f}, mean ICC {group_icc:.3f}"
        lines.append(Figure(f"{name}, {int(who.sum())} pictures", text))
    for au, s in found.items():
        error = calibration_error(reliability(estimates, (au,)))
        text = f"AUC {s.auc:.3f}, F1 {s.f1:.2f}, ICC left {s.icc_left:.2f}, right {s.icc_right:.2f}"
        lines.append(Figure(au, f"{text}, calibration error {error:.2f}, {s.shown} shown"))
    return lines


def _eye_beside(estimates: Estimates) -> Figure:
    """What an eye sees of exact labels: the reader of docs/coding.md on some pictures; what it cannot tell: absent."""
    coded = load_coded_renders()
    ours = estimates.some(np.array([picture in coded for picture in estimates.pictures]))
    codes = np.nan_to_num([coded[picture] for picture in ours.pictures])  # (F, 2, A)
    codes = codes[:, :, [AU_COLUMNS.index(au) for au in estimates.aus]]
    eye = ours._replace(left=codes[:, 0], right=codes[:, 1], probability=codes.max(axis=1) / 5)
    means = ", ".join(f"{_means(scores(each))[0]:.3f}" for each in (ours, eye))
    return Figure(f"the same on {len(codes)} of them: ours, a reader who codes by eye (docs/coding.md)", means)


def _means(found: dict[str, Scores]) -> tuple[float, float]:
    """Mean area and mean agreement of the AUs that have them; NaN where none has."""
    means = []
    for name in ("auc", "icc"):
        values = [value for value in (getattr(s, name) for s in found.values()) if np.isfinite(value)]
        means.append(float(np.mean(values)) if values else float("nan"))
    return means[0], means[1]


def card_metrics(found: dict[str, Scores]) -> dict[str, float]:
    """The same figures for the card of the AU encoder."""
    return {
        f"pipeline_renders_{name}_{au}": round(getattr(s, name), 3)
        for au, s in found.items()
        for name in ("auc", "f1", "icc_left", "icc_right")
        if np.isfinite(getattr(s, name))
    }


def draw_reliability(estimates: Estimates, path: Path) -> None:
    """A small reliability diagram of each AU: the diagonal is a true probability, bars are shares of the estimates."""
    tiles = [_diagram(au, reliability(estimates, (au,))) for au in estimates.aus]
    columns = 5
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f"{path}: cannot be written")


def _diagram(au: str, bins: list[Bin]) -> NDArray[np.uint8]:
    side, margin = 120, 16
    tile = np.full((side + 2 * margin, side + 2 * margin, 3), 255, np.uint8)
    total = sum(each.size for each in bins)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(margin + side * x), round(margin + side * (1 - y))

    for each in bins:
        left = int(min(each.said * BINS, BINS - 1)) / BINS
        cv2.rectangle(tile, at(left, 0), at(left + 1 / BINS, each.size / total), (225, 225, 225), -1)
    cv2.rectangle(tile, at(0, 0), at(1, 1), (120, 120, 120), 1)
    cv2.line(tile, at(0, 0), at(1, 1), (170, 170, 170), 1, cv2.LINE_AA)
    points = np.array([at(each.said, each.true) for each in bins], np.int32)
    cv2.polylines(tile, [points], False, (180, 60, 20), 2, cv2.LINE_AA)
    for x, y in points:
        cv2.circle(tile, (int(x), int(y)), 3, (180, 60, 20), -1, cv2.LINE_AA)
    cv2.putText(tile, au, (margin + 4, margin + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _agreement(truth: Float32, value: Float32) -> float:
    known = np.isfinite(truth)
    return icc31(truth[known], value[known])


def _occurrence(estimates: Estimates, a: int) -> tuple[Bools, Float32]:
    """Whether the AU is shown on either side, and its probability, where both sides are known."""
    left, right = estimates.truth_left[:, a], estimates.truth_right[:, a]
    known = np.isfinite(left) & np.isfinite(right)
    return np.maximum(left, right)[known] >= 1, estimates.probability[known, a]
