"""Boxes x0, y0, x1, y1: overlap and suppression."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_MAX_OVERLAP = 0.4  # two detections that overlap more are one face


class Box(NamedTuple):
    """One box in plain numbers: a handful of faces is compared faster without arrays."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def around(cls, points: NDArray[np.floating]) -> Self:
        """The box around points (P, 2 or 3)."""
        x, y = points[:, 0], points[:, 1]
        return cls(float(x.min()), float(y.min()), float(x.max()), float(y.max()))

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> float:
        """The longer side."""
        return max(self.x1 - self.x0, self.y1 - self.y0)

    def moved(self, dx: float, dy: float) -> "Box":
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def shared(self, other: "Box") -> float:
        """Area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return width * height if width > 0 and height > 0 else 0.0

    def overlap(self, other: "Box") -> float:
        """Intersection over union."""
        shared = self.shared(other)
        return shared / max(self.area + other.area - shared, 1e-9)

    def covered(self, other: "Box") -> float:
        """Intersection over the smaller area: 1 where one lies in the other."""
        return self.shared(other) / max(min(self.area, other.area), 1e-9)


def bounds(points: NDArray[np.floating]) -> Float32:
    """(..., P, 2 or 3) -> (..., 4): the boxes around points."""
    xy = points[..., :2]
    return np.concatenate([xy.min(axis=-2), xy.max(axis=-2)], axis=-1).astype(np.float32)


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> Float32:
    """Intersection over union of one box (4,) with each of boxes (B, 4)."""
    size = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(size, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / np.maximum((box[2:] - box[:2]).prod() + areas - shared, 1e-9), dtype=np.float32)


def suppress(boxes: Float32, scores: Float32, max_overlap: float = _MAX_OVERLAP) -> list[int]:
    """Indices of the boxes (D, 4) that are kept, best score first: greedy non-maximum suppression."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or overlap(boxes[i], boxes[kept]).max() <= max_overlap:
            kept.append(int(i))
    return kept
