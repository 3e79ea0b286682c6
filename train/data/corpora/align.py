"""How faces of every corpus are cut out: the similarity transform of the JAA-Net line of work, which AUNCE follows.

The line between the eye centres is turned level; the middle of the box around five points (eye centres, nose tip, mouth
corners) becomes the middle of the picture, whose side is 2.9 times the longer side of that box.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.align import Transform, region
from train.data.augment import GREY, warp

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 256  # pixels
ENLARGEMENT = 2.9  # of JAA-Net's code; AUNCE states none
RECIPE = f"five points, eyes level, {ENLARGEMENT} x box, {SIDE} px, outside {GREY}"
WHOLE = f"whole picture, {SIDE} px"  # of corpora that deliver cut-out faces
STABLE_POINTS = (33, 133, 362, 263, 168, 6, 2, 98, 327)  # of the mesh: eye corners, bridge and base of the nose


class _Points(NamedTuple):
    """Where five points are among P landmarks; the eyes are centres of several. Left and right are the picture's."""

    left_eye: tuple[int, ...]
    right_eye: tuple[int, ...]
    nose: int
    mouth: tuple[int, int]


_SETS: dict[int, _Points] = {
    478: _Points((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), 4, (61, 291)),  # rtau's mesh
    68: _Points((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), 30, (48, 54)),  # iBUG, ZFace, Dlib
    66: _Points((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), 30, (48, 54)),  # DISFA: without 60 and 64
    49: _Points((19, 20, 21, 22, 23, 24), (25, 26, 27, 28, 29, 30), 13, (31, 37)),  # BP4D's SDM points
}


def face_transform(landmarks: NDArray[np.floating]) -> Transform:
    """Landmarks (P, 2 or more) in pixels, P of 478, 68, 66 or 49 -> (2, 3) from the aligned picture to the original.

    Raises ValueError for another number of landmarks, and for landmarks that are no face (not finite, in one place).
    """
    if len(landmarks) not in _SETS:
        raise ValueError(f"landmarks must be one of {sorted(_SETS)}, got {len(landmarks)}")
    where, xy = _SETS[len(landmarks)], landmarks[:, :2].astype(np.float64)
    left, right = xy[list(where.left_eye)].mean(axis=0), xy[list(where.right_eye)].mean(axis=0)
    five = np.stack([left, right, xy[where.nose], *xy[list(where.mouth)]])
    angle = float(np.arctan2(right[1] - left[1], right[0] - left[0]))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    level = five @ turn
    low, high = level.min(axis=0), level.max(axis=0)
    length = float((high - low).max()) * ENLARGEMENT
    if not (np.isfinite(length) and length > 1):
        raise ValueError("the landmarks are no face")
    return region(turn @ ((low + high) / 2), length, angle, SIDE)


def aligned(picture: UInt8, transform: Transform) -> UInt8:
    """(SIDE, SIDE, 3) RGB out of a picture (H, W, 3)."""
    return warp(picture, transform, (SIDE, SIDE))
