import numpy as np
import pytest

from rtau.align import (
    LANDMARK_CROP,
    apply,
    crop_transform,
    fit_similarity,
    inter_ocular,
    invert,
    roi_from_box,
    roi_from_landmarks,
)

RNG = np.random.default_rng(0)


def face(angle_deg: float = 0.0) -> np.ndarray:
    """(478, 3) points in a 100 x 120 ellipse about (300, 200), eyes level before the turn."""
    points = RNG.uniform(-1, 1, (478, 2)) * [50, 60]
    points[[33, 133, 362, 263]] = [[-35, -20], [-12, -20], [12, -20], [35, -20]]
    points[[0, 1, 2, 3]] = [[-50, 0], [50, 0], [0, -60], [0, 60]]
    a = np.radians(angle_deg)
    turned = points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return np.column_stack([turned + np.array([300, 200]), np.zeros(478)])


def test_a_similarity_is_found_again() -> None:
    truth = np.array([[1.2, -0.5, 30.0], [0.5, 1.2, -7.0]])
    source = RNG.normal(size=(9, 2))
    np.testing.assert_allclose(fit_similarity(source, apply(truth, source)), truth, atol=1e-12)


def test_a_mirrored_target_is_not_reflected() -> None:
    source = RNG.normal(size=(9, 2))
    assert np.linalg.det(fit_similarity(source, source * [-1, 1])[:, :2]) >= 0


def test_invert_leads_back() -> None:
    transform = np.array([[1.2, -0.5, 30.0], [0.5, 1.2, -7.0]])
    points = RNG.normal(size=(5, 2))
    np.testing.assert_allclose(apply(invert(transform), apply(transform, points)), points)


def test_template_points_come_to_their_place_in_the_crop() -> None:
    template = np.array([[33, 30.0, 40.0], [263, 80.0, 40.0], [2, 55.0, 70.0]])
    placement = np.array([[2.0, 0.5, 100.0], [-0.5, 2.0, 50.0]])
    landmarks = np.zeros((478, 3))
    landmarks[[33, 263, 2], :2] = apply(placement, template[:, 1:])
    np.testing.assert_allclose(crop_transform(landmarks, template), placement, atol=1e-9)


@pytest.mark.parametrize("angle", [-40.0, 0.0, 25.0])
def test_the_region_is_level_with_the_eyes_and_holds_the_face_with_a_margin(angle: float) -> None:
    landmarks = face(angle)
    inside = apply(invert(roi_from_landmarks(landmarks)), landmarks[:, :2])
    eyes = inside[[33, 263]]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1])
    assert eyes[0, 0] < eyes[1, 0]  # the subject's right eye is on the left
    low, high = inside.min(axis=0), inside.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, LANDMARK_CROP / 2)
    assert (high - low).max() == pytest.approx(LANDMARK_CROP / 1.4)


def test_the_region_of_a_box_is_upright_about_its_centre() -> None:
    transform = roi_from_box(np.array([10.0, 20.0, 110.0, 100.0]))
    np.testing.assert_allclose(apply(transform, np.array([64.0, 64.0])), [60, 60])
    np.testing.assert_allclose(apply(transform, np.array([0.0, 0.0])), [60 - 70, 60 - 70])


def test_inter_ocular_is_the_distance_of_the_eye_centres() -> None:
    assert inter_ocular(face()) == pytest.approx(47.0)
