"""The drawn result as a video or a picture, made in a second pass over the source when the table is complete."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from rtau.config import SourceConfig
from rtau.crop import to_rgb
from rtau.decode import Decode
from rtau.errors import DamagedSourceError, SourceError
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        if self._best is None:  # the run ended before its first picture
            self.abandon()
            return
        found = next(pictures(self._source, [drawn_frame(self._best)]), None)
        if found is None:
            raise SourceError(f"{self._info.source.name}: frame {self._best.frame_index} could not be read again")
        image = draw(Drawing(self._info, len(self._best.faces)), *found)
        _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        with self._output.writing():
            self._output.temporary.write_bytes(png.tobytes())
        progress(1, 1)
        self._output.seal()
        self._output.publish()


class VideoOverlay(_OverlayFile):
    """Every frame that has a picture, H.264. Time starts at the first; the distances in time are the source's."""

    def __init__(self, out: Path, source: SourceConfig, info: RunInfo) -> None:
        super().__init__(out, source, info)
        with self._output.writing():
            self._spool = Spool(self._output.temporary.parent)
        self._frames, self._faces = 0, 0

    def abandon(self) -> None:
        self._spool.close()
        super().abandon()

    def write(self, frame: AUFrame) -> None:
        with self._output.writing():
            self._spool.write(frame)
        self._frames += 1
        self._faces = max(self._faces, len(frame.faces))

    def finish(self, progress: Progress) -> None:
        drawing = Drawing(self._info, self._faces)
        with _Mp4(self._output, drawing.size, self._info.source.nominal_fps or 25.0) as video:
            for done, (picture, drawn) in enumerate(pictures(self._source, self._spool), 1):
                video.write(draw(drawing, picture, drawn), drawn.frame.time_s)
                progress(done, self._frames)
        self._spool.close()
        self._output.seal()
        self._output.publish()


class _Mp4:
    """H.264 in an output file. Raises OutputError when the disk is full."""

    def __init__(self, output: OutputFile, size: tuple[int, int], nominal_fps: float) -> None:
        self._output = output
        with output.writing():
            self._container = av.open(str(output.temporary), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=Fraction(nominal_fps).limit_denominator(1001))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = dict(_QUALITY)
        context = self._stream.codec_context
        context.time_base = _TICK
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._first_s: float | None = None
        self._last_tick = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
            return
        with self._output.writing():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, image: Image, time_s: float) -> None:
        """Image (H, W, 3) RGB; times must not decrease."""
        self._first_s = time_s if self._first_s is None else self._first_s
        tick = max(round((time_s - self._first_s) / _TICK), self._last_tick + 1)
        self._last_tick = tick
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = tick, _TICK
        with self._output.writing():
            self._container.mux(self._stream.encode(frame))


def pictures(source: SourceConfig, wanted: Iterable[DrawnFrame]) -> Iterator[tuple[Picture, DrawnFrame]]:
    """The source's pictures of the wanted frames, which come in order. Where it breaks off, they end."""
    with contextlib.suppress(DamagedSourceError), Decode(source) as decode:
        frames = iter(decode)
        for drawn in wanted:
            for frame in frames:
                if frame.index == drawn.frame.frame_index:
                    if frame.picture is not None:
                        yield frame.picture, drawn
                    break


def draw(drawing: Drawing, picture: Picture, drawn: DrawnFrame) -> Image:
    """One frame of the overlay, (H, W, 3) RGB."""
    rgb = to_rgb(picture)
    enlarged = cv2.resize(rgb, drawing.picture_size, interpolation=cv2.INTER_LINEAR)
    return drawing(enlarged.astype(np.uint8, copy=False), drawn)
