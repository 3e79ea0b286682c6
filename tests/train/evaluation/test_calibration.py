"""The arithmetic of the study: what it counts, and that its rule of recognition is the one that runs."""

import numpy as np
import pytest

from calibration.recognise import AT_ONCE, LOOKS
from tests.calibration.made_up import direction, person
from train.evaluation.calibration import _eer, _follow, _rank1, _readings, _row
from train.evaluation.sessions import Look, Session

AUS = 4


def session(rest: float, seed: int) -> Session:
    """170 s of somebody whose first AU rests high; every fifth picture shows it strongly."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(0, 170, 0.5)
    truth = np.zeros((len(time_s), 2, AUS), np.float32)
    truth[::5, :, 0] = 3.0
    sides = np.full_like(truth, 0.1) + rng.uniform(0, 0.05, truth.shape).astype(np.float32)
    sides[:, :, 0] += rest
    sides[::5, :, 0] += 2.4
    nobody = np.zeros((0, 8), np.float32)
    return Session(time_s, truth, sides, np.ones(len(time_s), bool), nobody, np.zeros(0, np.float32))


def test_a_high_rest_costs_raw_intensities_and_not_calibrated_ones() -> None:
    shown, enrolment = session(1.0, 0), session(1.0, 1)
    enrolment.sides[::5, :, 0] -= 2.4
    late = shown.time_s >= 120
    read = _readings(shown, enrolment, late)
    truth = [shown.truth[late].max(axis=1)]
    raw, ours = (_row(name, truth, [read[name]]) for name in ("raw", "ours after 30 s"))
    assert raw.f1[0] == pytest.approx(2 * 0.2 / 1.2, abs=0.01)  # all of the time called present
    assert ours.f1[0] == pytest.approx(1)
    assert np.isnan(ours.f1[1:]).all()  # AUs that nobody shows do not count
    assert (ours.drawn > raw.drawn).all()
    assert _row("", truth, [read["ours by enrolment"]]).f1[0] == pytest.approx(1)


def test_frames_without_face_or_label_count_for_nobody() -> None:
    truth = np.array([[3.0], [np.nan], [0.0], [3.0]], np.float32)
    estimate = np.array([[3.0], [5.0], [0.0], [np.nan]], np.float32)
    assert _row("", [truth], [estimate]).f1[0] == 1


def test_rank_and_equal_error_rate() -> None:
    cosines = np.array([[0.9, 0.2], [0.8, 0.7]], np.float32)
    assert _rank1(cosines) == 0.5
    assert _eer(cosines, np.eye(2, dtype=bool)) == pytest.approx(0.5)
    assert _eer(np.eye(3, dtype=np.float32), np.eye(3, dtype=bool)) == 0


def test_names_come_by_the_rule_that_runs() -> None:
    alice = direction(1)
    looks = [Look(direction(5, alice, 0.65), 1.0)] * (LOOKS + 1)
    assert _follow([person("alice", alice)], 0.6, looks) == [None] * (LOOKS - 1) + ["alice"] * 2
    assert _follow([person("alice", alice)], 0.65 - AT_ONCE - 0.01, looks)[0] == "alice"
    assert _follow([person("bob", direction(2))], 0.6, looks)[-1] is None
