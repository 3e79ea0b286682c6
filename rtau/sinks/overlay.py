"""Results drawn on the pictures: boxes, landmarks, head pose and AU bars. A second pass over the source."""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from rtau.config import SourceConfig
from rtau.crop import to_rgb
from rtau.decode import Decode
from rtau.errors import RtauError
from rtau.facs import CATALOGUE
from rtau.messages import AUFrame, FaceAUs, RunInfo
from rtau.sinks.files import disk_errors, publish, temporary_beside

Image = NDArray[np.uint8]

SUFFIXES = (".mp4", ".png")

_COLOURS = ((80, 200, 120), (90, 160, 250), (250, 170, 70), (220, 110, 220), (240, 220, 80))  # by track, RGB
_INK, _PAPER = (245, 245, 245), (20, 20, 24)
_NAMES = {au.column: f"{au.column} {au.name}" for au in CATALOGUE}
_CLOCK = 90_000  # ticks a second in the drawn video


class Spool:
    """AUFrames on disk while a run goes on, so that memory stays flat however long it is."""

    def __init__(self, folder: Path) -> None:
        with disk_errors(folder):
            self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))
        self._folder = folder
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(AUFrame).decode

    def write(self, frame: AUFrame) -> None:
        data = self._encode(frame)
        with disk_errors(self._folder):
            self._file.write(len(data).to_bytes(4, "little") + data)

    def __iter__(self) -> Iterator[AUFrame]:
        self._file.seek(0)
        while head := self._file.read(4):
            yield self._decode(self._file.read(int.from_bytes(head, "little")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # a full disk may fail the last flush of what is thrown away
            self._file.close()


def draw_overlay(
    source: SourceConfig, frames: Spool, info: RunInfo, out: Path, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Draw a run on its source: every frame as .mp4 with the same timestamps, or the most expressive one as .png."""
    temporary = temporary_beside(out)
    try:
        with disk_errors(out):
            if out.suffix.lower() == ".png":
                _draw_still(source, frames, info, temporary)
            else:
                _draw_video(source, frames, info, temporary, progress)
        publish(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def draw(picture: Image, frame: AUFrame, info: RunInfo) -> Image:
    """The results of one frame on its picture (H, W, 3) RGB, which is changed."""
    unit = max(picture.shape[0] / 720, 0.55)
    for face in frame.faces:
        colour = _COLOURS[face.track_id % len(_COLOURS)]
        x0, y0, x1, y1 = (round(value) for value in face.box)
        for x, y, _ in face.landmarks or []:
            cv2.circle(picture, (round(x), round(y)), max(round(unit), 1), colour, -1, cv2.LINE_AA)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, max(round(2 * unit), 1), cv2.LINE_AA)
        name = f"#{face.track_id}" + (f" {face.person_id}" if face.person_id else "")
        _text(picture, name + (" low quality" if face.low_quality else ""), (x0, y0 - round(6 * unit)), 0.6 * unit, colour)
        _draw_pose(picture, face, unit)
    for face in frame.faces:
        _draw_bars(picture, face, info.aus, unit, all_aus=len(frame.faces) == 1)
    if frame.reason:
        _text(picture, frame.reason, (round(12 * unit), round(28 * unit)), 0.8 * unit, (255, 120, 120))
    return picture


def _draw_pose(picture: Image, face: FaceAUs, unit: float) -> None:
    """Where the nose points, from the middle of the box."""
    pitch, yaw, _ = (math.radians(angle) for angle in face.pose)
    x0, y0, x1, y1 = face.box
    start = ((x0 + x1) / 2, (y0 + y1) / 2)
    reach = (x1 - x0) * 0.6
    end = (start[0] - reach * math.sin(yaw) * math.cos(pitch), start[1] - reach * math.sin(pitch))
    first, last = ((round(x), round(y)) for x, y in (start, end))
    cv2.arrowedLine(picture, first, last, _INK, max(round(2 * unit), 1), cv2.LINE_AA, tipLength=0.25)


def _draw_bars(picture: Image, face: FaceAUs, aus: tuple[str, ...], unit: float, *, all_aus: bool) -> None:
    """A panel beside the face: a bar an AU, 0-5; two halves where the sides may differ, the subject's right above."""
    height, width = picture.shape[:2]
    order = range(len(aus)) if all_aus else sorted(range(len(aus)), key=lambda i: -face.intensity[i])[:5]
    row, bar, label = max(round(19 * unit), 11), round(110 * unit), round(215 * unit)
    panel_width, panel_height = label + bar + round(20 * unit), row * len(order) + round(12 * unit)
    x0, y0, x1, _ = (round(value) for value in face.box)
    gap = round(14 * unit)
    left = x1 + gap if x1 + gap + panel_width <= width or width - x1 >= x0 else x0 - gap - panel_width
    left = min(max(left, 0), max(width - panel_width, 0))
    top = min(max(y0, 0), max(height - panel_height, 0))
    area = picture[top : top + panel_height, left : left + panel_width]
    area[:] = (area * 0.3 + np.array(_PAPER) * 0.7).astype(np.uint8)
    sided = {au.column for au in CATALOGUE if au.sided}
    for line, i in enumerate(order):
        y = top + round(6 * unit) + line * row
        present = face.intensity[i] >= 1
        ink = _INK if present else (150, 150, 155)
        _text(picture, _NAMES[aus[i]], (left + round(6 * unit), y + round(row * 0.72)), 0.42 * unit, ink)
        start, end = left + label, y + row - 3
        cv2.rectangle(picture, (start, y + 1), (start + bar, end), (70, 70, 76), -1)
        halves = (face.right[i], face.left[i]) if aus[i] in sided else (face.intensity[i],)
        depth = (end - y) / len(halves)
        for half, value in enumerate(halves):
            colour = (255, 176, 66) if value >= 1 else (120, 140, 160)
            corner = (start, round(y + 1 + half * depth))
            cv2.rectangle(picture, corner, (start + round(bar * value / 5), round(y + (half + 1) * depth)), colour, -1)


def _text(picture: Image, text: str, where: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    thick = 2 if size > 0.7 else 1
    cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, _PAPER, thick + 2, cv2.LINE_AA)
    cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def _pictures(source: SourceConfig, frames: Spool) -> Iterator[tuple[Image, AUFrame]]:
    """Each result with its picture; frames that could not be decoded have none and are left out."""
    with Decode(source) as decode:
        results, pictures = iter(frames), iter(decode)
        for result in results:
            try:
                frame = next(pictures, None)
            except RtauError:
                return  # the end of a damaged file: there are no results beyond
            if frame is None:
                return
            if frame.picture is not None:
                yield to_rgb(frame.picture), result


def _draw_still(source: SourceConfig, frames: Spool, info: RunInfo, path: Path) -> None:
    def expressed(frame: AUFrame) -> float:
        return sum(sum(face.intensity) for face in frame.faces if not face.low_quality)

    best = max(frames, key=expressed)
    for picture, frame in _pictures(source, frames):
        if frame.frame_index == best.frame_index:
            ok, data = cv2.imencode(".png", draw(picture, frame, info)[..., ::-1])
            assert ok
            path.write_bytes(data.tobytes())


def _draw_video(
    source: SourceConfig, frames: Spool, info: RunInfo, path: Path, progress: Callable[[int], None]
) -> None:
    even = (info.source.width // 2 * 2, info.source.height // 2 * 2)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(info.source.nominal_fps or 25).limit_denominator(1001))
        stream.width, stream.height = even
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        last = -1
        for done, (picture, frame) in enumerate(_pictures(source, frames), 1):
            drawn = draw(picture, frame, info)[: even[1], : even[0]]
            packetless = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
            last = max(round(frame.time_s * _CLOCK), last + 1)
            packetless.pts, packetless.time_base = last, Fraction(1, _CLOCK)
            container.mux(stream.encode(packetless))
            progress(done)
        container.mux(stream.encode(None))
