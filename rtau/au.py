"""Estimate the AUs of the tracked faces of a picture, all faces in one batch."""

import numpy as np

from rtau.align import apply, crop_transform, invert
from rtau.config import PipelineConfig
from rtau.crop import CropBuffer, crop
from rtau.engines import open_engine
from rtau.errors import ModelError
from rtau.facs import AU_COLUMNS
from rtau.models import load_artifact
from rtau.structures import AUEstimates, Picture, TrackedFaces, grey_picture


class AUs:
    """The AU encoder artifact: aligned crops and aligned landmarks in, occurrence and intensity out."""

    def __init__(self, config: PipelineConfig) -> None:
        artifact = load_artifact(config.au.encoder, "au")
        self.card = artifact.card
        unknown = set(self.card.aus) - set(AU_COLUMNS)
        if unknown or not self.card.aus or not self.card.template:
            raise ModelError(
                f"{artifact.folder}: the card needs a template and AUs of the catalogue, not {sorted(unknown)}"
            )
        self._engine = open_engine(artifact, config)
        self._crops = CropBuffer(self.card.input_size)
        self._template = np.array(self.card.template)  # (P, 3) landmark index, x, y

    def warm_up(self) -> None:
        """Load the kernel and run the network once, so that the first frame is as quick as the others."""
        spread = np.random.default_rng(0).uniform(8, 56, (1, 478, 3)).astype(np.float32)
        one = np.ones(1, np.float32)
        self(grey_picture(), TrackedFaces(np.ones(1, np.int64), one, spread, np.zeros((1, 3), np.float32)))

    def __call__(self, picture: Picture | None, faces: TrackedFaces) -> AUEstimates:
        """AUs in the order of `card.aus`, shapes (F, A)."""
        if picture is None or not len(faces.track_ids):
            none = np.zeros((0, len(self.card.aus)), np.float32)
            return AUEstimates(none, none, none, none)
        side = self.card.input_size
        transforms = crop_transform(faces.landmarks, self._template)
        points = apply(invert(transforms), faces.landmarks[..., :2]) / side - 0.5
        crops = self._crops.take(len(transforms))
        out = self._engine(
            {
                "image": crop(picture, transforms, (side, side), self.card.mean, self.card.std, crops),
                "points": points.astype(np.float32),
            }
        )
        return AUEstimates(out["occurrence"], out["intensity"], out["left"], out["right"])
