import numpy as np
import pytest

from train.evaluation.agreement import icc31


def test_a_constant_difference_is_agreement_and_another_scale_is_not() -> None:
    truth = np.array([0.0, 1.0, 2.0, 5.0])
    assert icc31(truth, truth + 2) == pytest.approx(1)
    assert icc31(truth, -truth) == pytest.approx(-1)
    assert 0 < icc31(truth, 0.2 * truth) < 0.5


def test_it_is_the_two_way_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([a := rng.normal(size=12), a + rng.normal(size=12)], axis=1)
    rows, columns, grand = x.mean(axis=1), x.mean(axis=0), x.mean()
    between = 2 * sum((row - grand) ** 2 for row in rows) / 11
    error = sum((x[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(12) for j in range(2)) / 11
    assert icc31(x[:, 0], x[:, 1]) == pytest.approx((between - error) / (between + error))


def test_one_pair_says_nothing() -> None:
    assert np.isnan(icc31(np.ones(1), np.ones(1)))
