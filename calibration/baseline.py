"""A person's neutral face: what the AU model says of each AU, on each side, while the person does nothing.

Expressions push intensities up, and long ones hide the rest: a smile that lasts half a minute is the commonest face
of that minute. So the estimate trusts whole faces: of the looks so far it takes the half in which least is going on,
all AUs together, leaves out of these what is high in an AU by itself, and takes a quantile a little above the middle.
Little evidence is mixed with what is common among people.

All of it works on the logistic scale of the intensity, where the model's answers spread evenly, and there the resting
level is moved to the common one: the calibrated intensity is what the model would say of the same expression on a face
with a common resting level, stretched so that this level is 0 and 5 stays 5.

The constants were chosen on rendered validation people; `python -m train calibration-study` reports on others.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
State = Literal["none", "warming", "ready", "fixed"]  # no look yet; too few; enough; from an enrolment clip

MAX_INTENSITY = 5.0
COMMON = 0.12  # resting level where nothing is known
PRIOR_LOOKS = 4.0  # the common level weighs as much as so many looks
READY = 0.75  # confidence from which the baseline is used
SPACING_S = 0.25  # looks closer together say the same
CALM = 0.5  # share of the looks that is taken for rest
CALM_ENROLLED = 0.8  # the same of a clip for which the person was asked to rest
_ACTIVE = 2.5  # spreads above the level from which one AU's look is no rest
_QUANTILE = 0.6
_MOST_UP, _MOST_DOWN = 1.0, 2.0  # how far a resting level is moved on the logistic scale
_FLOOR = 0.005  # intensities are kept this far from 0 and 5, where the scale ends
_MIN_SPREAD = 0.3  # logistic; smaller differences mean nothing
_ROUNDS = 3
_CAPACITY = 512  # looks in memory


class Level(NamedTuple):
    """A neutral face. Left, then right, in the order of the AUs."""

    rest: Float32  # (2, A) resting level, 0-5
    spread: Float32  # (2, A) standard deviation of the model's answers at rest, 0-5
    looks: float  # independent calm looks behind it, on average over the AUs

    @property
    def confidence(self) -> float:
        """In [0, 1): how much the looks weigh against what is common."""
        return self.looks / (self.looks + PRIOR_LOOKS)

    @property
    def state(self) -> Literal["warming", "ready"]:
        """Whether the looks are enough."""
        return "ready" if self.confidence >= READY else "warming"


def estimate(looks: Float32, calm_share: float = CALM) -> Level:
    """(N, 2, A) intensities of N looks at one person, N >= 1, this share of them at rest -> the neutral face."""
    n, _, aus = looks.shape
    x = _logistic(looks.reshape(n, -1))
    level, spread = np.quantile(x, 0.2, axis=0), np.full(x.shape[1], 0.5)
    for _ in range(_ROUNDS):
        above = (x - level) / np.maximum(spread, _MIN_SPREAD)
        activity = above.clip(0, 4).mean(axis=1)
        calm = np.argsort(activity, kind="stable")[: max(1, round(calm_share * n))]
        resting = np.where(above[calm] < _ACTIVE, x[calm], np.nan)
        none = np.isnan(resting).all(axis=0)
        resting[0, none] = level[none]
        level = _quantile(resting, _QUANTILE)
        spread = 1.48 * _quantile(np.abs(resting - level), 0.5)
    count = np.isfinite(resting).sum(axis=0) - none
    level = (count * level + PRIOR_LOOKS * _logistic(np.array(COMMON))) / (count + PRIOR_LOOKS)
    rest = _intensity(level)
    per_unit = rest * (1 - rest / MAX_INTENSITY)  # slope of the intensity on the logistic scale
    return Level(
        rest.reshape(2, aus).astype(np.float32),
        (spread * per_unit).reshape(2, aus).astype(np.float32),
        float(count.mean()),
    )


def calibrated(sides: Float32, rest: Float32) -> Float32:
    """Intensities (..., 2, A) of a person with resting levels (2, A) -> (..., 2, A) in 0-5; the resting level is 0."""
    moved = np.clip(_logistic(np.array(COMMON)) - _logistic(rest), -_MOST_DOWN, _MOST_UP)
    odds = np.exp(moved) * sides
    as_common = MAX_INTENSITY * odds / (odds + (MAX_INTENSITY - sides))
    stretched = (as_common - COMMON) * (MAX_INTENSITY / (MAX_INTENSITY - COMMON))
    return np.asarray(stretched.clip(0, MAX_INTENSITY), dtype=np.float32)


class Baseline:
    """The neutral face of one person as it becomes known, look by look; what comes later changes nothing before it."""

    def __init__(self, aus: int) -> None:
        self._looks = np.empty((_CAPACITY, 2, aus), np.float32)
        self._count, self._spacing_s, self._last_s = 0, SPACING_S, -np.inf
        self._estimated_at, self._seen = 0, 0
        self.level: Level | None = None

    @property
    def state(self) -> State:
        return "none" if self.level is None else self.level.state

    @property
    def looks(self) -> Float32:
        """(N, 2, A) the looks in memory."""
        return self._looks[: self._count]

    def see(self, time_s: float, sides: Float32) -> None:
        """A good view of the person: intensities (2, A). Times grow; where they jump back, a clock began anew."""
        if 0 <= time_s - self._last_s < self._spacing_s:
            return
        self._last_s = time_s
        if self._count == _CAPACITY:  # every other look goes, and they come half as often from now on
            self._looks[: _CAPACITY // 2] = self._looks[::2].copy()
            self._count, self._spacing_s = _CAPACITY // 2, 2 * self._spacing_s
        self._looks[self._count] = sides
        self._count += 1
        self._seen += 1
        if self._seen >= 1.03 * self._estimated_at:  # the longer it is known, the less one look can change
            self._estimated_at = self._seen
            self.level = estimate(self._looks[: self._count])


def _logistic(intensity: NDArray[np.floating]) -> Float64:
    inside = np.clip(np.asarray(intensity, np.float64), _FLOOR, MAX_INTENSITY - _FLOOR)
    return np.asarray(np.log(inside / (MAX_INTENSITY - inside)))


def _intensity(x: Float64) -> Float64:
    return np.asarray(MAX_INTENSITY / (1 + np.exp(-x)))


def _quantile(values: Float64, q: float) -> Float64:
    """(N, C) with NaN for what does not count -> (C,); every column has a number."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    last = np.isfinite(ordered).sum(axis=0) - 1
    place = np.ceil(q * last).astype(int)
    return np.asarray(np.take_along_axis(ordered, place[None], axis=0)[0])
