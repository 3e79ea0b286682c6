"""The second look at a clip: AUs relative to resting faces that were read from all of it, later frames too."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from calibration.baseline import Baseline, Level, State, calibrated, estimate
from calibration.quality import steady
from rtau.errors import OutputError
from rtau.messages import AUFrame, FaceAUs
from rtau.persons import occurrence_at
from rtau.sinks.output import write_problem
from rtau.structures import Float32

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AUFrame).decode


class WholeClip:
    """Give it all frames of a run without calibration, then take them back with it.

    A track that was recognised late has its name from the start, unless somebody else has it there. `kept` are the
    neutral faces of the gallery by name: they are used as they are. The frames wait in a file without a name in
    `folder`. Raises OutputError when they find no room.
    """

    def __init__(self, kept: Mapping[str, Level], folder: Path | None = None) -> None:
        self._kept = kept
        with _storing():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`
        self._names: dict[int, str] = {}  # track: who it was found to be, in the end
        self._baselines: dict[int, Baseline] = {}  # of tracks
        self._levels: dict[int | str, tuple[State, Level] | None] = {}  # of tracks, and of persons by name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def write(self, frame: AUFrame) -> None:
        """The first look at a frame."""
        for face in frame.faces:
            if face.person_id is not None:
                self._names[face.track_id] = face.person_id
            baseline = self._baselines.setdefault(face.track_id, Baseline(len(frame.aus)))
            if not face.low_quality and steady(np.array([face.pose], np.float32))[0]:
                baseline.see(frame.time_s, _sides(face))
        record = _encode(frame)
        with _storing():
            self._file.write(len(record).to_bytes(4, "little") + record)

    def __iter__(self) -> Iterator[AUFrame]:
        """All frames again, in order."""
        with _storing():
            self._file.seek(0)  # writes what is left
        while size := self._file.read(4):
            frame = _decode(self._file.read(int.from_bytes(size, "little")))
            taken = {face.person_id for face in frame.faces}
            faces = []
            for face in frame.faces:
                name = face.person_id
                if name is None and (late := self._names.get(face.track_id)) not in taken:
                    name = late
                    taken.add(late)
                known = self._known(name, face.track_id)
                faces.append(self._faced(msgspec.structs.replace(face, person_id=name), known))
            yield msgspec.structs.replace(frame, faces=faces)

    def _known(self, name: str | None, track: int) -> tuple[State, Level] | None:
        """What the gallery says of a person, or what all tracks of the person show together."""
        if name is not None and name in self._kept:
            return "fixed", self._kept[name]
        group = name if name is not None and name in self._names.values() else track
        if group not in self._levels:
            tracks = [track] if isinstance(group, int) else [t for t, who in self._names.items() if who == group]
            looks = np.concatenate([self._baselines[t].looks for t in tracks])
            level = estimate(looks) if len(looks) else None
            self._levels[group] = None if level is None else (level.state, level)
        return self._levels[group]

    def _faced(self, face: FaceAUs, known: tuple[State, Level] | None) -> FaceAUs:
        if known is None:
            return face
        state, level = known
        face = msgspec.structs.replace(face, baseline=state, baseline_confidence=level.confidence)
        if state not in ("ready", "fixed"):
            return face
        sides = _sides(face)
        moved = calibrated(sides, level.rest)
        return msgspec.structs.replace(
            face,
            calibrated=moved.max(axis=0).tolist(),
            calibrated_left=moved[0].tolist(),
            calibrated_right=moved[1].tolist(),
            occurrence=occurrence_at(np.array(face.occurrence, np.float32), sides, moved).tolist(),
        )


def _sides(face: FaceAUs) -> Float32:
    return np.array([face.left, face.right], np.float32)


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"frames of the first pass: {write_problem(error)}") from error
