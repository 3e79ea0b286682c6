"""Boxes x0, y0, x1, y1: overlap and suppression."""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_MAX_OVERLAP = 0.4  # two detections that overlap more are one face


def bounds(points: NDArray[np.floating]) -> Float32:
    """(..., P, 2 or 3) -> (..., 4): the box around points."""
    xy = points[..., :2]
    return np.concatenate([xy.min(axis=-2), xy.max(axis=-2)], axis=-1).astype(np.float32)


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> Float32:
    """Intersection over union of one box (4,) with each of boxes (B, 4)."""
    shared, area, areas = _intersection(box, boxes), _area(box), _area(boxes)
    return np.asarray(shared / np.maximum(area + areas - shared, 1e-9), dtype=np.float32)


def covered(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> Float32:
    """Intersection over the smaller area of one box (4,) with each of boxes (B, 4): 1 where one lies in the other."""
    smaller = np.minimum(_area(box), _area(boxes))
    return np.asarray(_intersection(box, boxes) / np.maximum(smaller, 1e-9), dtype=np.float32)


def suppress(boxes: Float32, scores: Float32, max_overlap: float = _MAX_OVERLAP) -> list[int]:
    """Indices of the boxes (D, 4) that are kept, best score first: greedy non-maximum suppression."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or overlap(boxes[i], boxes[kept]).max() <= max_overlap:
            kept.append(int(i))
    return kept


def _intersection(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1))


def _area(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))
