"""How well intensities agree: ICC(3,1) of Shrout and Fleiss, Psychological Bulletin 86(2), 1979."""

import numpy as np
from numpy.typing import NDArray


def icc31(truth: NDArray[np.floating], estimate: NDArray[np.floating]) -> float:
    """Two raters (n,), (n,) -> (BMS - EMS) / (BMS + EMS); 1 is agreement up to a constant, NaN for n < 2."""
    ratings = np.stack([truth, estimate], axis=1).astype(np.float64)
    n = len(ratings)
    if n < 2:
        return float("nan")
    centred = ratings - ratings.mean(axis=0)
    persons = centred.mean(axis=1)
    between = 2 * (persons**2).sum() / (n - 1)
    error = ((centred - persons[:, None]) ** 2).sum() / (n - 1)
    total = between + error
    return float((between - error) / total) if total > 0 else float("nan")
