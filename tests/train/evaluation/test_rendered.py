"""Figures on rendered people: worked examples."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from train.evaluation.rendered import (
    Bin,
    Estimates,
    calibration_error,
    card_metrics,
    draw_reliability,
    figures,
    reliability,
    scores,
    untrusted,
)

AUS = ("AU04", "AU12")


def made(count: int = 400, seed: int = 0) -> Estimates:
    """AU04 is estimated well on the left and not at all on the right; AU12 well on both sides."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random((count, 2)) < 0.5, 0, rng.uniform(1, 5, (count, 2))).astype(np.float32)
    left = truth + rng.normal(0, 0.2, truth.shape).astype(np.float32)
    right = left.copy()
    right[:, 0] = rng.uniform(0, 5, count)
    probability = np.where(truth >= 1, 0.9, 0.1).astype(np.float32)
    return Estimates(
        AUS,
        truth,
        truth.copy(),
        left,
        right,
        probability,
        {"women": np.arange(count) < 100},
        np.arange(count),
        count + 10,
    )


def test_left_and_right_have_scores_of_their_own() -> None:
    found = scores(made())
    assert found["AU04"].icc_left > 0.95
    assert abs(found["AU04"].icc_right) < 0.2
    assert found["AU12"].icc_right > 0.95
    assert found["AU12"].auc == 1
    assert found["AU12"].f1 == 1


def test_covered_sides_do_not_count() -> None:
    estimates = made()
    estimates.truth_right[::2] = np.nan
    estimates.probability[::2] = 0.5
    found = scores(estimates)
    assert found["AU12"].auc == 1
    assert found["AU12"].shown == int((estimates.truth_left[1::2, 1] >= 1).sum())


def test_an_action_unit_without_agreement_is_not_to_be_trusted() -> None:
    found = scores(made())
    found["AU04"] = found["AU04"]._replace(icc_right=0.9)
    found["AU12"] = found["AU12"]._replace(auc=0.8)
    assert [line.split()[0] for line in untrusted(found)] == ["AU12"]
    found["AU04"] = found["AU04"]._replace(icc_left=0.5, icc_right=0.4)
    assert [line.split()[0] for line in untrusted(found)] == ["AU04", "AU12"]


def test_one_never_shown_has_no_area_and_is_not_trusted() -> None:
    estimates = made()
    estimates.truth_left[:, 0] = estimates.truth_right[:, 0] = 0
    found = scores(estimates)
    assert np.isnan(found["AU04"].auc)
    assert not found["AU04"].trusted


def test_a_probability_that_is_one_has_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((20_000, 1)).astype(np.float32)
    truth = (rng.random(p.shape) < p).astype(np.float32)
    fair = Estimates(("AU12",), truth, truth, truth, truth, p, {}, np.arange(len(p)), len(p))
    assert calibration_error(reliability(fair)) < 0.02
    assert calibration_error(reliability(fair._replace(probability=np.sqrt(p)))) > 0.1


def test_calibration_error_by_hand() -> None:
    assert calibration_error([Bin(0.1, 0.2, 30), Bin(0.9, 0.6, 10)]) == pytest.approx((30 * 0.1 + 10 * 0.3) / 40)


def test_the_section_names_groups_and_every_action_unit() -> None:
    estimates = made()
    nobody = np.zeros(400, bool)
    lines = {figure.what: figure for figure in figures(estimates._replace(groups=estimates.groups | {"old": nobody}))}
    assert not any(what.startswith("old") for what in lines)
    assert {"AU04", "AU12", "women, 100 pictures", "AUs below AUC 0.85 or ICC 0.5 here"} <= lines.keys()
    assert "left 0.9" in lines["AU04"].value
    assert lines["mean ROC-AUC of occurrence, 2 AUs"].reached is True


def test_the_card_gets_a_column_for_each_score() -> None:
    metrics = card_metrics(scores(made()))
    assert metrics["pipeline_renders_auc_AU12"] == 1
    assert len(metrics) == 8


def test_the_diagram_is_drawn(tmp_path: Path) -> None:
    draw_reliability(made(), tmp_path / "docs" / "reliability.png")
    image = cv2.imread(str(tmp_path / "docs" / "reliability.png"))
    assert image is not None
    assert (image != 255).any()
