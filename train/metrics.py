"""Scores per AU over known labels, in percent, and their intervals over subjects.

F1 and accuracy as AUNCE counts them: threshold 0.5, all frames of the test fold, F1 0 where undefined.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.evaluation.agreement import icc31

Float = NDArray[np.float64]
_SEED = 0


class Scores(NamedTuple):
    """One value an AU, (N,) each; NaN where the labels do not allow it."""

    f1: Float
    accuracy: Float
    auc: Float  # 50 is chance
    icc: Float  # ICC(3,1), -100 to 100, of five times the probability with the labelled intensity 0-5
    always: Float  # F1 of saying "present" of every frame


def scores(probability: NDArray[np.floating], occurrence: NDArray[np.int8], intensity: NDArray[np.floating]) -> Scores:
    """Probabilities (F, N), occurrence (F, N) in {1, 0, -1 unknown}, intensity (F, N) NaN where unknown."""
    from sklearn.metrics import roc_auc_score  # a second to load

    counts = confusion(probability, occurrence).sum(axis=0)
    tp, _, fn, tn = counts.T.astype(np.float64)
    present, known = tp + fn, counts.sum(axis=1)
    nothing = np.full(len(known), np.nan)
    auc, icc = nothing.copy(), nothing.copy()
    for a in range(len(known)):
        seen = occurrence[:, a] >= 0
        if 0 < present[a] < known[a]:
            auc[a] = 100 * roc_auc_score(occurrence[seen, a], probability[seen, a])
        measured = ~np.isnan(intensity[:, a])
        if measured.sum() > 1 and np.ptp(intensity[measured, a]) > 0:
            icc[a] = 100 * icc31(intensity[measured, a], 5 * probability[measured, a])
    with np.errstate(invalid="ignore"):
        accuracy = 100 * np.where(known > 0, (tp + tn) / known, np.nan)
        always = 100 * np.where(known > 0, 2 * present / (known + present), np.nan)
    return Scores(f1(counts), accuracy, auc, icc, always)


def confusion(probability: NDArray[np.floating], occurrence: NDArray[np.int8]) -> NDArray[np.int64]:
    """(F, N, 4) in {0, 1}: true positive, false positive, false negative, true negative; none where unknown."""
    said, present, absent = probability >= 0.5, occurrence == 1, occurrence == 0
    return np.stack([said & present, said & absent, ~said & present, ~said & absent], axis=-1).astype(np.int64)


def f1(counts: NDArray[np.integer | np.floating]) -> Float:
    """(..., N, 4) counts -> (..., N) percent, 0 where undefined."""
    tp, fp, fn = (counts[..., i].astype(np.float64) for i in range(3))
    return 200 * tp / np.maximum(2 * tp + fp + fn, 1e-9)


def resampled_f1(folds: list[tuple[NDArray[np.int64], NDArray[np.str_]]], draws: int = 1000) -> Float:
    """Mean F1 over AUs and folds, (draws,), when each fold's test subjects are drawn anew with replacement.

    A fold is confusion (F, N, 4) and subject (F,). The draws depend on the subjects only: two methods tested on the
    same people meet the same draws, so that differences can be taken draw by draw.
    """
    means = []
    for n, (counts, subject) in enumerate(folds):
        people, who = np.unique(subject, return_inverse=True)
        own = np.zeros((len(people), *counts.shape[1:]))
        np.add.at(own, who, counts)
        drawn = np.tensordot(_times(len(people), n, draws), own, axes=1)  # (draws, N, 4)
        means.append(f1(drawn).mean(axis=1))
    return np.asarray(np.mean(means, axis=0))


def resampled_auc(
    folds: list[tuple[NDArray[np.floating], NDArray[np.int8], NDArray[np.str_]]], draws: int = 1000
) -> Float:
    """Mean ROC-AUC over AUs and folds, percent, (draws,), drawn like `resampled_f1`.

    A fold is probability (F, N), occurrence (F, N) in {1, 0, -1 unknown} and subject (F,). AUs that a draw does not
    show do not count in it.
    """
    means = []
    for n, (probability, occurrence, subject) in enumerate(folds):
        people, who = np.unique(subject, return_inverse=True)
        times = _times(len(people), n, draws)
        found = []
        for said, truth in zip(probability.T, occurrence.T, strict=True):
            rising = np.argsort(said, kind="stable")
            rising = rising[truth[rising] >= 0]
            starts = np.flatnonzero(np.diff(said[rising], prepend=-np.inf))  # of frames with one probability
            weights = times[:, who[rising]]
            present = np.add.reduceat(weights * (truth[rising] == 1), starts, axis=1)
            absent = np.add.reduceat(weights * (truth[rising] == 0), starts, axis=1)
            below = absent.cumsum(axis=1) - absent / 2  # absent frames with less, and half of those with as much
            pairs = present.sum(axis=1) * absent.sum(axis=1)
            with np.errstate(invalid="ignore"):
                found.append(100 * (present * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))
        means.append(np.nanmean(found, axis=0))
    return np.asarray(np.mean(means, axis=0))


def _times(people: int, fold: int, draws: int) -> Float:
    """(draws, people) how often each is drawn."""
    rng = np.random.default_rng([_SEED, fold])
    return rng.multinomial(people, np.full(people, 1 / people), size=draws).astype(np.float64)


def interval(values: Float, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
