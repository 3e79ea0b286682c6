"""Frames of a run kept on disk until they are drawn, so that memory stays flat however long the video is."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from rtau.messages import AUFrame
from rtau.structures import Float32


class DrawnFrame(NamedTuple):
    """What is drawn of one frame."""

    frame: AUFrame  # without landmarks
    points: list[Float32]  # of each face (478, 2) in pixels, or (0, 2) where none are known


class _Record(msgspec.Struct, frozen=True, array_like=True):
    frame: AUFrame
    points: list[bytes]


class Spool:
    """A file without a name, gone with the process. Write all, then iterate once. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`

    def write(self, frame: AUFrame) -> None:
        drawn = drawn_frame(frame)
        record = _encode(_Record(drawn.frame, [points.tobytes() for points in drawn.points]))
        self._file.write(len(record).to_bytes(4, "little") + record)

    def __iter__(self) -> Iterator[DrawnFrame]:
        self._file.seek(0)
        while size := self._file.read(4):
            record = _decode(self._file.read(int.from_bytes(size, "little")))
            yield DrawnFrame(record.frame, [np.frombuffer(each, np.float32).reshape(-1, 2) for each in record.points])

    def close(self) -> None:
        self._file.close()


def drawn_frame(frame: AUFrame) -> DrawnFrame:
    """The landmarks as arrays."""
    points = [np.array(face.landmarks or [], np.float32).reshape(-1, 3)[:, :2] for face in frame.faces]
    faces = [msgspec.structs.replace(face, landmarks=None) for face in frame.faces]
    return DrawnFrame(msgspec.structs.replace(frame, faces=faces), points)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode
