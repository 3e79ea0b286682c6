"""Find faces in a whole picture: boxes and scores, nothing remembered."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.config import PipelineConfig
from rtau.crop import crop
from rtau.engines import open_engine
from rtau.models import load_artifact
from rtau.structures import Float32, Picture

STRIDE = 8  # input pixels a cell of the detector's maps
_PAD = 32  # the network halves its input five times
_MAX_OVERLAP = 0.4  # two boxes that overlap more are one face


class Detections(NamedTuple):
    """D faces, best first."""

    boxes: Float32  # (D, 4) x0, y0, x1, y1 in pixels of the displayed picture
    scores: Float32  # (D,) in [0, 1]


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> Float32:
    """Intersection over union of one box (4,) with each of boxes (B, 4)."""
    x0, y0 = np.maximum(box[0], boxes[:, 0]), np.maximum(box[1], boxes[:, 1])
    x1, y1 = np.minimum(box[2], boxes[:, 2]), np.minimum(box[3], boxes[:, 3])
    intersection = np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + area - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9), dtype=np.float32)


def suppress(boxes: Float32, scores: Float32, max_overlap: float = _MAX_OVERLAP) -> list[int]:
    """Indices of the boxes (D, 4) that are kept, best score first: greedy non-maximum suppression."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or overlap(boxes[i], boxes[kept]).max() <= max_overlap:
            kept.append(int(i))
    return kept


class FaceDetector:
    """The detector artifact applied to pictures of any size."""

    def __init__(self, config: PipelineConfig) -> None:
        artifact = load_artifact(config.faces.detector, "detector")
        self.card = artifact.card
        self._engine = open_engine(artifact, config)
        self._min_score = config.faces.min_detection

    def __call__(self, picture: Picture) -> Detections:
        """All faces of the picture with a score of at least `min_detection`."""
        width, height = picture.format.width, picture.format.height
        scale = max(width, height) / self.card.input_size  # picture pixels an input pixel
        size = tuple(-(-round(side / scale) // _PAD) * _PAD for side in (width, height))
        shrink = np.array([[[scale, 0.0, 0.0], [0.0, scale, 0.0]]])
        out = self._engine({"image": crop(picture, shrink, size, self.card.mean, self.card.std)})
        score, box = out["score"][0], out["box"][0]  # (h, w), (4, h, w)
        rows, columns = np.nonzero(score >= self._min_score)
        x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
        left, top, right, bottom = box[:, rows, columns]
        boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=-1).astype(np.float32) * np.float32(scale)
        scores = score[rows, columns]
        kept = suppress(boxes, scores)
        return Detections(boxes[kept], scores[kept])
