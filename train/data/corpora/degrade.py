"""Imbalance and label noise, made on purpose: what a loss promises to stand can be tried where the truth is known."""

import numpy as np
from numpy.typing import NDArray

from train.data.corpora.index import Corpus, CorpusError, named

_STEPS, _SLACK = 2000, 0.01


def thinned(corpus: Corpus, rates: dict[str, float], seed: int) -> NDArray[np.int64]:
    """Rows (K,), ascending, among which each AU of `rates` is present in that share, within about 1 % of frames.

    Frames with an unknown label among these AUs are left out. A frame stays with a probability that is log-linear in
    its labels: of all ways to reach the rates the one that changes the corpus least (maximum entropy). Raises
    CorpusError where no frames could be kept, as when an AU never occurs.
    """
    strangers = sorted(set(rates) - set(corpus.aus))
    if strangers:
        raise CorpusError(f"{corpus.name} has no labels of {named(strangers)}")
    labels = corpus.occurrence[:, [corpus.aus.index(au) for au in rates]]
    rows = np.flatnonzero((labels >= 0).all(axis=1))
    present, wanted = labels[rows].astype(np.float64), np.array([*rates.values()])
    tilt = np.zeros(len(rates))
    for _ in range(_STEPS):  # Newton-like steps on the dual: each AU's odds towards the wanted ones
        weight = np.exp(present @ tilt)
        shown = (weight @ present / weight.sum()).clip(1e-9, 1 - 1e-9)
        step = np.log(wanted / (1 - wanted)) - np.log(shown / (1 - shown))
        tilt += 0.5 * step
        if np.abs(step).max() < 1e-4:
            break
    weight = np.exp(present @ tilt)
    shown = weight @ present / weight.sum()
    if np.abs(shown - wanted).max() > _SLACK:
        worst = int(np.abs(shown - wanted).argmax())
        raise CorpusError(f"{corpus.name}: no choice of frames shows {[*rates][worst]} in {wanted[worst]:.1%} of them")
    keep = np.random.default_rng([seed, 1]).random(len(rows)) < weight / weight.max()
    kept: NDArray[np.int64] = rows[keep]
    return kept


def noisy(occurrence: NDArray[np.int8], share: float, seed: int) -> NDArray[np.int8]:
    """Labels (F, A) of which each known one is flipped with probability `share`."""
    flipped = (np.random.default_rng([seed, 2]).random(occurrence.shape) < share) & (occurrence >= 0)
    return np.where(flipped, 1 - occurrence, occurrence).astype(np.int8)
