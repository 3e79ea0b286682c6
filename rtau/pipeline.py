"""A frame's journey, and the table of processes that reproduces it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.quality import reliable
from rtau import __version__
from rtau.align import inter_ocular
from rtau.au import AUs
from rtau.capture import comes_back
from rtau.config import PipelineConfig, SourceConfig
from rtau.decode import Decode, copy_picture, paced, view_picture
from rtau.engines import choose
from rtau.errors import DeviceError, RtauError, SourceError
from rtau.faces import FaceNetworks, Faces, together
from rtau.identify import load_identity
from rtau.messages import AUFrame, FaceAUs, RunInfo, SourceInfo, StageTime
from rtau.models import load_artifact
from rtau.persons import Persons, Seen, open_run_gallery
from rtau.runtime.flow import Item
from rtau.runtime.shared import SharedStage, Work
from rtau.runtime.supervisor import Layout, Supervisor
from rtau.runtime.worker import Slots
from rtau.structures import AUEstimates, Frame, Personal, PictureFormat, TrackedFaces

_TOGETHER = 4  # frames of a file whose faces go through the AU network at once: each costs a quarter less than alone
_BUILD_TIMEOUT_S = 1800.0  # TensorRT builds its engines when they are first used


def journey(config: PipelineConfig, source: SourceConfig) -> Iterator[AUFrame]:
    """One source, one process: the order of events that every layout reproduces, bit for bit on one engine.

    Raises RtauError; DamagedSourceError comes after the last good frame.
    """
    with InProcess(config, source) as run:
        yield from run


def layout(config: PipelineConfig, source: SourceConfig, aus: SharedStage) -> Layout:
    """The same journey over processes; `runtime.supervisor` starts and watches them.

    On a GPU one process finds faces and estimates AUs for all sources: it is one context, and larger batches.
    """
    return Layout(
        source=("decode", partial(DecodeSource, source)),
        stages=[] if on_gpu(config) else [("faces", partial(FacesStage, config))],
        shared=aus,
        source_id=source.source_id,
        policy=source.policy,
        silence_s=source.silence_s,
        together=frames_together(config, source),
    )


def frames_together(config: PipelineConfig, source: SourceConfig) -> int:
    """Of how many frames the AUs are estimated at once: several where nobody waits for the next one.

    The number is fixed, so that a run can be repeated bit for bit. On a GPU, faces are followed in the same step.
    """
    if on_gpu(config) or source.realtime or source.policy != "wait" or comes_back(source):
        return 1
    return min(_TOGETHER, config.runtime.slots // 2)


def shared_aus(config: PipelineConfig) -> SharedStage:
    """The process that estimates the AUs of all sources, and on a GPU also finds their faces."""
    max_wait_s = config.au.max_wait_ms / 1000
    if on_gpu(config):
        return SharedStage("faces_au", partial(FacesAUStage, config), max_wait_s, _BUILD_TIMEOUT_S)
    return SharedStage("au", partial(AUStage, config), max_wait_s)


def decoded(config: PipelineConfig, source: SourceConfig) -> SourceConfig:
    """The source with the decoder that the configuration asks for. Raises DeviceError where that needs a GPU."""
    if config.decoder == "cpu":
        return source
    if not on_gpu(config):
        raise DeviceError(f"decoder nvdec: {choose(config.device).label} runs, not a GPU; use decoder: cpu")
    return msgspec.structs.replace(source, nvdec=choose(config.device).gpu)


def on_gpu(config: PipelineConfig) -> bool:
    """Whether the models run on a GPU."""
    return choose(config.device).engine != "openvino"


def describe(config: PipelineConfig, source: SourceInfo) -> RunInfo:
    """What the tables and feeds say of a run. Checks every artifact and the device before anything starts."""
    artifacts = {
        "detector": load_artifact(config.faces.detector, "detector"),
        "landmarks": load_artifact(config.faces.landmarks, "landmarks"),
        "au": load_artifact(config.au.encoder, "au"),
    }
    if config.persons.gallery is not None:
        artifacts["identity"] = load_identity(config.persons.identity).artifact
        open_run_gallery(config).close()
    return RunInfo(
        version=__version__,
        engine=choose(config.device).label,
        weights={role: artifact.label for role, artifact in artifacts.items()},
        weights_sha256={role: artifact.card.sha256 for role, artifact in artifacts.items()},
        aus=artifacts["au"].card.aus,
        source=source,
        baseline=config.persons.baseline,
        gallery=config.persons.gallery is not None,
    )


def to_message(
    frame: Frame,
    faces: TrackedFaces,
    aus: AUEstimates,
    personal: Personal,
    source_id: str,
    *,
    names: tuple[str, ...],
    landmarks: bool = False,
) -> AUFrame:
    """The estimates of one frame as they leave the pipeline; `names` are those of the A AUs."""
    boxes, good = faces.boxes, reliable(inter_ocular(faces.landmarks), faces.pose, faces.score)
    known = [state in ("ready", "fixed") for state in personal.states]
    messages = [
        FaceAUs(
            track_id=int(faces.track_ids[i]),
            person_id=personal.person_ids[i],
            score=float(faces.score[i]),
            box=tuple(boxes[i].tolist()),
            pose=tuple(faces.pose[i].tolist()),
            occurrence=personal.occurrence[i].tolist(),
            intensity=aus.intensity[i].tolist(),
            left=aus.left[i].tolist(),
            right=aus.right[i].tolist(),
            low_quality=not good[i],
            landmarks=[tuple(point) for point in faces.landmarks[i].tolist()] if landmarks else None,
            baseline=personal.states[i],
            baseline_confidence=personal.confidence[i],
            calibrated=personal.calibrated[i].max(axis=0).tolist() if known[i] else None,
            calibrated_left=personal.calibrated[i, 0].tolist() if known[i] else None,
            calibrated_right=personal.calibrated[i, 1].tolist() if known[i] else None,
        )
        for i in range(len(faces.track_ids))
    ]
    return AUFrame(
        source_id=source_id,
        frame_index=frame.index,
        time_s=frame.time_s,
        t_capture_ns=frame.t_capture_ns,
        wall_capture_ns=frame.t_wall_ns,
        width=frame.picture.format.width if frame.picture else 0,
        height=frame.picture.format.height if frame.picture else 0,
        reason="decode_error" if frame.picture is None else "" if messages else "no_face",
        aus=names,
        faces=messages,
    )


class InProcess:
    """The journey in this process. Iterate for AUFrames; `times` holds each stage's work so far."""

    def __init__(self, config: PipelineConfig, source: SourceConfig) -> None:
        self._config, self._source = config, source
        self._decode = Decode(decoded(config, source))
        self.info = describe(config, self._decode.info)
        self._stop = False
        self._busy = dict.fromkeys(("decode", "faces", "au"), 0.0)
        self._frames = 0

    @property
    def times(self) -> list[StageTime]:
        return [StageTime(stage, self._frames, busy_s) for stage, busy_s in self._busy.items()]

    def stop(self) -> None:
        """Decode no further."""
        self._stop = True

    def __enter__(self) -> Self:
        self._faces, self._aus = Faces(self._config), AUs(self._config)
        self._persons = Persons(self._config, self._aus.card)
        for stage in (self._faces, self._aus, self._persons):
            stage.warm_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decode.close()

    def __iter__(self) -> Iterator[AUFrame]:
        together, held = frames_together(self._config, self._source), list[_Found]()
        try:
            for found in self._faces_found():
                held.append(found if together == 1 else found.kept())
                if len(held) == together:
                    now, held = held, []
                    yield from self._estimated(now)
        except RtauError:  # comes after the last good frame
            yield from self._estimated(held)
            raise
        yield from self._estimated(held)

    def _faces_found(self) -> Iterator["_Found"]:
        frames = iter(self._decode)
        while not self._stop:
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            decoded = time.perf_counter()
            faces = self._faces(frame)
            self._busy["decode"] += decoded - started
            self._busy["faces"] += time.perf_counter() - decoded
            yield _Found(self._source.source_id, frame, faces)

    def _estimated(self, found: "list[_Found]") -> list[AUFrame]:
        started = time.perf_counter()
        messages = _estimate(found, self._aus, self._persons, landmarks=self._config.au.landmarks)
        self._busy["au"] += time.perf_counter() - started
        self._frames += len(found)
        return messages


class _Found(NamedTuple):
    """A frame of a source and its faces."""

    source: str
    frame: Frame
    faces: TrackedFaces

    def kept(self) -> Self:
        """The same, with a picture of its own: the decoder's is valid until the next frame."""
        picture = self.frame.picture
        if picture is None:
            return self
        buffer = memoryview(bytearray(picture.format.nbytes))
        copy_picture(picture, buffer)
        return self._replace(frame=replace(self.frame, picture=view_picture(picture.format, buffer)))


def _estimate(found: list[_Found], aus: AUs, persons: Persons, *, landmarks: bool) -> list[AUFrame]:
    """What leaves the pipeline of some frames, those of each source in order; `landmarks` are sent along."""
    if not found:
        return []
    estimates = aus([(frame.picture, faces) for _, frame, faces in found])
    personal = persons(
        [
            Seen(source, frame.time_s, frame.picture, faces, some)
            for (source, frame, faces), some in zip(found, estimates, strict=True)
        ]
    )
    return [
        to_message(frame, faces, some, who, source, names=aus.card.aus, landmarks=landmarks)
        for (source, frame, faces), some, who in zip(found, estimates, personal, strict=True)
    ]


class InProcesses:
    """The journey over processes. Iterate for AUFrames, in order; `times` is known when the run has ended.

    `aus` is the AU process where several runs share one.
    """

    def __init__(self, config: PipelineConfig, source: SourceConfig, aus: SharedStage | None = None) -> None:
        self._config, self._aus, self._owns = config, aus or shared_aus(config), aus is None
        self._supervisor = Supervisor(
            layout(config, decoded(config, source), self._aus),
            config.runtime.slots,
            config.runtime.start_timeout_s,
            config.runtime.stall_timeout_s,
        )

    @cached_property
    def info(self) -> RunInfo:
        """Known once it is entered: the source is opened in its own process, and only there."""
        return describe(self._config, _decode_about(self._supervisor.about))

    @property
    def times(self) -> list[StageTime]:
        return self._supervisor.times

    @property
    def dropped(self) -> int:
        """Frames that were decoded and not looked at; known when the run has ended."""
        return self._supervisor.dropped

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each stage."""
        return self._supervisor.pids

    def stop(self) -> None:
        """Decode no further; what was decoded still comes out."""
        self._supervisor.stop()

    def __enter__(self) -> Self:
        try:
            self._supervisor.__enter__()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.__exit__(kind, error, trace)
        if self._owns:
            self._aus.close()

    def __iter__(self) -> Iterator[AUFrame]:
        return (frame for frame, _ in self.stamped())

    def stamped(self) -> Iterator[tuple[AUFrame, list[int]]]:
        """The same, each with monotonic ns: captured, then taken up and done by each stage in turn."""
        for item in self._supervisor:
            yield _decode_message(item.payload), item.stamps


def open_run(config: PipelineConfig, source: SourceConfig) -> InProcess | InProcesses:
    """The run that the configuration asks for; nothing has started, and `info` is not known, before it is entered."""
    return InProcesses(config, source) if config.runtime.processes else InProcess(config, source)


# Between processes: a frame without its pixels, and the faces found in it.


class _FrameRef(msgspec.Struct, frozen=True, array_like=True):
    index: int
    time_s: float
    t_capture_ns: int
    t_wall_ns: int
    format: PictureFormat | None

    def frame(self, slot: memoryview | None) -> Frame:
        picture = None if self.format is None or slot is None else view_picture(self.format, slot)
        return Frame(self.index, self.time_s, self.t_capture_ns, self.t_wall_ns, picture)


class _FacesRef(msgspec.Struct, frozen=True, array_like=True):
    frame: _FrameRef
    track_ids: bytes
    score: bytes
    landmarks: bytes
    pose: bytes

    @classmethod
    def of(cls, frame: _FrameRef, faces: TrackedFaces) -> "_FacesRef":
        arrays = (faces.track_ids, faces.score, faces.landmarks, faces.pose)
        return cls(frame, *(array.tobytes() for array in arrays))

    def faces(self) -> TrackedFaces:
        return TrackedFaces(
            np.frombuffer(self.track_ids, np.int64),
            _floats(self.score, -1),
            _floats(self.landmarks, -1, 478, 3),
            _floats(self.pose, -1, 3),
        )


_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(_FrameRef).decode
_decode_faces = msgspec.msgpack.Decoder(_FacesRef).decode
_decode_message = msgspec.msgpack.Decoder(AUFrame).decode
_decode_about = msgspec.msgpack.Decoder(SourceInfo).decode


def _floats(data: bytes, *shape: int) -> NDArray[np.float32]:
    return np.frombuffer(data, np.float32).reshape(shape)


class DecodeSource:
    """Process `decode`: frames into free slots."""

    def __init__(self, source: SourceConfig) -> None:
        self._source, self._decode = source, Decode(source)
        self.slot_bytes, self.about = self._decode.format.nbytes, _encode(self._decode.info)

    def __call__(self, slots: Slots) -> Iterator[Item]:
        for frame in paced(self._decode, self._source):
            if slots.stopped():
                return
            slot = None
            if frame.picture is not None:
                slot = slots.take()
                if slot is None:
                    continue  # the gap in the frame index tells
                if frame.picture.format.nbytes > slots.ring.address.slot_bytes:
                    raise SourceError(f"{self._decode.info.name}: the picture grew at frame {frame.index}")
                copy_picture(frame.picture, slots.ring.slot(slot))
            format = frame.picture and frame.picture.format
            ref = _FrameRef(frame.index, frame.time_s, frame.t_capture_ns, frame.t_wall_ns, format)
            yield Item(_encode(ref), slot)


class FacesStage:
    """Process `faces`."""

    def __init__(self, config: PipelineConfig) -> None:
        self._faces = Faces(config)
        self._faces.warm_up()

    def __call__(self, payload: bytes, slot: memoryview | None) -> bytes:
        ref = _decode_frame(payload)
        faces = self._faces(ref.frame(slot))
        return _encode(_FacesRef.of(ref, faces))


class AUStage:
    """Process `au`: crops straight from the slots of all sources, estimates, recognises, and writes the messages."""

    def __init__(self, config: PipelineConfig) -> None:
        self._aus, self._landmarks = AUs(config), config.au.landmarks
        self._persons = Persons(config, self._aus.card)
        self._aus.warm_up()
        self._persons.warm_up()

    def open(self, source: str) -> None:
        self._persons.open(source)

    def close(self, source: str) -> None:
        self._persons.close(source)

    def __call__(self, works: list[Work]) -> list[bytes]:
        refs = [_decode_faces(work.payload) for work in works]
        found = [
            _Found(work.source, ref.frame.frame(work.slot), ref.faces()) for ref, work in zip(refs, works, strict=True)
        ]
        return [_encode(message) for message in _estimate(found, self._aus, self._persons, landmarks=self._landmarks)]


class FacesAUStage:
    """Process `faces_au`: the faces of all sources in shared batches, then what `au` does."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config, self._networks = config, FaceNetworks(config)
        self._networks.warm_up()
        self._aus = AUStage(config)
        self._faces: dict[str, Faces] = {}

    def open(self, source: str) -> None:
        self._faces[source] = Faces(self._config, self._networks)
        self._aus.open(source)

    def close(self, source: str) -> None:
        self._faces.pop(source, None)
        self._aus.close(source)

    def __call__(self, works: list[Work]) -> list[bytes]:
        refs = [_decode_frame(work.payload) for work in works]
        runs = [self._faces[work.source].steps(ref.frame(work.slot)) for ref, work in zip(refs, works, strict=True)]
        found = together(runs, self._networks)
        return self._aus(
            [
                work._replace(payload=_encode(_FacesRef.of(ref, faces)))
                for ref, faces, work in zip(refs, found, works, strict=True)
            ]
        )
