"""Head pose as a rotation, and as the angles of OpenFace."""

import numpy as np
from numpy.typing import NDArray

from rtau.messages import Point


def head_rotation(pose: Point) -> NDArray[np.float64]:
    """Pitch, yaw, roll in degrees (signs of `FaceAUs.pose`) -> (3, 3) rotation from the head to the camera.

    Camera axes: x right in the image, y down, z away from the camera. The head's axes are the same when it looks
    into the camera upright, so its nose points along -z. The head pitches first, then yaws, then rolls.
    """
    pitch, yaw, roll = np.radians(pose)
    return _about("z", -roll) @ _about("y", yaw) @ _about("x", -pitch)


def openface_angles(pose: Point) -> tuple[float, float, float]:
    """Pitch, yaw, roll in degrees -> pose_Rx, pose_Ry, pose_Rz in radians.

    OpenFace composes them as R = Rx Ry Rz in its camera's axes, which are those of `head_rotation`.
    """
    r = head_rotation(pose)
    x = np.arctan2(-r[1, 2], r[2, 2])
    y = np.arcsin(np.clip(r[0, 2], -1, 1))
    z = np.arctan2(-r[0, 1], r[0, 0])
    return float(x), float(y), float(z)


def _about(axis: str, angle: float) -> NDArray[np.float64]:
    """Right-handed rotation about a camera axis, radians."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix
