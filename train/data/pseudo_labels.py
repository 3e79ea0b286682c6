"""AU intensities read from the teacher, for the AUs that it can see.

The teacher's blendshapes are no FACS labels. Each AU below takes its nearest shape, or a distance between the teacher's
landmarks, and a table maps that score to 0-5: where rest ends, where a trace (intensity 1) begins, where 5 is reached.
The points of the tables come from the teacher's percentiles over the open photos (median of mostly neutral shapes,
95th and 99th percentile). For AU 5, 14, 15, 20 and 28 the shape never goes far, but the photos where it is highest do
show them: their order is a hint. AU9, whose shape is silent, and AU23, which has none, have no entry and so no label.
There is no shape for AU6 either, but eyes that narrow in a smile are raised cheeks; nor does a smile stretch lips (20).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.align import inter_ocular
from rtau.facs import CATALOGUE
from train.data.photos import BLENDSHAPES, LabelledFace

Float32 = NDArray[np.float32]


class Ladder(NamedTuple):
    """Scores at intensity 0, 1 and 5; between them the map is linear."""

    rest: float
    trace: float
    full: float


LADDERS: dict[str, tuple[str, Ladder]] = {  # AU: (blendshape without its side, or a measure below; ladder)
    "AU01": ("browInnerUp", Ladder(0.03, 0.20, 0.85)),
    "AU02": ("browOuterUp", Ladder(0.05, 0.22, 0.90)),
    "AU04": ("browDown", Ladder(0.15, 0.40, 0.92)),
    "AU05": ("eyeWide", Ladder(0.015, 0.045, 0.20)),
    "AU06": ("smile and squint", Ladder(0.30, 0.55, 0.85)),
    "AU07": ("eyeSquint", Ladder(0.45, 0.60, 0.92)),
    "AU10": ("mouthUpperUp", Ladder(0.10, 0.40, 0.90)),
    "AU12": ("mouthSmile", Ladder(0.02, 0.35, 0.97)),
    "AU14": ("mouthDimple", Ladder(0.04, 0.12, 0.45)),
    "AU15": ("mouthFrown", Ladder(0.015, 0.08, 0.45)),
    "AU17": ("mouthShrugLower", Ladder(0.08, 0.30, 0.90)),
    "AU18": ("mouthPucker", Ladder(0.08, 0.30, 0.98)),
    "AU20": ("stretch without smile", Ladder(0.08, 0.20, 0.60)),
    "AU24": ("mouthPress", Ladder(0.12, 0.30, 0.70)),
    "AU25": ("lip gap", Ladder(0.01, 0.05, 0.35)),
    "AU26": ("jawOpen", Ladder(0.03, 0.10, 0.45)),
    "AU28": ("lip roll", Ladder(0.10, 0.25, 0.70)),
    "AU43": ("eyeBlink", Ladder(0.30, 0.48, 0.80)),
}

_UPPER_LIP, _LOWER_LIP = 13, 14  # inner mid points
_UNSURE = 0.4  # labels this near to the occurrence threshold are not used as occurrence


class PseudoLabels(NamedTuple):
    """For F faces and the A AUs of `LADDERS`, in the catalogue's order."""

    left: Float32  # (F, A) intensity 0-5, the subject's left
    right: Float32  # (F, A)

    @property
    def intensity(self) -> Float32:
        """(F, A) the stronger side."""
        return np.maximum(self.left, self.right)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(F, A) whether the occurrence is clear."""
        return np.asarray(np.abs(self.intensity - 1) > _UNSURE)


AUS: tuple[str, ...] = tuple(au.column for au in CATALOGUE if au.column in LADDERS)
SIDED: tuple[bool, ...] = tuple(au.sided for au in CATALOGUE if au.column in LADDERS)


def pseudo_labels(faces: list[LabelledFace]) -> PseudoLabels:
    """What the teacher says of the faces' AUs."""
    shapes = np.stack([face.blendshapes for face in faces])
    place = {name: i for i, name in enumerate(BLENDSHAPES)}
    gap = np.array([_lip_gap(face.landmarks) for face in faces], np.float32)

    def score(measure: str, side: str) -> Float32:
        if measure == "lip gap":
            return gap
        if measure == "smile and squint":
            return np.asarray(np.sqrt(shapes[:, place[f"mouthSmile{side}"]] * shapes[:, place[f"eyeSquint{side}"]]))
        if measure == "stretch without smile":
            return np.asarray(shapes[:, place[f"mouthStretch{side}"]] * (1 - shapes[:, place[f"mouthSmile{side}"]]))
        if measure == "lip roll":
            rolls = shapes[:, [place["mouthRollUpper"], place["mouthRollLower"]]]
            return np.asarray(rolls.mean(axis=1), dtype=np.float32)
        return shapes[:, place.get(f"{measure}{side}", place.get(measure, -1))]

    sides = {}
    for side in ("Left", "Right"):
        columns = [to_intensity(score(LADDERS[au][0], side), LADDERS[au][1]) for au in AUS]
        sides[side] = np.stack(columns, axis=1)
    mean = (sides["Left"] + sides["Right"]) / 2
    left, right = (np.where(np.array(SIDED), sides[side], mean).astype(np.float32) for side in ("Left", "Right"))
    return PseudoLabels(left, right)


def to_intensity(score: Float32, ladder: Ladder) -> Float32:
    """Scores -> intensities 0-5."""
    return np.interp(score, ladder, [0.0, 1.0, 5.0]).astype(np.float32)


def _lip_gap(landmarks: Float32) -> float:
    """Height of the gap between the inner lips, in inter-ocular distances."""
    gap = np.linalg.norm(landmarks[_UPPER_LIP, :2] - landmarks[_LOWER_LIP, :2])
    return float(gap / inter_ocular(landmarks))


class TrainingLabels(NamedTuple):
    """What photos can teach about all AUs of the catalogue, (F, 20) each. Left and right are the subject's."""

    left: Float32  # intensity 0-5
    right: Float32
    weight: Float32  # how far the intensity is to be believed, 0-1
    known: NDArray[np.bool_]  # whether the occurrence is clear


SEEN_WELL = frozenset(("AU12", "AU25", "AU43"))
_HINT = 0.3  # weight of intensities for which the teacher's shape is no more than a hint


def training_labels(faces: list[LabelledFace]) -> TrainingLabels:
    """The teacher's intensities where it sees well, with less weight where it gives a hint; else nothing is known.

    Of brows, upper lips and jaws the teacher's shapes tell how one person moves, and little of who moves them: across
    people they hardly correlate with AUs coded by eye (`train.data.coded`).
    """
    labels = pseudo_labels(faces)
    columns = [au.column for au in CATALOGUE]
    left, right, weight = (np.zeros((len(faces), len(columns)), np.float32) for _ in range(3))
    known = np.zeros((len(faces), len(columns)), bool)
    for i, column in enumerate(AUS):
        a = columns.index(column)
        left[:, a], right[:, a] = labels.left[:, i], labels.right[:, i]
        weight[:, a] = 1 if column in SEEN_WELL else _HINT
        known[:, a] = labels.known[:, i] & (column in SEEN_WELL)
    return TrainingLabels(left, right, weight, known)
