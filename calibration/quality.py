"""Which views of a face can be relied on for AUs and for learning about the person."""

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
