import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from train.metrics import confusion, interval, resampled_auc, resampled_f1, scores


def test_scores_of_a_worked_example() -> None:
    probability = np.array([[0.9], [0.6], [0.4], [0.1], [0.9]], np.float32)
    occurrence = np.array([[1], [0], [1], [0], [-1]], np.int8)
    intensity = np.array([[3], [0], [1], [0], [np.nan]], np.float32)
    found = scores(probability, occurrence, intensity)
    assert found.f1.tolist() == [pytest.approx(50)]  # one hit, one false alarm, one miss
    assert found.accuracy.tolist() == [pytest.approx(50)]
    assert found.auc.tolist() == [pytest.approx(75)]
    assert found.always.tolist() == [pytest.approx(100 * 2 / 3)]
    assert 0 < found.icc[0] < 100


def test_an_au_without_known_or_without_present_labels() -> None:
    occurrence = np.array([[-1, 0], [-1, 0]], np.int8)
    found = scores(np.full((2, 2), 0.2), occurrence, np.full((2, 2), np.nan))
    assert found.f1.tolist() == [0, 0]
    assert np.isnan(found.accuracy).tolist() == [True, False]
    assert np.isnan(found.auc).all()


def test_resampling_draws_whole_subjects_and_is_paired() -> None:
    rng = np.random.default_rng(0)
    occurrence = (rng.random((400, 2)) < 0.3).astype(np.int8)
    subject = np.repeat([f"p{i}" for i in range(20)], 20)
    good = np.where(rng.random((400, 2)) < 0.9, occurrence, 1 - occurrence)
    counts = confusion(good, occurrence)
    draws = resampled_f1([(counts, subject)])
    low, high = interval(draws)
    whole = scores(good.astype(np.float32), occurrence, np.full((400, 2), np.nan)).f1.mean()
    assert low < whole < high
    assert high - low < 20
    np.testing.assert_array_equal(draws, resampled_f1([(counts, subject)]))  # a method differs from itself by nothing
    one = resampled_f1([(counts, np.full(400, "p"))])
    assert np.ptp(one) == pytest.approx(0)  # one person: nothing to draw


def test_resampled_auc_is_sklearns_of_the_drawn_frames() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 2)) < 0.3).astype(np.int8)
    truth[:20, 1] = -1
    said = np.round(rng.random((300, 2)) * 0.7 + 0.3 * (truth == 1), 1)  # many frames of one probability
    subject = np.repeat([f"p{i:02d}" for i in range(30)], 10)
    draws = resampled_auc([(said, truth, subject)], draws=50)
    times = np.random.default_rng([0, 0]).multinomial(30, np.full(30, 1 / 30), size=50)
    for k in (0, 17, 49):
        rows = np.repeat(np.arange(300), np.repeat(times[k], 10))
        expected = []
        for a in range(2):
            seen = rows[truth[rows, a] >= 0]
            expected.append(100 * roc_auc_score(truth[seen, a], said[seen, a]))
        assert draws[k] == pytest.approx(np.mean(expected))
