"""Rows in the layout of OpenFace 2: its names, order, digits and habits, for the blocks that we can fill.

Gaze, eye points, translation, points in space and shape parameters are left out, not invented.
"""

from collections.abc import Iterator

import numpy as np

from rtau.facs import OCCURRENCE_INTENSITY
from rtau.messages import AUFrame, FaceAUs, RunInfo
from rtau.sinks.columns import Column, Row, on_its_side, plain
from rtau.sinks.pose import openface_angles

_WITH_INTENSITY = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_WITH_PRESENCE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
_BLINK, _CLOSED = 45, 43  # a blink is a short closing of the eyes: frame by frame they are one

# The mesh points nearest to the 68 points of iBUG 300-W, whose first point is the subject's right jaw.
MESH_OF_68 = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107),  # right brow, from outside
    *(336, 296, 334, 293, 300),  # left brow, from inside
    *(168, 197, 195, 4),  # bridge of the nose, downwards
    *(98, 97, 2, 326, 327),  # base of the nose
    *(33, 160, 158, 133, 153, 144),  # right eye: outer corner, upper lid, inner corner, lower lid
    *(362, 385, 387, 263, 373, 380),  # left eye: inner corner, upper lid, outer corner, lower lid
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),  # outer lips, clockwise in the image from the right corner
    *(78, 81, 13, 311, 308, 402, 14, 178),  # inner lips, likewise
)


UNITS = {
    "frame": "count from 1",
    "face_id, face": "our track_id - 1; in the table of a still picture the face's number from 0",
    "timestamp": "seconds in the source's clock (true, not frame / nominal rate)",
    "confidence": "probability 0-1 that this is a face",
    "success": "0 or 1; with 0 all other values are 0",
    "pose_Rx, pose_Ry, pose_Rz": "radians about x (right), y (down), z (away from the camera), R = Rx Ry Rz",
    "x_0..x_67, y_0..y_67": "pixels of the displayed picture, origin top left",
    "AUxx_r": "intensity 0-5, 1 is the threshold of presence; relative to the resting face where that is known",
    "AUxx_c": "0 or 1, 1 where AUxx_r >= 1",
}


class OpenFaceLayout:
    """Section "OpenFace layout" of docs/columns.md. Needs frames with landmarks."""

    def __init__(self, info: RunInfo) -> None:
        self.units = UNITS
        self._still = info.source.time_base_s == 0
        index = {_BLINK if name == f"AU{_CLOSED}" else int(name[2:]): a for a, name in enumerate(info.aus)}
        intensity = [number for number in _WITH_INTENSITY if number in index]
        presence = [number for number in _WITH_PRESENCE if number in index]
        self._intensity = np.array([index[number] for number in intensity], dtype=np.intp)
        self._presence = np.array([index[number] for number in presence], dtype=np.intp)
        if self._still:
            head = [Column("face", 0), Column("confidence", 2)]
        else:
            head = [Column("frame", 0), Column("face_id", 0), Column("timestamp", 3)]
            head += [Column("confidence", 2), Column("success", 0)]
        self.columns = (
            *head,
            *(Column(f"pose_R{axis}", 3) for axis in "xyz"),
            *(Column(f"{axis}_{i}", 1) for axis in "xy" for i in range(68)),
            *(Column(f"AU{number:02d}_r", 2) for number in intensity),
            *(Column(f"AU{number:02d}_c", 1) for number in presence),
        )
        self._zeros = len(self.columns) - len(head)

    def rows(self, frame: AUFrame) -> Iterator[Row]:
        """Raises ValueError when a face has no landmarks."""
        for i, face in enumerate(frame.faces):
            face_id = i if self._still else face.track_id - 1
            yield [*self._head(frame, face_id, round(face.score, 2), 1), *self._measured(face)]
        if not frame.faces and not self._still:
            yield [*self._head(frame, 0, 0.0, 0), *[0.0] * self._zeros]

    def _head(self, frame: AUFrame, face_id: int, confidence: float, success: int) -> Row:
        if self._still:
            return [face_id, confidence]
        return [frame.frame_index + 1, face_id, round(frame.time_s, 3), confidence, success]

    def _measured(self, face: FaceAUs) -> Row:
        if face.landmarks is None:
            raise ValueError("the OpenFace layout needs landmarks: run with au.landmarks")
        points = np.array(face.landmarks)[list(MESH_OF_68), :2]
        intensity = np.array(face.shown)
        present = intensity >= OCCURRENCE_INTENSITY
        row: Row = []
        row += plain(np.array(openface_angles(face.pose)), 3)
        row += plain(points.T.ravel(), 1)
        row += on_its_side(intensity[self._intensity], OCCURRENCE_INTENSITY, present[self._intensity], 2)
        row += present[self._presence].astype(float).tolist()
        return row
