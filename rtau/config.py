"""One YAML file configures one run; unknown keys and bad ranges fail at the start, naming file and key."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from rtau.errors import ConfigError

Probability = Annotated[float, Meta(ge=0, le=1)]
Policy = Literal["newest", "drop_oldest", "drop_latest", "wait"]
Baseline = Literal["off", "online", "two_pass"]
DEVICE_PATTERN = r"^(auto|cpu|cuda(:[0-9]+)?)$"

T = TypeVar("T")


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One input."""

    path: str  # anything that PyAV opens, or one image
    source_id: str = "0"
    start_s: Annotated[float, Meta(ge=0)] = 0.0  # seconds in the source's clock, first frame at or after it
    end_s: float | None = None  # last frame before it
    input_format: str | None = None  # FFmpeg's name where the path does not tell: v4l2, avfoundation, dshow, lavfi
    options: dict[str, str] = {}  # of FFmpeg's input, such as video_size and framerate of a camera
    realtime: bool = False  # give the frames at the pace of their own times
    nvdec: int | None = None  # GPU whose decoder is used, PipelineConfig.decoder
    loop: bool = False  # begin again at the end; indices and times go on
    policy: Policy = "wait"  # when frames come faster than they are looked at: docs/stream.md; drops are counted
    timeout_s: Annotated[float, Meta(gt=0)] = 20.0  # an address that says nothing for so long is given up
    silence_s: float | None = None  # likewise a camera without a frame; None: it may be silent


class LiveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How live sources are followed."""

    slots: Annotated[int, Meta(ge=2, le=64)] = 3  # pictures under way at once; more is throughput, less is latency
    stall_timeout_s: Annotated[float, Meta(gt=0)] = 10.0  # a camera or address without a frame for so long is lost
    first_pause_s: Annotated[float, Meta(gt=0)] = 0.5  # before a lost source is opened again; doubles each time
    longest_pause_s: Annotated[float, Meta(gt=0)] = 30.0
    max_restarts: Annotated[int, Meta(ge=0)] = 3  # of dead processes of a source within the window; then the run stops
    restart_window_s: Annotated[float, Meta(gt=0)] = 60.0


class FacesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Finding and following faces."""

    detector: str = "default"  # `default` or an artifact folder
    landmarks: str = "default"
    max_faces: Annotated[int, Meta(ge=1, le=64)] = 5
    min_detection: Probability = 0.4  # score from which a detection is looked at
    new_presence: Probability = 0.98  # score from which a new face is followed; 99 % of validation faces have more
    min_presence: Probability = 0.5  # score under which a followed face is lost
    detect_every_s: Annotated[float, Meta(ge=0)] = 0.4  # look for new faces at least this often
    memory_s: Annotated[float, Meta(ge=0)] = 1.0  # a face that comes back within this time keeps its track id


class AUConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Estimating AUs."""

    encoder: str = "default"
    max_batch: Annotated[int, Meta(ge=1)] = 32  # faces that go through the network at once, of all sources together
    max_wait_ms: Annotated[float, Meta(ge=0)] = 0.0  # for other sources' faces; 0: what is there goes at once
    landmarks: bool = False  # send the 478 landmarks along


class PersonsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is who, and what their faces look like at rest."""

    gallery: str | None = None  # file of `rtau gallery`; None: nobody is recognised, nothing outlasts the run
    key: str | None = None  # its key file; None: the user's own
    identity: str = "default"  # `default`, an artifact folder, or one with an insightface recognition model
    accept: Annotated[float, Meta(gt=-1, lt=1)] | None = None  # cosine from which it is the person; None: the model's
    baseline: Baseline = "online"  # AUs relative to the resting face as it is known so far; two_pass is for files


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the journey is laid out over processes."""

    processes: bool = True  # False: all stages in this process
    slots: Annotated[int, Meta(ge=2, le=256)] = 8  # pictures in the shared-memory ring
    start_timeout_s: Annotated[float, Meta(gt=0)] = 120.0  # models must be loaded by then
    stall_timeout_s: Annotated[float, Meta(gt=0)] = 60.0  # no frame for this long ends the run


class PipelineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run."""

    device: Annotated[str, Meta(pattern=DEVICE_PATTERN)] = "auto"
    decoder: Literal["cpu", "nvdec"] = "cpu"  # nvdec: the GPU's own, where `device` is a GPU
    faces: FacesConfig = FacesConfig()
    au: AUConfig = AUConfig()
    persons: PersonsConfig = PersonsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    live: LiveConfig = LiveConfig()


def with_gallery(config: PersonsConfig, gallery: Path | None, key: Path | None) -> PersonsConfig:
    """What the command line names goes before what the file names."""
    given = {"gallery": gallery, "key": key}
    return msgspec.structs.replace(config, **{name: str(path) for name, path in given.items() if path is not None})


def load_config(path: Path | None) -> PipelineConfig:
    """The configuration in a YAML file, or the defaults. Raises ConfigError naming file and key."""
    return PipelineConfig() if path is None else read_yaml(path, PipelineConfig)


def read_yaml(path: Path, type: type[T]) -> T:
    """The content of a YAML file. Raises ConfigError naming file and key."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=type)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
