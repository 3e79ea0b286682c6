"""Live sources by name: cameras of this machine, network streams, files at their own pace, a moving test picture."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from rtau.config import SourceConfig
from rtau.errors import ConfigError, SourceError

SYNTHETIC = "synthetic"
_LINUX_CAMERAS = Path("/sys/class/video4linux")
_SIZE = re.compile(r"[1-9]\d*x[1-9]\d*")


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One live source, as the command line or a YAML file names it."""

    name: str
    camera: str | None = None  # number or device; either this
    source: str | None = None  # or a file, an address, `synthetic`
    size: str | None = None  # WIDTHxHEIGHT, of cameras and `synthetic`
    fps: float | None = None  # likewise
    pixel_format: str | None = None  # of cameras, FFmpeg's name
    fast: bool = False  # a file as fast as it can be looked at, every frame of it
    loop: bool = False  # a file again and again


class _SourcesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: list[SourceEntry]


class Camera(NamedTuple):
    device: str
    name: str


def read_sources(path: Path) -> list[SourceEntry]:
    """The `sources` of a YAML file. Raises ConfigError naming file and key."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=_SourcesFile).sources
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def open_source(entry: SourceEntry) -> SourceConfig:
    """How the pipeline reads an entry. Raises ConfigError for a contradiction, SourceError for a missing camera."""
    if (entry.camera is None) == (entry.source is None):
        raise ConfigError(f"source {entry.name}: give either a camera or a source")
    if entry.size is not None and not _SIZE.fullmatch(entry.size):
        raise ConfigError(f"source {entry.name}: size {entry.size} is not WIDTHxHEIGHT")
    if entry.camera is not None:
        return _camera(entry, entry.camera)
    assert entry.source is not None
    if entry.source == SYNTHETIC:
        picture = f"testsrc2=size={entry.size or '1280x720'}:rate={entry.fps or 30:g}"
        return SourceConfig(path=picture, source_id=entry.name, input_format="lavfi", realtime=True, policy="newest")
    if "://" in entry.source:
        options = {"rtsp_transport": "tcp"} if entry.source.startswith("rtsp://") else {}
        return SourceConfig(path=entry.source, source_id=entry.name, options=options, policy="newest")
    return SourceConfig(
        path=entry.source,
        source_id=entry.name,
        realtime=not entry.fast,
        loop=entry.loop,
        policy="wait" if entry.fast else "newest",
    )


def comes_back(source: SourceConfig) -> bool:
    """Whether a source that ended is opened again: cameras and network streams are, files and pictures are not."""
    return "://" in source.path or source.input_format not in (None, "lavfi")


def cameras() -> list[Camera]:
    """The cameras that this machine names; only Linux tells."""
    if not _LINUX_CAMERAS.is_dir():
        return []
    found = sorted(_LINUX_CAMERAS.iterdir(), key=lambda path: (len(path.name), path.name))
    return [Camera(f"/dev/{path.name}", (path / "name").read_text().strip()) for path in found]


def _camera(entry: SourceEntry, camera: str) -> SourceConfig:
    options = {}
    if entry.size is not None:
        options["video_size"] = entry.size
    if entry.fps is not None:
        options["framerate"] = f"{entry.fps:g}"
    if entry.pixel_format is not None:
        options["pixel_format"] = entry.pixel_format
    number = camera.isdigit()
    if sys.platform == "darwin":
        format, path = "avfoundation", camera
    elif sys.platform == "win32":
        format, path = "dshow", f"video={camera}"
    else:
        format, path = "v4l2", f"/dev/video{camera}" if number else camera
        if not Path(path).exists():
            there = ", ".join(f"{c.device} ({c.name})" for c in cameras()) or "none"
            raise SourceError(f"camera {camera}: {path} is not there; cameras of this machine: {there}")
    return SourceConfig(path=path, source_id=entry.name, input_format=format, options=options, policy="newest")
