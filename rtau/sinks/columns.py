"""The default layout: one row a face and frame, described column by column in docs/columns.md."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from rtau.facs import AU_COLUMNS, CATALOGUE, OCCURRENCE_INTENSITY, SIDED_COLUMNS
from rtau.messages import AUFrame, FaceAUs, RunInfo

Value = int | float | str | None


class Column(NamedTuple):
    """Name, type, and digits after the point where it is a float."""

    name: str
    kind: Literal["int", "float", "str"]
    digits: int = 0


_HEAD = [
    Column("frame", "int"),
    Column("pts_s", "float", 6),
    Column("track_id", "int"),
    Column("person_id", "str"),
    Column("face_score", "float", 3),
    *(Column(name, "float", 2) for name in ("x0", "y0", "x1", "y1")),
    *(Column(name, "float", 2) for name in ("pitch_deg", "yaw_deg", "roll_deg")),
]


def rtau_columns() -> list[Column]:
    """All columns of the default layout, in order."""
    aus = [
        column
        for au in AU_COLUMNS
        for column in (Column(f"{au}_p", "float", 4), Column(f"{au}_r", "float", 3), Column(f"{au}_c", "int"))
    ]
    sides = [Column(f"{au}{side}_r", "float", 3) for au in SIDED_COLUMNS for side in "LR"]
    return [*_HEAD, *aus, *sides, Column("reason", "str")]


class RtauRows:
    """Rows of the default layout. AUs that the weights do not estimate stay empty."""

    def __init__(self, info: RunInfo) -> None:
        self._place = [info.aus.index(au.column) if au.column in info.aus else None for au in CATALOGUE]
        self._none = len(rtau_columns()) - 3

    def __call__(self, frame: AUFrame) -> Iterator[list[Value]]:
        time_s = round(frame.time_s, 6)
        if not frame.faces:
            yield [frame.frame_index, time_s, *[None] * self._none, frame.reason]
        for face in frame.faces:
            yield [frame.frame_index, time_s, *self._face(face), "low_quality" if face.low_quality else ""]

    def _face(self, face: FaceAUs) -> list[Value]:
        values: list[Value] = [face.track_id, face.person_id, round(face.score, 3)]
        values += [round(value, 2) for value in (*face.box, *face.pose)]
        sides: list[Value] = []
        for au, i in zip(CATALOGUE, self._place, strict=True):
            values += (None, None, None) if i is None else consistent(face.occurrence[i], face.intensity[i])
            if au.sided:
                sides += (None, None) if i is None else (round(face.left[i], 3), round(face.right[i], 3))
        return values + sides


def consistent(occurrence: float, intensity: float) -> tuple[float, float, int]:
    """Probability, intensity and presence as they are written: after rounding they still say the same."""
    intensity = round(intensity, 3)
    present = intensity >= OCCURRENCE_INTENSITY
    occurrence = round(occurrence, 4)
    return max(occurrence, 0.5) if present else min(occurrence, 0.4999), intensity, int(present)
