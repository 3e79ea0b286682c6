"""Where the head is, which camera sees it, and what light falls on it; independent of who it is and what it does."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.synthesis.shade import Light

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_PIVOT = np.array([0.0, 0.2, 3.0])  # the head turns about this point
_FACE_PLANE_CM = 5.0  # distances are measured to the plane z = 5 of the model


class Camera(NamedTuple):
    """A pinhole without distortion; camera frame: x right, y up, z towards the viewer, in cm."""

    rotation: Float64  # (3, 3) model -> camera
    shift: Float64  # (3,)
    focal: float  # pixels
    centre: tuple[float, float]  # principal point, pixels
    size: int  # the picture is square

    def to_camera(self, points: NDArray[np.floating]) -> Float32:
        """(..., 3) model -> camera frame."""
        return np.asarray(points @ self.rotation.T.astype(np.float32) + self.shift.astype(np.float32), dtype=np.float32)

    def project(self, points: NDArray[np.floating]) -> Float32:
        """(..., 3) camera frame -> (..., 3) x, y in pixels (y down, centres at +0.5) and distance in cm."""
        distance = -points[..., 2]
        x = self.centre[0] + self.focal * points[..., 0] / distance
        y = self.centre[1] - self.focal * points[..., 1] / distance
        return np.stack([x, y, distance], axis=-1).astype(np.float32)

    def scaled(self, size: int) -> "Camera":
        """The same view in a picture of another size."""
        k = size / self.size
        return self._replace(focal=self.focal * k, centre=(self.centre[0] * k, self.centre[1] * k), size=size)


class Scene(NamedTuple):
    camera: Camera
    pose: tuple[float, float, float]  # pitch, yaw, roll in degrees, signs as in rtau.structures.TrackedFaces
    light: Light
    exposure: float  # factor on the median brightness that the face is exposed for


def draw_scene(rng: Generator, size: int, shine: float, *, frontal: bool = False) -> Scene:
    """A pose, a camera and a light."""
    spread = 0.15 if frontal else 1.0
    wide = rng.random() < 0.12
    yaw = (
        float(rng.uniform(-1.05, 1.05))
        if wide and not frontal
        else float(np.clip(rng.normal(0, 0.30), -1.1, 1.1)) * spread
    )
    pitch_down, roll = float(rng.normal(0.02, 0.15) * spread), float(rng.normal(0, 0.12) * spread)
    distance = float(np.exp(rng.uniform(np.log(38), np.log(220))))
    half = float(rng.uniform(10.5, 14.5))
    focal = size / 2 * distance / half
    offset = rng.normal([0.0, 1.6], [0.9, 0.9])
    centre = (size / 2 + offset[0] * focal / distance, size / 2 + offset[1] * focal / distance)
    camera = Camera(np.eye(3), np.array([0.0, 0.0, -distance - _FACE_PLANE_CM]), focal, centre, size)
    scene = Scene(camera, (0.0, 0.0, 0.0), _draw_light(rng, shine), float(np.exp(rng.normal(0, 0.22))))
    pitch, yaw_right, tilt = (float(v) for v in np.degrees([-pitch_down, -yaw, roll]))
    return posed(scene, (pitch, yaw_right, tilt))


def posed(scene: Scene, pose: tuple[float, float, float]) -> Scene:
    """The scene with the head turned to pitch, yaw, roll (degrees) about the neck, everything else unchanged."""
    pitch, yaw, roll = np.radians(pose)
    rotation = _about_z(roll) @ _about_x(-pitch) @ _about_y(-yaw)
    camera = scene.camera
    before = camera.rotation @ _PIVOT + camera.shift  # where the neck is stays
    return scene._replace(pose=pose, camera=camera._replace(rotation=rotation, shift=before - rotation @ _PIVOT))


def _draw_light(rng: Generator, shine: float) -> Light:
    direction = np.array([rng.normal(0, 0.7), rng.normal(0.45, 0.45), rng.uniform(0.25, 1.2)])
    direction /= np.linalg.norm(direction)
    strength = float(rng.uniform(0.05, 1.0))
    key = 1.25 * strength * _tint(rng)
    c0 = ((1.15 - strength) * rng.uniform(0.55, 0.85)) * _tint(rng) + 0.12
    ambient = np.zeros((9, 3))
    ambient[0] = c0
    for k in range(1, 9):
        ambient[k] = rng.normal(0, 0.22 if k < 4 else 0.07) * c0 * (1 + rng.normal(0, 0.12, 3))
    ambient[1] += 0.15 * c0  # more light from above
    return Light(direction.astype(np.float32), key.astype(np.float32), ambient.astype(np.float32), shine)


def _tint(rng: Generator) -> Float64:
    t = float(np.clip(rng.normal(), -2, 2))
    return np.array([1 + 0.12 * t, 1 + 0.01 * t, 1 - 0.14 * t])


def _about_x(a: float) -> Float64:
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def _about_y(a: float) -> Float64:
    return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])


def _about_z(a: float) -> Float64:
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def gaze_rotation(yaw: float, pitch: float, side: int) -> Float64:
    """(3, 3) from the unposed face to the axes of an eye (0 right, 1 left); at rest it looks 4 degrees outwards."""
    axis = np.array([-0.0725 if side == 0 else 0.0725, 0.005, 0.997])
    axis /= np.linalg.norm(axis)
    rest = _about_y(float(np.arctan2(axis[0], axis[2]))) @ _about_x(float(-np.arcsin(axis[1])))
    return np.asarray((_about_y(yaw) @ _about_x(-pitch) @ rest).T)
