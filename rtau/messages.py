"""What leaves the pipeline, in tables and in the feed: one `AUFrame` for every frame. Importable without any engine.

The names here are the names on the wire (docs/feed.md); a message is a map. New fields may come, so readers pass over
those that they do not know; a change that breaks readers raises `SCHEMA_VERSION`.
"""

from typing import Literal

import msgspec

from rtau.facs import CATALOGUE

SCHEMA_VERSION = 1
RUN = "rtau"  # in place of a source id in topics and messages about the run as a whole

Point = tuple[float, float, float]
BaselineState = Literal["none", "warming", "ready", "fixed"]  # not seen; too few looks; enough; from an enrolment
BaselineMode = Literal["off", "online", "two_pass"]  # nothing calibrated; as known so far; from the whole clip


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the container says of the source; unknown values are None."""

    name: str  # file name without folders, or host of an address (rtau.address)
    width: int  # square pixels as displayed, after rotation
    height: int
    codec: str
    pixel_format: str  # FFmpeg's name
    matrix: str
    full_range: bool
    rotation: int  # degrees counter-clockwise from stored to displayed
    time_base_s: float  # unit of the container's timestamps; 0 for a still picture
    nominal_fps: float | None  # for information only: timestamps never come from it
    frames: int | None  # as the container claims
    duration_s: float | None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message of the feed begins with. The publisher fills `seq` and `t_publish_ns`."""

    schema: int = SCHEMA_VERSION
    source_id: str
    seq: int = 0  # counts the messages of one topic from 0; a gap was lost on the way to this subscriber
    t_publish_ns: int = 0  # monotonic clock of the publishing host; 0 until published


class FaceAUs(msgspec.Struct, frozen=True, kw_only=True):
    """One face. AU lists are in the order of `AUFrame.aus`."""

    track_id: int  # from 1; stable while the face stays
    person_id: str | None  # None: identity is not known
    score: float  # probability that this is a face, 0-1
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the displayed picture
    pose: Point  # pitch, yaw, roll in degrees; up, the subject's right, tilt to the subject's right are positive
    occurrence: list[float]  # probability, 0-1; of the calibrated intensity where there is one
    intensity: list[float]  # 0-5, as the model estimates it; >= 1 means present where nothing is calibrated
    left: list[float]  # 0-5, the subject's left; equals intensity for AUs without sides
    right: list[float]  # 0-5, the subject's right
    low_quality: bool  # too small, too turned or too unsure for AUs to be relied on
    landmarks: list[Point] | None = None  # 478 points in pixels, when asked for
    baseline: BaselineState = "none"  # of this person's resting face: how far it is known
    baseline_confidence: float = 0.0  # 0-1
    calibrated: list[float] | None = None  # intensity relative to the resting face, 0-5; None unless ready or fixed
    calibrated_left: list[float] | None = None  # likewise
    calibrated_right: list[float] | None = None

    @property
    def shown(self) -> list[float]:
        """The intensity that says what the face shows: the calibrated one where there is one."""
        return self.intensity if self.calibrated is None else self.calibrated


class AUFrame(Message, frozen=True, kw_only=True):
    """Topic `au.<source>`: every processed frame, also without faces (`no_face`) or a picture (`decode_error`)."""

    frame_index: int  # counts decoded frames from 0; in the feed a gap was dropped before it was processed
    time_s: float  # pts * time_base, in the source's clock
    t_capture_ns: int  # monotonic clock of this host
    wall_capture_ns: int  # the same moment since 1970-01-01 UTC, as this host's clock had it
    width: int  # pixels of the displayed picture; 0 without a picture
    height: int
    reason: Literal["", "no_face", "decode_error"]
    aus: tuple[str, ...]  # `AU01`, ...: the order of the lists in `faces`
    faces: list[FaceAUs]  # in the order of track ids


EventKind = Literal[
    "track_started",
    "track_ended",
    "person_recognised",
    "source_lost",
    "source_back",
    "source_ended",
    "frames_dropped",
    "worker_restarted",
]


class Event(Message, frozen=True, kw_only=True):
    """Topic `event.<source>`: something happened."""

    kind: str  # an EventKind; readers pass over those that they do not know
    t_ns: int  # when: monotonic clock of this host
    wall_ns: int  # when: since 1970-01-01 UTC
    frame_index: int | None = None  # where a frame is meant
    track_id: int | None = None  # where a track is meant
    count: int | None = None  # how many, where frames are meant
    text: str = ""  # one line for people
    person_id: str | None = None  # who, where a person is meant


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    p50: float
    p99: float


class Health(Message, frozen=True, kw_only=True):
    """Topic `health.<source>`, once a second. Counts are since the start; frames under way are not captured yet."""

    state: Literal["starting", "live", "lost", "ended"]
    fps_in: float  # captured frames a second, since the last message
    fps_out: float  # published frames a second, since the last message
    captured: int  # published and dropped
    published: int
    dropped: dict[str, int]  # reason: frames
    latency_ms: dict[str, Percentiles]  # stage: time in it since the last message; `total` is capture to publish
    faces: int  # in the newest frame


class ProcessHealth(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    pid: int
    restarts: int  # how often it was started anew
    cpu: float  # cores in use, since the last message
    memory_bytes: int  # resident


class RunHealth(Message, frozen=True, kw_only=True):
    """Topic `health.rtau`, once a second: the run as a whole."""

    processes: list[ProcessHealth]
    cpu: float  # cores in use by all processes
    memory_bytes: int
    subscribers: int  # open connections
    overflows: int  # how often the queue of a subscriber that does not read became full since the start


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What every table and feed must say of the run that made it."""

    version: str  # of rtau
    engine: str  # such as "openvino-cpu"
    weights: dict[str, str]  # role: name-version-hash
    weights_sha256: dict[str, str]  # role: full hash
    aus: tuple[str, ...]  # columns that are estimated, in the order of the lists in FaceAUs
    source: SourceInfo
    baseline: BaselineMode = "off"  # what calibrated intensities are relative to
    gallery: bool = False  # whether persons are recognised


class AUInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One AU of the catalogue."""

    name: str  # as in `AUFrame.aus`: `AU12`
    number: int
    text: str  # such as "lip corner puller"
    sided: bool  # left and right are estimated apart
    estimated: bool  # by these weights


UNITS = {
    "time_s": "seconds in the source's clock",
    "t_*_ns": "nanoseconds of the publishing host's monotonic clock",
    "wall_*_ns": "nanoseconds since 1970-01-01 UTC",
    "score": "probability 0-1",
    "box": "pixels of the displayed picture, origin top left: x0, y0, x1, y1",
    "pose": "degrees: pitch (up +), yaw (to the subject's right +), roll (tilt to the subject's right +)",
    "occurrence": "probability 0-1",
    "intensity": "0-5, present from 1",
    "left": "0-5, the subject's left",
    "right": "0-5, the subject's right",
    "calibrated": "intensity 0-5 relative to the person's resting face, present from 1; likewise left and right",
    "baseline_confidence": "0-1",
    "landmarks": "x, y in pixels of the displayed picture; z in pixels towards the back of the head",
}


class Hello(Message, frozen=True, kw_only=True):
    """Topic `hello.<source>`: what the numbers mean. Sent at the start, now and then, and to whoever subscribes."""

    version: str  # of rtau
    run_id: str = ""  # new whenever the publisher starts, with counts from 0; the publisher fills it
    encoding: Literal["msgpack", "json"] = "msgpack"  # of all messages; the publisher fills it
    engine: str  # such as "openvino-cpu"
    weights: dict[str, str]  # role: name-version-hash
    weights_sha256: dict[str, str]  # role: full hash
    aus: tuple[str, ...]  # estimated, in the order of the lists in FaceAUs
    catalogue: list[AUInfo]
    units: dict[str, str]  # field: unit, range and sign
    landmarks: bool  # faces carry their landmarks
    source: SourceInfo
    baseline: BaselineMode = "off"  # what calibrated intensities are relative to
    gallery: bool = False  # whether persons are recognised


def describe_feed(info: RunInfo, source_id: str, *, landmarks: bool = False) -> Hello:
    """The Hello of a source."""
    return Hello(
        source_id=source_id,
        version=info.version,
        engine=info.engine,
        weights=info.weights,
        weights_sha256=info.weights_sha256,
        aus=info.aus,
        catalogue=[
            AUInfo(name=au.column, number=au.number, text=au.name, sided=au.sided, estimated=au.column in info.aus)
            for au in CATALOGUE
        ],
        units=UNITS,
        landmarks=landmarks,
        source=info.source,
        baseline=info.baseline,
        gallery=info.gallery,
    )


class StageTime(msgspec.Struct, frozen=True):
    """How long one stage worked."""

    stage: str
    frames: int
    busy_s: float
