import numpy as np
import pytest

from rtau.messages import Point
from rtau.sinks.pose import head_rotation, openface_angles

NOSE, CROWN, RIGHT_EAR = np.array([0, 0, -1]), np.array([0, -1, 0]), np.array([-1, 0, 0])  # the head at rest
LEFT, UP, NEARER = np.array([-1, 0, 0]), np.array([0, -1, 0]), np.array([0, 0, -1])  # in the image


@pytest.mark.parametrize(
    ("pose", "part", "towards"),
    [
        ((20, 0, 0), NOSE, UP),  # pitch + looks up
        ((0, 20, 0), NOSE, LEFT),  # yaw + looks to the subject's right, image left
        ((0, 0, 20), CROWN, LEFT),  # roll + tilts to the subject's right: the crown moves to image left
        ((0, 0, 20), RIGHT_EAR, -UP),  # and the right ear goes down
        ((0, 20, 0), RIGHT_EAR, -NEARER),
    ],
)
def test_a_positive_angle_turns_the_head_as_documented(pose: Point, part: np.ndarray, towards: np.ndarray) -> None:
    moved = head_rotation(pose) @ part - part
    assert moved @ towards > 0.3


def test_nothing_turns_at_zero() -> None:
    np.testing.assert_allclose(head_rotation((0, 0, 0)), np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("pose", "expected"),
    [((20, 0, 0), (-1, 0, 0)), ((0, 20, 0), (0, 1, 0)), ((0, 0, 20), (0, 0, -1))],
)
def test_openface_counts_down_and_clockwise_as_positive(pose: Point, expected: Point) -> None:
    np.testing.assert_allclose(openface_angles(pose), np.radians(20) * np.array(expected), atol=1e-12)


def test_openface_angles_compose_to_the_same_rotation() -> None:
    """R = Rx Ry Rz, as OpenFace's Euler2RotationMatrix writes it out."""
    for pose in np.random.default_rng(0).uniform(-60, 60, (50, 3)):
        (s1, s2, s3), (c1, c2, c3) = (f(openface_angles(tuple(pose))) for f in (np.sin, np.cos))
        openface = [
            [c2 * c3, -c2 * s3, s2],
            [c1 * s3 + c3 * s1 * s2, c1 * c3 - s1 * s2 * s3, -c2 * s1],
            [s1 * s3 - c1 * c3 * s2, c3 * s1 + c1 * s2 * s3, c1 * c2],
        ]
        np.testing.assert_allclose(head_rotation(tuple(pose)), openface, atol=1e-12)


def test_the_angles_are_those_of_the_teachers_matrix() -> None:
    """The training poses come from a rotation in axes x right, y up, z to the viewer; `head_rotation` undoes them."""
    flip = np.diag([1.0, -1.0, -1.0])
    for pose in np.random.default_rng(1).uniform(-60, 60, (50, 3)):
        r = flip @ head_rotation(tuple(pose)) @ flip
        pitch, yaw, roll = -np.arctan2(r[2, 1], r[2, 2]), np.arcsin(r[2, 0]), np.arctan2(r[1, 0], r[0, 0])
        np.testing.assert_allclose(np.degrees([pitch, yaw, roll]), pose, atol=1e-9)
