"""The drawn result as a video or a picture, made in a second pass over the source when the table is complete."""

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import av.container
import cv2
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from rtau.config import SourceConfig
from rtau.crop import to_rgb
from rtau.decode import Decode
from rtau.errors import DamagedSourceError
from rtau.messages import AUFrame, RunInfo
from rtau.sinks.drawing import Drawing, Image
from rtau.sinks.output import OutputFile, check_output
from rtau.sinks.spool import DrawnFrame, Spool, drawn_frame
from rtau.structures import Picture

OVERLAYS = (".mp4", ".png")
Progress = Callable[[int, int], None]  # frames drawn, frames in all

_TICK = Fraction(1, 90_000)  # seconds; fine enough for every camera's timestamps
_QUALITY = {"crf": "20", "preset": "veryfast"}  # x264's constant rate factor


class Overlay(Protocol):
    """Takes the frames of one run in order; a `with` block that ends without `finish` leaves nothing behind.

    Landmarks are drawn where the frames have them. Raises OutputError when the disk is full.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, frame: AUFrame) -> None:
        """Remember what is to be drawn of a frame."""

    def finish(self, progress: Progress) -> None:
        """Decode the source again, draw, and give the file its name. Raises SourceError if the source has gone."""

    def abandon(self) -> None:
        """Leave nothing behind, unless it is finished."""


def check_overlay(out: Path, source: str, *, overwrite: bool) -> None:
    """Whether the overlay can be written, asked before a run starts. Raises OutputError."""
    check_output(out, OVERLAYS, source, overwrite=overwrite)


def open_overlay(out: Path, source: SourceConfig, info: RunInfo, *, overwrite: bool = False) -> Overlay:
    """Begin an overlay: `.mp4` is every frame, `.png` the one with the strongest AUs. Raises OutputError."""
    check_overlay(out, source.path, overwrite=overwrite)
    return VideoOverlay(out, source, info) if out.suffix.lower() == ".mp4" else PictureOverlay(out, source, info)


class _OverlayFile:
    """What both kinds share."""

    def __init__(self, out: Path, source: SourceConfig, info: RunInfo) -> None:
        self._output, self._source, self._info = OutputFile(out), source, info

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abandon()

    def abandon(self) -> None:
        self._output.discard()


class PictureOverlay(_OverlayFile):
    """The frame with the greatest sum of intensities over reliable faces; the first one if there are none."""

    def __init__(self, out: Path, source: SourceConfig, info: RunInfo) -> None:
        super().__init__(out, source, info)
        self._best: AUFrame | None = None
        self._most = -1.0

    def write(self, frame: AUFrame) -> None:
        much = sum(sum(face.intensity) for face in frame.faces if not face.low_quality)
        if much > self._most and frame.reason != "decode_error":
            self._best, self._most = frame, much

    def finish(self, progress: Progress) -> None:
        best = self._best
        drawing = Drawing(self._info, len(best.faces) if best else 0)
        wanted = iter([] if best is None else [drawn_frame(best)])
        total = best.frame_index + 1 if best else 0
        images = (draw(drawing, picture, drawn) for picture, drawn in pictures(self._source, wanted, progress, total))
        image = next(images, None)
        with self._output.writing():
            if image is not None:
                encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                assert encoded
                self._output.temporary.write_bytes(data.tobytes())
        if image is None:
            self.abandon()  # no frame of the source could be decoded
            return
        self._output.seal()
        self._output.publish()


class VideoOverlay(_OverlayFile):
    """Every frame, H.264. Time starts at the first frame; from there all distances in time are the source's."""

    def __init__(self, out: Path, source: SourceConfig, info: RunInfo) -> None:
        super().__init__(out, source, info)
        with self._output.writing():
            self._spool = Spool(self._output.temporary.parent)
        self._frames, self._faces = 0, 0

    def write(self, frame: AUFrame) -> None:
        with self._output.writing():
            self._spool.write(frame)
        self._frames += 1
        self._faces = max(self._faces, len(frame.faces))

    def finish(self, progress: Progress) -> None:
        drawing = Drawing(self._info, self._faces)
        drawn_frames = iter(self._spool)
        with self._output.writing(), av.open(str(self._output.temporary), "w", format="mp4") as container:
            stream = self._open_stream(container)
            last: int | None = None
            for picture, drawn in pictures(self._source, drawn_frames, progress, self._frames):
                image = draw(drawing, picture, drawn)
                ...
