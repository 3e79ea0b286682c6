"""The OpenFace 2 layout: the columns of its CSV that we can fill, with its names, order, digits and signs.

Left out because they cannot be computed here: gaze, eye points, translation, points in space, shape parameters.
"""

import math
from collections.abc import Iterator

from rtau.facs import OCCURRENCE_INTENSITY
from rtau.messages import AUFrame, FaceAUs, Point, RunInfo
from rtau.sinks.columns import Column, Value

_INTENSITY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_PRESENCE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
_SOURCE = {45: 43}  # a blink is the eyes closed for a short time

# The 68 points of the Multi-PIE markup as points of the 478-point mesh: jaw, brows, nose, eyes, outer and inner lips.
POINTS_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


def rotation(pose_deg: Point) -> tuple[float, float, float]:
    """Our pitch, yaw, roll -> OpenFace's pose_Rx, pose_Ry, pose_Rz in radians.

    Its camera has x to the right, y down and z forward: looking up is a negative turn about x, looking to the
    subject's right a positive one about y, tilting to the subject's right a negative one about z.
    """
    pitch, yaw, roll = (math.radians(angle) for angle in pose_deg)
    return -pitch, yaw, -roll


def openface_columns(info: RunInfo, *, still: bool) -> list[Column]:
    """Columns for a video, or for one image (`still`), which has no frame, face_id, timestamp and success."""
    head = [Column("face", "int"), Column("confidence", "float", 2)] if still else [
        Column("frame", "int"), Column("face_id", "int"), Column("timestamp", "float", 3),
        Column("confidence", "float", 2), Column("success", "int"),
    ]  # fmt: skip
    return [
        *head,
        *(Column(f"pose_R{axis}", "float", 3) for axis in "xyz"),
        *(Column(f"{axis}_{i}", "float", 1) for axis in "xy" for i in range(68)),
        *(Column(f"AU{au:02d}_r", "float", 2) for au in _available(_INTENSITY, info)),
        *(Column(f"AU{au:02d}_c", "float", 1) for au in _available(_PRESENCE, info)),
    ]


class OpenFaceRows:
    """Rows of the OpenFace layout; a frame without a face has one with success 0 and zeros."""

    def __init__(self, info: RunInfo, *, still: bool) -> None:
        self._still = still
        self._width = len(openface_columns(info, still=still))
        self._intensity = [info.aus.index(_column(au)) for au in _available(_INTENSITY, info)]
        self._presence = [info.aus.index(_column(au)) for au in _available(_PRESENCE, info)]

    def __call__(self, frame: AUFrame) -> Iterator[list[Value]]:
        if not frame.faces and not self._still:
            head: list[Value] = [frame.frame_index + 1, 0, frame.time_s, 0.0, 0]
            yield head + [0.0] * (self._width - len(head))
        for number, face in enumerate(frame.faces):
            if self._still:
                yield [number, face.score, *self._face(face)]
            else:
                yield [frame.frame_index + 1, face.track_id, frame.time_s, face.score, 1, *self._face(face)]

    def _face(self, face: FaceAUs) -> Iterator[Value]:
        assert face.landmarks is not None
        yield from rotation(face.pose)
        for axis in (0, 1):
            yield from (face.landmarks[i][axis] for i in POINTS_68)
        rounded = [round(value, 2) for value in face.intensity]
        yield from (rounded[i] for i in self._intensity)
        yield from (float(rounded[i] >= OCCURRENCE_INTENSITY) for i in self._presence)


def _column(au: int) -> str:
    return f"AU{_SOURCE.get(au, au):02d}"


def _available(aus: tuple[int, ...], info: RunInfo) -> list[int]:
    return [au for au in aus if _column(au) in info.aus]
