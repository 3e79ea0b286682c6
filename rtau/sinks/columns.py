"""The rows of the `rtau` layout: one a face and frame, and one for a frame without faces."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rtau.facs import CATALOGUE, OCCURRENCE_INTENSITY
from rtau.messages import AUFrame, FaceAUs, RunInfo

Cell = int | float | str | None
Row = list[Cell]  # one cell a column; None is an empty cell


class Column(NamedTuple):
    name: str
    digits: int | None = None  # after the decimal point, 0 for whole numbers; None for text


class Layout(Protocol):
    """What a table consists of."""

    columns: tuple[Column, ...]
    units: dict[str, str]  # column, or `xx` for every AU's number: unit, range and meaning

    def rows(self, frame: AUFrame) -> Iterator[Row]:
        """The rows of one frame, rounded as they are written."""


UNITS = {
    "frame": "count from 0 of decoded frames",
    "pts_s": "seconds in the source's clock (presentation timestamp * time base)",
    "track_id": "count from 1; stable while the face stays",
    "person_id": "text, a name of the gallery; empty where nobody was recognised",
    "face_score": "probability 0-1 that this is a face",
    "x0, y0, x1, y1": "pixels of the displayed picture, origin top left; bounding box of the 478 landmarks",
    "pitch_deg": "degrees, up is positive",
    "yaw_deg": "degrees, to the subject's right (image left) is positive",
    "roll_deg": "degrees, tilt to the subject's right (counter-clockwise in the image) is positive",
    "AUxx_p": "probability 0-1 of occurrence",
    "AUxx_r": "intensity 0-5, 1 is a trace and the threshold of occurrence",
    "AUxx_c": "0 or 1, 1 where AUxx_p >= 0.5 and the intensity >= 1: AUxx_n where it is given, else AUxx_r",
    "AUxxL_r, AUxxR_r": "intensity 0-5 of the subject's left and right side",
    "baseline": "none, warming, ready or fixed: how far the person's resting face is known",
    "baseline_confidence": "0-1",
    "AUxx_n, AUxxL_n, AUxxR_n": "intensity 0-5 relative to the resting (neutral) face; empty unless ready or fixed",
    "reason": "empty, no_face, low_quality or decode_error",
}


class RtauLayout:
    """The columns of docs/columns.md. AUs that the weights do not estimate have empty cells."""

    def __init__(self, info: RunInfo) -> None:
        self.units = UNITS
        columns = [Column("frame", 0), Column("pts_s", 6), Column("track_id", 0), Column("person_id")]
        columns += [Column("face_score", 4)]
        columns += [Column(name, 2) for name in ("x0", "y0", "x1", "y1", "pitch_deg", "yaw_deg", "roll_deg")]
        for au in CATALOGUE:
            columns += [Column(f"{au.column}_p", 4), Column(f"{au.column}_r", 3), Column(f"{au.column}_c", 0)]
        columns += [Column(f"{au.column}{side}_r", 3) for au in CATALOGUE if au.sided for side in "LR"]
        columns += [Column("baseline"), Column("baseline_confidence", 3)]
        columns += [Column(f"{au.column}_n", 3) for au in CATALOGUE]
        columns += [Column(f"{au.column}{side}_n", 3) for au in CATALOGUE if au.sided for side in "LR"]
        self.columns = (*columns, Column("reason"))
        place = {column.name: i for i, column in enumerate(self.columns)}
        sided = [a for a, name in enumerate(info.aus) if f"{name}L_r" in place]
        self._sided = np.array(sided, dtype=np.intp)
        self._places = [  # of the values of `_estimates`
            *(place[f"{name}_p"] for name in info.aus),
            *(place[f"{name}_c"] for name in info.aus),
            *(place[f"{name}_r"] for name in info.aus),
            *(place[f"{info.aus[a]}{side}_r"] for side in "LR" for a in sided),
        ]
        self._baseline = place["baseline"]
        self._calibrated_places = [  # of the values of `_calibrated`
            *(place[f"{name}_n"] for name in info.aus),
            *(place[f"{info.aus[a]}{side}_n"] for side in "LR" for a in sided),
        ]

    def rows(self, frame: AUFrame) -> Iterator[Row]:
        head: Row = [frame.frame_index, round(frame.time_s, 6)]
        width = len(self.columns)
        for face in frame.faces:
            row = [*head, face.track_id, face.person_id, round(face.score, 4)]
            row += plain(np.array((*face.box, *face.pose)), 2)
            row += [None] * (width - len(row))
            for place, value in zip(self._places, self._estimates(face), strict=True):
                row[place] = value
            row[self._baseline : self._baseline + 2] = [face.baseline, round(face.baseline_confidence, 3)]
            for place, value in zip(self._calibrated_places, self._calibrated(face), strict=False):
                row[place] = value
            row[-1] = "low_quality" if face.low_quality else ""
            yield row
        if not frame.faces:
            yield [*head, *[None] * (width - len(head) - 1), frame.reason]

    def _estimates(self, face: FaceAUs) -> Sequence[int | float]:
        """In the order of `_places`: occurrence, presence, intensity, left of the sided AUs, right of them."""
        present = np.array(face.shown) >= OCCURRENCE_INTENSITY
        return [
            *on_its_side(np.array(face.occurrence), 0.5, present, 4),
            *present.astype(int).tolist(),
            *self._strengths(face.intensity, face.left, face.right),
        ]

    def _calibrated(self, face: FaceAUs) -> Sequence[float]:
        """In the order of `_calibrated_places`; nothing where nothing is calibrated."""
        if face.calibrated is None or face.calibrated_left is None or face.calibrated_right is None:
            return []
        return self._strengths(face.calibrated, face.calibrated_left, face.calibrated_right)

    def _strengths(self, intensity: list[float], left: list[float], right: list[float]) -> list[float]:
        """Intensity, left of the sided AUs, right of them."""
        strengths = np.concatenate((intensity, np.array((left, right))[:, self._sided].ravel()))
        return on_its_side(strengths, OCCURRENCE_INTENSITY, strengths >= OCCURRENCE_INTENSITY, 3)


def plain(values: NDArray[np.float64], digits: int) -> list[float]:
    """Rounded, without negative zeros."""
    return list((np.round(values, digits) + 0.0).tolist())


def on_its_side(values: NDArray[np.float64], threshold: float, above: NDArray[np.bool_], digits: int) -> list[float]:
    """Rounded, but at least the threshold where `above` and less than it elsewhere.

    So 0.9996 is written 0.999: what was found absent must not be read as present.
    """
    scale = 10.0**digits
    limit = np.rint(threshold * scale)
    whole = np.rint(values * scale)
    return list((np.where(above, np.maximum(whole, limit), np.minimum(whole, limit - 1)) / scale).tolist())
