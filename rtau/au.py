"""Estimate the AUs of tracked faces, those of several pictures in one batch."""

from collections.abc import Sequence

import numpy as np

from rtau.align import apply, crop_transform, invert
from rtau.config import PipelineConfig
from rtau.crop import View
from rtau.errors import ModelError
from rtau.facs import AU_COLUMNS
from rtau.models import load_artifact
from rtau.networks import open_network
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
        self._network = open_network(artifact, config, config.au.max_batch)
        self._template = np.array(self.card.template)  # (P, 3) landmark index, x, y

    def warm_up(self) -> None:
        """Load the kernel and run the network once, so that the first frame is as quick as the others."""
        spread = np.random.default_rng(0).uniform(8, 56, (1, 478, 3)).astype(np.float32)
        for count in self._network.sizes:
            faces = TrackedFaces(
                np.ones(count, np.int64),
                np.ones(count, np.float32),
                spread.repeat(count, axis=0),
                np.zeros((count, 3), np.float32),
            )
            self([(grey_picture(), faces)])

    def __call__(self, seen: Sequence[tuple[Picture | None, TrackedFaces]]) -> list[AUEstimates]:
        """For each picture its faces' AUs in the order of `card.aus`, shapes (F, A)."""
        side = self.card.input_size
        counts = [0 if picture is None else len(faces.track_ids) for picture, faces in seen]
        ends = np.cumsum(counts)
        views, points = [], np.empty((ends[-1], 478, 2), np.float32)
        for (picture, faces), count, end in zip(seen, counts, ends, strict=True):
            if picture is not None and count:
                transforms = crop_transform(faces.landmarks, self._template)
                points[end - count : end] = apply(invert(transforms), faces.landmarks[..., :2]) / side - 0.5
                views.append(View(picture, transforms))
        none = np.zeros((0, len(self.card.aus)), np.float32)
        estimates = self._network.faces(views, points=points) if views else {}
        whole = [estimates.get(name, none) for name in AUEstimates._fields]
        return [
            AUEstimates(*(values[end - count : end] for values in whole))
            for count, end in zip(counts, ends, strict=True)
        ]
