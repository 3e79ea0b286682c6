"""What leaves the pipeline: one `AUFrame` for every frame. Importable without any engine."""

from typing import Literal

import msgspec

Point = tuple[float, float, float]


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the container says of the source; unknown values are None."""

    name: str  # file name without folders
    width: int  # pixels as displayed, after rotation
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


class FaceAUs(msgspec.Struct, frozen=True, kw_only=True):
    """One face. AU lists are in the order of `RunInfo.aus`."""

    track_id: int  # from 1; stable while the face stays
    person_id: str | None  # None: identity is not known
    score: float  # probability that this is a face, 0-1
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the displayed picture
    pose: Point  # pitch, yaw, roll in degrees; up, the subject's right, tilt to the subject's right are positive
    occurrence: list[float]  # probability, 0-1
    intensity: list[float]  # 0-5; >= 1 means present
    left: list[float]  # 0-5, the subject's left; equals intensity for AUs without sides
    right: list[float]  # 0-5, the subject's right
    low_quality: bool  # too small, too turned or too unsure for AUs to be relied on
    landmarks: list[Point] | None = None  # 478 points in pixels, when asked for


class AUFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Every decoded frame gives one, also without faces (`no_face`) or without a picture (`decode_error`)."""

    source_id: str
    frame_index: int  # counts decoded frames from 0
    time_s: float  # pts * time_base, in the source's clock
    t_capture_ns: int  # monotonic clock of this host
    reason: Literal["", "no_face", "decode_error"]
    faces: list[FaceAUs]  # in the order of track ids


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What every table and feed must say of the run that made it."""

    version: str  # of rtau
    engine: str  # such as "openvino-cpu"
    weights: dict[str, str]  # role: name-version-hash
    weights_sha256: dict[str, str]  # role: full hash
    aus: tuple[str, ...]  # columns that are estimated, in the order of the lists in FaceAUs
    source: SourceInfo


class StageTime(msgspec.Struct, frozen=True):
    """How long one stage worked."""

    stage: str
    frames: int
    busy_s: float
