"""Find faces in a whole picture: boxes and scores, nothing remembered."""

from typing import NamedTuple

import numpy as np

from rtau.boxes import suppress
from rtau.config import PipelineConfig
from rtau.models import load_artifact
from rtau.networks import open_network
from rtau.structures import Float32, Picture

STRIDE = 8  # input pixels a cell of the detector's maps
_PAD = 32  # the network halves its input five times
_FINER = 2  # a close look sees so many times smaller faces
_SMALL = 1 / 8  # of the picture's longer side: larger faces are for the usual look


class Detections(NamedTuple):
    """D faces, best first."""

    boxes: Float32  # (D, 4) x0, y0, x1, y1 in pixels of the displayed picture
    scores: Float32  # (D,) in [0, 1]


class FaceDetector:
    """The detector artifact applied to pictures of any size."""

    def __init__(self, config: PipelineConfig) -> None:
        artifact = load_artifact(config.faces.detector, "detector")
        self.card = artifact.card
        self._network = open_network(artifact, config, max_batch=1)
        self._min_score = config.faces.min_detection

    def __call__(self, picture: Picture, *, close: bool = False) -> Detections:
        """All faces of the picture with a score of at least `min_detection`; looked at closely, the small ones."""
        width, height = picture.format.width, picture.format.height
        scale = max(width, height) / self.card.input_size  # picture pixels an input pixel
        if close:
            scale = min(scale, max(scale / _FINER, 1.0))
        size = (max(round(width / scale), 1), max(round(height / scale), 1))
        canvas = (-(-size[0] // _PAD) * _PAD, -(-size[1] // _PAD) * _PAD)
        out = self._network.picture(picture, size, canvas)
        score, box = out["score"][0], out["box"][0]  # (h, w), (4, h, w)
        rows, columns = np.nonzero(score >= self._min_score)
        x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
        left, top, right, bottom = box[:, rows, columns]
        boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=-1).astype(np.float32) * np.float32(scale)
        scores = score[rows, columns]
        if close:
            small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) < _SMALL * max(width, height)
            boxes, scores = boxes[small], scores[small]
        kept = suppress(boxes, scores)
        return Detections(boxes[kept], scores[kept])
