import numpy as np
import pytest

from rtau.align import apply, invert
from train.data.corpora.align import SIDE, aligned, face_transform

FIVE = np.array([[80.0, 100.0], [120.0, 100.0], [100.0, 125.0], [88.0, 145.0], [112.0, 145.0]])  # eyes, nose, mouth


def _landmarks(
    count: int, five: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """All points of an eye in its centre; points that must not matter far away."""
    eyes, nose, mouth = {
        478: (((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380)), 4, (61, 291)),
        68: ((range(36, 42), range(42, 48)), 30, (48, 54)),
        66: ((range(36, 42), range(42, 48)), 30, (48, 54)),
        49: ((range(19, 25), range(25, 31)), 13, (31, 37)),
    }[count]
    points = np.full((count, 2), -999.0)
    for eye, place in zip(eyes, five[:2], strict=True):
        points[list(eye)] = place
    points[nose], points[list(mouth)] = five[2], five[3:]
    return points


@pytest.mark.parametrize("count", [478, 68, 66, 49])
def test_the_box_of_the_five_points_is_in_the_middle_2_9_times_enlarged(count: int) -> None:
    places = apply(invert(face_transform(_landmarks(count, FIVE))), FIVE)
    low, high = places.min(axis=0), places.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, SIDE / 2)
    assert max(high - low) == pytest.approx(SIDE / 2.9)
    assert places[0, 1] == pytest.approx(places[1, 1])  # eyes level
    assert places[0, 0] < places[1, 0]  # not mirrored, not upside down
    assert places[2, 1] > places[0, 1]


def test_a_tilted_face_of_another_size_gives_the_same_picture() -> None:
    angle, upright = 0.6, face_transform(_landmarks(49, FIVE))
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = FIVE @ turn.T + [30, -12]
    tilted = face_transform(_landmarks(49, moved))
    np.testing.assert_allclose(apply(invert(tilted), moved), apply(invert(upright), FIVE), atol=1e-9)


def test_outside_the_picture_is_grey() -> None:
    black = np.zeros((140, 140, 3), np.uint8)
    out = aligned(black, face_transform(_landmarks(68, FIVE)))
    assert out.shape == (SIDE, SIDE, 3)
    assert (out[128, 128] == 0).all()
    assert (out[-1, -1] == 127).all()


def test_points_that_are_no_face_are_refused() -> None:
    with pytest.raises(ValueError, match="landmarks must be one of"):
        face_transform(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="no face"):
        face_transform(np.zeros((49, 2)))
    with pytest.raises(ValueError, match="no face"):
        face_transform(np.full((49, 2), np.nan))
