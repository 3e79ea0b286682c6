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
    x0, y0 = np.maximum(box[0], boxes[:, 0]), np.maximum(box[1], boxes[:, 1])
    x1, y1 = np.minimum(box[2], boxes[:, 2]), np.minimum(box[3], boxes[:, 3])
    intersection = np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + area - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9), dtype=np.float32)


def suppress(boxes: Float32, scores: Float32, max_overlap: float = _MAX_OVERLAP) -> list[int]:
    """Indices of the boxes (D, 4) that are kept, best score first: greedy non-maximum suppression."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or overlap(boxes[i], boxes[kept]).max() <= max_overlap:
            kept.append(int(i))
    return kept
