"""478 landmarks, head pose and face presence inside given regions of pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.align import apply
from rtau.config import PipelineConfig
from rtau.crop import View
from rtau.engines import Arrays
from rtau.models import load_artifact
from rtau.networks import open_network
from rtau.structures import Float32, Picture


class LandmarkedFaces(NamedTuple):
    """What the network sees in R regions."""

    landmarks: Float32  # (R, 478, 3) x, y in pixels of the displayed picture, z in the same unit
    pose: Float32  # (R, 3) pitch, yaw, roll in degrees; signs as in structures.TrackedFaces
    presence: Float32  # (R,) probability of a face, in [0, 1]


class FaceLandmarks:
    """The landmark artifact applied to regions."""

    def __init__(self, config: PipelineConfig) -> None:
        artifact = load_artifact(config.faces.landmarks, "landmarks")
        self.card = artifact.card
        most = max(config.faces.max_faces, config.au.max_batch)
        self._network = open_network(artifact, config, most)
        self.sizes = self._network.sizes

    def __call__(self, picture: Picture, regions: NDArray[np.float64]) -> LandmarkedFaces:
        """Regions (R, 2, 3): from crop pixels to picture pixels, R >= 1."""
        return self.of_all([View(picture, regions)])[0]

    def of_all(self, views: Sequence[View]) -> list[LandmarkedFaces]:
        """The same for several pictures with one or more regions each, all in one batch."""
        out = self._network.faces(views)
        ends = np.cumsum([len(view.transforms) for view in views])
        return [
            _in_picture(
                view.transforms, {name: values[end - len(view.transforms) : end] for name, values in out.items()}
            )
            for view, end in zip(views, ends, strict=True)
        ]


def _in_picture(regions: NDArray[np.float64], out: Arrays) -> LandmarkedFaces:
    """What the network says of R regions, in coordinates of their picture; `out` is written to."""
    landmarks, pose = out["landmarks"], out["pose"]
    scale = np.hypot(regions[:, 0, 0], regions[:, 1, 0])  # picture pixels a crop pixel
    turn = np.degrees(np.arctan2(regions[:, 1, 0], regions[:, 0, 0]))  # clockwise, while roll counts the other way
    landmarks[..., :2] = apply(regions, landmarks[..., :2])
    landmarks[..., 2] *= scale[:, None]
    pose[:, 2] -= turn
    return LandmarkedFaces(landmarks, pose, out["presence"].reshape(-1))
