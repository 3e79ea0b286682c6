"""Live sources by name: cameras of this machine, network streams, files at their own pace, a moving test picture."""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from rtau.config import Policy, SourceConfig, read_yaml
from rtau.errors import ConfigError, RtauError, SourceError
from rtau.feed.wire import check_source_id

SYNTHETIC = "synthetic"
_LINUX_CAMERAS = Path("/sys/class/video4linux")
_SIZE = re.compile(r"[1-9]\d*x[1-9]\d*")
Kind = Literal["a camera", "the test picture", "an address", "a file"]
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "a camera": ("size", "fps", "pixel_format", "policy"),
    "the test picture": ("size", "fps", "policy"),
    "an address": ("policy",),
    "a file": ("fast", "loop", "policy"),
}


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One live source, as the command line or a YAML file names it."""

    name: str
    camera: str | None = None  # number or device; either this
    source: str | None = None  # or a file, an address, `synthetic`
    size: str | None = None  # WIDTHxHEIGHT, of cameras and `synthetic`
    fps: Annotated[float, Meta(gt=0)] | None = None  # likewise
    pixel_format: str | None = None  # of cameras, FFmpeg's name
    fast: bool = False  # a file as fast as it can be looked at, every frame of it unless a policy is given
    loop: bool = False  # a file again and again
    policy: Policy | None = None  # None: `newest`, or `wait` for a file that is read fast

    @property
    def kind(self) -> Kind:
        if self.camera is not None:
            return "a camera"
        if self.source == SYNTHETIC:
            return "the test picture"
        return "an address" if self.source is not None and "://" in self.source else "a file"

    @property
    def options(self) -> tuple[str, ...]:
        """The fields that mean something for this kind of source."""
        return _OPTIONS[self.kind]


class _SourcesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: list[SourceEntry]


class Camera(NamedTuple):
    device: str
    name: str


def read_sources(path: Path) -> list[SourceEntry]:
    """The `sources` of a YAML file. Raises ConfigError naming file and key."""
    entries = read_yaml(path, _SourcesFile).sources
    try:
        check_names(entries)
    except RtauError as error:
        raise ConfigError(f"{path}: {error}") from error
    return entries


def check_names(entries: Iterable[SourceEntry]) -> None:
    """Raises ConfigError or FeedError when a name is there twice, or cannot be part of a topic."""
    seen: set[str] = set()
    for entry in entries:
        if check_source_id(entry.name) in seen:
            raise ConfigError(
                f"two sources have one name: {entry.name}; rename one (a --sources file names them freely)"
            )
        seen.add(entry.name)


def open_source(entry: SourceEntry) -> SourceConfig:
    """How the pipeline reads an entry. Raises ConfigError for a contradiction, SourceError for a missing camera."""
    if (entry.camera is None) == (entry.source is None):
        raise ConfigError(f"source {entry.name}: give either a camera or a source")
    for option in ("size", "fps", "pixel_format", "fast", "loop"):
        if getattr(entry, option) and option not in entry.options:
            raise ConfigError(f"source {entry.name}: {entry.kind} has no {option}; remove it")
    if entry.size is not None and not _SIZE.fullmatch(entry.size):
        raise ConfigError(f"source {entry.name}: size {entry.size} is not WIDTHxHEIGHT")
    if entry.camera is not None:
        return _camera(entry, entry.camera)
    assert entry.source is not None
    policy = entry.policy or "newest"
    if entry.kind == "the test picture":
        picture = f"testsrc2=size={entry.size or '1280x720'}:rate={entry.fps or 30:g}"
        return SourceConfig(path=picture, source_id=entry.name, input_format="lavfi", realtime=True, policy=policy)
    if entry.kind == "an address":
        options = {"rtsp_transport": "tcp"} if entry.source.startswith("rtsp://") else {}
        return SourceConfig(path=entry.source, source_id=entry.name, options=options, policy=policy)
    return SourceConfig(
        path=entry.source,
        source_id=entry.name,
        realtime=not entry.fast,
        loop=entry.loop,
        policy="wait" if entry.fast and entry.policy is None else policy,
    )


def comes_back(source: SourceConfig) -> bool:
    """Whether a source that ended is opened again: cameras and network streams are, files and pictures are not."""
    return "://" in source.path or source.input_format not in (None, "lavfi")


class Changes(NamedTuple):
    """What an edit of a sources file asks for. An entry that was changed comes, and takes the place of the old one."""

    come: list[SourceConfig]
    gone: list[str]


class SourcesFile:
    """A YAML file of sources that may be edited while they are followed. Raises ConfigError as `read_sources` does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._acted_on = self._stamp()
        self.entries = read_sources(path)

    def changes(
        self, others: Iterable[SourceEntry] = (), check: Callable[[str], None] = lambda name: None
    ) -> Changes | None:
        """What has been edited since, once the file has been left alone from one call to the next; None: nothing.

        `others` have names that are taken, `check` may refuse those that come. Raises ConfigError, SourceError, or what
        `check` raises, once for each bad edit; then nothing of that edit counts.
        """
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        if stamp != before or stamp == self._acted_on:
            return None
        self._acted_on = stamp
        entries = read_sources(self._path)
        check_names([*others, *entries])
        come = [open_source(entry) for entry in entries if entry not in self.entries]
        for source in come:
            check(source.source_id)
        gone = {entry.name for entry in self.entries} - {entry.name for entry in entries}
        self.entries = entries
        return Changes(come, sorted(gone))

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns


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
    policy = entry.policy or "newest"
    return SourceConfig(path=path, source_id=entry.name, input_format=format, options=options, policy=policy)
