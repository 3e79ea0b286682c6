"""The neutral face: found under smiles and with few looks, never looking ahead, and applied without moving the ends."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.baseline import COMMON, READY, Baseline, calibrated, estimate

AUS = 10
SMILE = (2, 4, 7)  # indices of the AUs that a smile shows


def looks(count: int, rest: float | NDArray[np.float64], smiling: float, seed: int = 0) -> NDArray[np.float32]:
    """(N, 2, A): noise about a resting level, smiles for a share of the time, and now and then something else."""
    rng = np.random.default_rng(seed)
    level = np.broadcast_to(np.asarray(rest), (AUS,))
    x = np.log(level / (5 - level)) + rng.normal(0, 0.25, (count, 2, AUS))
    smile = np.arange(count) % 50 < 50 * smiling
    x[np.ix_(smile, [0, 1], SMILE)] += 3.0
    other = rng.random((count, 1, AUS)) < 0.06
    return np.asarray(5 / (1 + np.exp(-(x + 2.5 * other))), np.float32)


@pytest.mark.parametrize("smiling", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("rest", [0.1, 0.4, 1.2])
def test_the_resting_level_is_found_whatever_the_share_of_smiling(smiling: float, rest: float) -> None:
    found = estimate(looks(400, rest, smiling))
    np.testing.assert_allclose(found.rest, rest, rtol=0.35)
    assert found.confidence > 0.9


def test_a_median_would_have_called_the_smile_neutral() -> None:
    shown = looks(400, 0.4, 0.6)
    assert np.median(shown, axis=0)[:, SMILE].min() > 2
    assert estimate(shown).rest[:, SMILE].max() < 0.6


def test_few_looks_say_little() -> None:
    one, some = estimate(looks(1, 1.5, 0)), estimate(looks(60, 1.5, 0))
    assert one.confidence < 0.3 < READY < some.confidence
    assert np.abs(one.rest - COMMON).max() < np.abs(some.rest - COMMON).min()


def test_left_and_right_rest_apart() -> None:
    shown = looks(200, 0.3, 0.3)
    shown[:, 0, 3] = looks(200, 1.2, 0, seed=1)[:, 0, 3]  # one brow is raised at rest
    found = estimate(shown).rest
    assert found[0, 3] == pytest.approx(1.2, rel=0.35)
    assert found[1, 3] == pytest.approx(0.3, rel=0.35)


def test_rest_becomes_0_and_5_stays_5_and_order_is_kept() -> None:
    for level in (0.05, 0.12, 0.6, 1.1):
        rest = np.full((2, 1), level, np.float32)
        shown = np.array([level, 1, 2, 3, 4, 5], np.float32)[:, None, None] * np.ones((1, 2, 1), np.float32)
        values = calibrated(shown, rest)[:, 0, 0]
        assert values[0] == pytest.approx(0, abs=0.1)
        assert values[-1] == pytest.approx(5)
        assert (np.diff(values[2:]) > 0).all()


def test_a_common_face_keeps_its_intensities_but_for_the_resting_level() -> None:
    rest = np.full((2, 1), COMMON, np.float32)
    shown = np.linspace(0.5, 5, 10, dtype=np.float32)[:, None, None] * np.ones((1, 2, 1), np.float32)
    np.testing.assert_allclose(calibrated(shown, rest), (shown - COMMON) * 5 / (5 - COMMON), atol=0.01)


def test_a_brow_that_is_high_at_rest_has_to_rise_further_to_be_raised() -> None:
    sides = np.full((2, 1), 1.6, np.float32)
    assert calibrated(sides, np.full((2, 1), 1.3, np.float32)).max() < 1
    assert calibrated(sides, np.full((2, 1), 0.05, np.float32)).min() > 1.6


def test_no_look_ahead() -> None:
    shown = looks(300, 0.8, 0.4)
    whole, part = Baseline(AUS), Baseline(AUS)
    for i, sides in enumerate(shown):
        whole.see(i * 0.25, sides)
        if i < 120:
            part.see(i * 0.25, sides)
        if i == 119:
            assert whole.level is not None
            assert part.level is not None
            np.testing.assert_array_equal(whole.level.rest, part.level.rest)


def test_states_and_looks_that_are_too_close() -> None:
    baseline = Baseline(AUS)
    assert baseline.state == "none"
    shown = looks(60, 0.3, 0)
    for i in range(300):  # 30 a second for 2 s, the same picture again and again
        baseline.see(i / 150, shown[0])
    assert baseline.state == "warming"
    for i in range(60):
        baseline.see(2 + i * 0.25, shown[i])
    assert baseline.state == "ready"


def test_an_hour_needs_no_more_memory_than_a_minute_and_still_tells_the_rest() -> None:
    baseline = Baseline(AUS)
    shown = looks(4000, 0.5, 0.5)
    for i in range(14400):
        baseline.see(i * 0.25, shown[i % 4000])
    assert baseline._count <= 512
    assert baseline.level is not None
    np.testing.assert_allclose(baseline.level.rest, 0.5, rtol=0.35)
