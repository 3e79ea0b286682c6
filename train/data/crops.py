"""Where a face lies in the crops that the encoders see."""

import numpy as np
from numpy.typing import NDArray

from train.data.mesh import mean_shape
from train.data.photos import LabelledFace

INTER_OCULAR = 5 / 14  # distance of the outer eye corners, as a share of the crop's side
EYE_LEVEL = 3 / 8  # height of the eye line, likewise
STABLE_POINTS = (33, 133, 362, 263, 168, 6, 2, 98, 327)  # mesh points that expressions move little


def crop_template(faces: list[LabelledFace], side: int) -> NDArray[np.float64]:
    """(9, 3) landmark index, x, y: where the stable points of the mean frontal face lie in a crop of `side` pixels."""
    mean = mean_shape([face.landmarks for face in faces if abs(face.pose[1]) < 15])
    eyes = mean[[33, 133, 362, 263], :2].mean(axis=0)
    xy = (mean[list(STABLE_POINTS), :2] - eyes) * INTER_OCULAR * side + [side / 2, EYE_LEVEL * side]
    mirror = {33: 263, 133: 362, 98: 327}
    mirror |= {b: a for a, b in mirror.items()}
    twin = [STABLE_POINTS.index(mirror.get(i, i)) for i in STABLE_POINTS]
    xy = (xy + (xy[twin] * [-1, 1] + [side, 0])) / 2  # the same on both sides
    return np.concatenate([np.array(STABLE_POINTS, np.float64)[:, None], xy], axis=1)
