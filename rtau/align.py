"""Where to look: similarity transforms between crops and the picture. Pure geometry.

A transform is a (2, 3) float64 matrix from crop pixels to picture pixels; pixel centres are at +0.5.
"""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
Transform = NDArray[np.float64]

LANDMARK_CROP = 128  # side of the crop for the landmark network
_MARGIN = 1.4  # its region is this much larger than the face
_RIGHT_EYE, _LEFT_EYE = [33, 133], [362, 263]  # mesh points at the corners of the subject's eyes


def apply(transform: Transform, points: Points) -> NDArray[np.float64]:
    """(..., 2, 3), (..., P, 2) or (2,) -> the points on the other side, same shape."""
    linear, shift = transform[..., :2], transform[..., 2]
    return np.asarray(points @ linear.swapaxes(-1, -2) + (shift if points.ndim == 1 else shift[..., None, :]))


def invert(transform: Transform) -> Transform:
    """(..., 2, 3) -> the transforms that lead back."""
    (a, b, x), (c, d, y) = (np.moveaxis(transform[..., row, :], -1, 0) for row in (0, 1))
    det = a * d - b * c
    back = np.stack([d, -b, b * y - d * x, -c, a, c * x - a * y], axis=-1) / np.asarray(det)[..., None]
    return np.asarray(back.reshape(transform.shape), dtype=np.float64)


def fit_similarity(source: Points, target: Points) -> Transform:
    """Least-squares rotation, scale and shift (no reflection) from source (P, 2) to target (..., P, 2) -> (..., 2, 3).

    Umeyama, IEEE TPAMI 13(4), 1991, in its two-dimensional form: with complex numbers it is one division.
    """
    s_mean, t_mean = source.mean(axis=-2), target.mean(axis=-2)
    s, t = source - s_mean, target - t_mean[..., None, :]
    norm = (s**2).sum()
    a = (s * t).sum(axis=(-1, -2)) / norm
    b = (s[:, 0] * t[..., 1] - s[:, 1] * t[..., 0]).sum(axis=-1) / norm
    x = t_mean[..., 0] - a * s_mean[0] + b * s_mean[1]
    y = t_mean[..., 1] - b * s_mean[0] - a * s_mean[1]
    return np.stack([a, -b, x, b, a, y], axis=-1).reshape(*target.shape[:-2], 2, 3).astype(np.float64)


def inter_ocular(landmarks: Points) -> NDArray[np.float64]:
    """(..., 478, 2 or 3) -> (...,) distance between the eye centres, in the unit of the landmarks."""
    right = landmarks[..., _RIGHT_EYE, :2].mean(axis=-2)
    left = landmarks[..., _LEFT_EYE, :2].mean(axis=-2)
    return np.asarray(np.linalg.norm(left - right, axis=-1), dtype=np.float64)


def crop_transform(landmarks: Points, template: NDArray[np.float64]) -> Transform:
    """Landmarks (..., 478, 2 or 3) in picture pixels, template rows (index, x, y) -> (..., 2, 3) from the AU crop."""
    return fit_similarity(template[:, 1:], landmarks[..., template[:, 0].astype(int), :2])


def roi_from_landmarks(landmarks: Points, side: int = LANDMARK_CROP) -> Transform:
    """The square region around landmarks (478, 2 or 3), turned so that the eyes lie level."""
    xy = landmarks[:, :2].astype(np.float64)
    eyes = xy[_LEFT_EYE].mean(axis=0) - xy[_RIGHT_EYE].mean(axis=0)
    angle = np.arctan2(eyes[1], eyes[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    level = xy @ turn  # coordinates along the eyes and down
    along, down = np.ascontiguousarray(level.T)
    low, high = np.array([along.min(), down.min()]), np.array([along.max(), down.max()])
    return region(turn @ ((low + high) / 2), float((high - low).max()) * _MARGIN, float(angle), side)


def roi_from_box(box: Points, side: int = LANDMARK_CROP) -> Transform:
    """The upright square region around a detector's box (4,) x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return region(np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0) * _MARGIN, 0.0, side)


def region(centre: Points, length: float, angle: float, side: int) -> Transform:
    """A square of `length` picture pixels about a centre (2,), turned clockwise by `angle` (radians), as a crop."""
    scale = length / side
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([linear, (centre - linear @ np.full(2, side / 2))[:, None]], axis=1)
