"""Which views of a face can be relied on: for AUs, for its resting level, and for who it is."""

import numpy as np
from numpy.typing import NDArray

MIN_INTER_OCULAR_PX = 14.0  # below, an eyebrow's raise is under a pixel
MAX_YAW_DEG = 55.0  # beyond, one half of the face is hidden
MAX_PITCH_DEG = 40.0
MIN_SCORE = 0.7


def reliable(
    inter_ocular_px: NDArray[np.floating], pose_deg: NDArray[np.float32], score: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(F,), pose (F, 3) pitch, yaw, roll, score (F,) in [0, 1] -> (F,) whether the view is good enough.

    The distance is corrected for yaw, so that a turned head does not count as a small one.
    """
    turned = np.cos(np.radians(np.clip(np.abs(pose_deg[:, 1]), 0, MAX_YAW_DEG)))
    return np.asarray(
        (inter_ocular_px / turned >= MIN_INTER_OCULAR_PX)
        & (np.abs(pose_deg[:, 1]) <= MAX_YAW_DEG)
        & (np.abs(pose_deg[:, 0]) <= MAX_PITCH_DEG)
        & (score >= MIN_SCORE)
    )


_REST_YAW_DEG, _REST_PITCH_DEG = 30.0, 20.0
_WHO_YAW_DEG, _WHO_PITCH_DEG = 40.0, 30.0  # beyond, an embedding says more of the pose than of the person
_GOOD_INTER_OCULAR_PX = 40.0  # larger faces do not tell more
_GOOD_SHARPNESS = 0.2  # fine detail over contrast of a face in focus


def steady(pose_deg: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(F, 3) pitch, yaw, roll -> (F,) whether the head is straight enough to learn the resting face from."""
    return np.asarray((np.abs(pose_deg[:, 1]) <= _REST_YAW_DEG) & (np.abs(pose_deg[:, 0]) <= _REST_PITCH_DEG))


def identity_weight(inter_ocular_px: float, pose_deg: NDArray[np.float32], score: float) -> float:
    """How much one view says about who it is, before its pixels are looked at: 0 for nothing, 1 for the best."""
    frontal = max(1 - abs(float(pose_deg[1])) / _WHO_YAW_DEG, 0) * max(1 - abs(float(pose_deg[0])) / _WHO_PITCH_DEG, 0)
    large = (inter_ocular_px - MIN_INTER_OCULAR_PX) / (_GOOD_INTER_OCULAR_PX - MIN_INTER_OCULAR_PX)
    return frontal * min(max(large, 0), 1) if score >= MIN_SCORE else 0.0


def sharpness_weight(crop: NDArray[np.float32]) -> float:
    """(3, S, S) aligned face -> how sharp it is, 0.1 to 1: its fine detail against its contrast."""
    grey = crop.mean(axis=0)
    inner = grey[1:-1, 1:-1]
    detail = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    contrast = float(inner.std())
    return float(np.clip(detail.std() / max(contrast, 1e-6) / _GOOD_SHARPNESS, 0.1, 1.0))
