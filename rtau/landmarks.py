"""478 landmarks, head pose and face presence inside given regions of a picture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.align import apply
from rtau.config import PipelineConfig
from rtau.crop import CropBuffer, crop
from rtau.engines import open_engine
from rtau.models import load_artifact
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
        self._engine = open_engine(artifact, config)
        self._crops = CropBuffer(self.card.input_size)

    def __call__(self, picture: Picture, regions: NDArray[np.float64]) -> LandmarkedFaces:
        """Regions (R, 2, 3): from crop pixels to picture pixels, R >= 1."""
        side = self.card.input_size
        image = crop(picture, regions, (side, side), self.card.mean, self.card.std, self._crops.take(len(regions)))
        out = self._engine({"image": image})
        landmarks, pose = out["landmarks"], out["pose"]
        scale = np.hypot(regions[:, 0, 0], regions[:, 1, 0])  # picture pixels a crop pixel
        turn = np.degrees(np.arctan2(regions[:, 1, 0], regions[:, 0, 0]))  # clockwise, while roll counts the other way
        landmarks[..., :2] = apply(regions, landmarks[..., :2])
        landmarks[..., 2] *= scale[:, None]
        pose[:, 2] -= turn
        return LandmarkedFaces(landmarks, pose, out["presence"].reshape(-1))
