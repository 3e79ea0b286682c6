"""From a file to frames: YUV planes as the decoder leaves them, with the container's own time."""

import contextlib
import itertools
import struct
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import av.error
import av.logging
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rtau import exif
from rtau.address import without_passwords
from rtau.config import SourceConfig
from rtau.errors import DamagedSourceError, DeviceError, SourceError
from rtau.messages import SourceInfo
from rtau.structures import ColourMatrix, Frame, Picture, PictureFormat, Plane

av.logging.set_level(None)  # what matters is raised

# Planar formats that are taken as they are: chroma shifts and bits a sample. An alpha plane is left where it is.
_PLANAR: dict[str, tuple[int, int, int]] = {
    f"yuv{kind}{layout}p{suffix}": (*shifts, bits)
    for layout, shifts in (("420", (1, 1)), ("422", (1, 0)), ("444", (0, 0)))
    for kind, suffix, bits in (("", "", 8), ("j", "", 8), ("a", "", 8), ("", "10le", 10), ("", "12le", 12))
}
# The same samples in another order; everything else (RGB, palettes, grey) is converted with RGB's own range.
_REORDERED = {"nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "yuyv422": "yuv422p", "uyvy422": "yuv422p",
              "p010le": "yuv420p10le"}  # fmt: skip
_MATRICES: dict[int, ColourMatrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
_FULL_RANGE = 2
_SD_HEIGHT = 576  # an unspecified matrix is BT.601 up to here, BT.709 above
_THREADS_FROM = 1920 * 1080  # smaller pictures decode faster than they are looked at, on one thread
_MISSING_S = 0.5  # a file that ends this much before its announced end was cut off
_EARLY_S = (1, 10, 100)  # so long before the wanted start a key frame is looked for
_ASPECTS = (0.25, 4.0)  # of a pixel; others are a mistake of whoever wrote the file


class Decode:
    """Frames of one video or image. `info` is known at once; iterate for Frames.

    The planes of a frame are views of the decoder's memory, valid until the next one. Frame 0 is the first one at or
    after `start_s`. A picture that changes its size in mid-stream is brought to the first one's size. Where the decoder
    fails, or marks its result as corrupt, comes a Frame without a picture. Pixels that are not square, turned and
    mirrored pictures are told by the format, as the container has them.

    Raises SourceError when the file cannot be opened, holds no video or no frame; DeviceError when NVDEC was asked for
    and cannot decode it; DamagedSourceError after the last good frame when the file ends before its announced end.
    """

    def __init__(self, source: SourceConfig) -> None:
        self._source = source
        self._label = without_passwords(source.path)
        self._first: tuple[str, int, int] | None = None  # format name and size that all frames are brought to
        self._mirrored = False
        self._open()
        self._ahead += self._up_to_the_first()
        if not self._ahead or (head := self._ahead[-1][0]) is None:
            self.close()
            if source.nvdec is not None:
                raise DeviceError(f"{self._label}: NVDEC decodes no frame of it; use decoder: cpu")
            raise SourceError(f"{self._label}: no frame can be decoded; the file is empty or damaged from the start")
        self.format = self._picture(head).format  # of all pictures
        self.info = self._describe(head)

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if not self._ahead or self._source.start_s > 0:  # a second time, or from elsewhere; a camera opens but once
            self.close()
            self._open()  # from the beginning, whether the source can seek or not
            if self._source.start_s > 0 and not self._seek():
                self.close()
                self._open()
        index = 0
        for time_s, frame in self._timed():
            if time_s < self._source.start_s:
                continue
            if self._source.end_s is not None and time_s >= self._source.end_s:
                break
            picture = None if frame is None else self._picture(frame)
            yield Frame(index, time_s, time.monotonic_ns(), time.time_ns(), picture)
            index += 1
        else:
            if index > 0:
                self._check_end()
        if index == 0:
            raise SourceError(self._nothing_there())

    def _open(self) -> None:
        self._container = _open(self._source, self._label)
        self._stream = self._video_stream()
        codec = self._stream.codec_context
        if self._source.nvdec is not None and not codec.is_hwaccel:
            self.close()
            raise DeviceError(f"{self._label}: NVDEC does not decode {codec.name}; use decoder: cpu")
        if self._source.nvdec is None and codec.width * codec.height >= _THREADS_FROM:
            codec.thread_count, codec.thread_type = 0, "AUTO"
        else:
            codec.thread_count, codec.thread_type = 1, "SLICE"
        name = self._container.format.name
        self._still = name.endswith("_pipe") or name == "image2"
        aspect = 0.0 if self._still else float(self._stream.sample_aspect_ratio or 0)  # of a still it is for printers
        self._pixel_aspect = aspect if _ASPECTS[0] <= aspect <= _ASPECTS[1] else 1.0
        self._read()

    def _read(self) -> None:
        """Decode from where the container is now."""
        self._ends_s = dict[int, float]()  # of the last packet that was read of each stream, by its index
        self._broken = ""  # why reading broke off
        self._frames = self._decoded()
        self._ahead: list[tuple[VideoFrame | None, float | None]] = []  # decoded already

    def _seek(self) -> bool:
        """Go to a key frame before `start_s`; whether that succeeded.

        Many containers know decoding times only, or land between key frames: what has come of it must be looked at.
        """
        start_s, base = self._source.start_s, self._stream.time_base
        for early_s in _EARLY_S:
            if early_s >= start_s or not base:
                return False
            try:
                self._container.seek(int((start_s - early_s) / base), stream=self._stream)
            except av.error.FFmpegError:  # it cannot
                return False
            self._read()
            self._ahead += self._up_to_the_first()
            head = self._ahead[-1][0] if self._ahead else None
            if head is not None and head.time is not None and head.time <= start_s:
                return True
        return False

    def _up_to_the_first(self) -> Iterator[tuple[VideoFrame | None, float | None]]:
        """What is decoded until there is a frame."""
        for frame, packet_s in self._frames:
            yield frame, packet_s
            if frame is not None:
                return

    def _video_stream(self) -> VideoStream:
        streams = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            self.close()
            raise SourceError(f"{self._label}: no video in it (found: {kinds}); give a video or an image")
        return streams[0]

    def _timed(self) -> Iterator[tuple[float, VideoFrame | None]]:
        """Frames with seconds in the source's clock; None where one could not be decoded."""
        step = 1 / float(self._stream.average_rate or 25)
        last_s = -step
        ahead, self._ahead = self._ahead, []
        for frame, packet_s in itertools.chain(ahead, self._frames):
            pts = packet_s if frame is None else frame.time
            time_s = 0.0 if self._still else pts if pts is not None else last_s + step
            if frame is None and time_s <= last_s:
                time_s = last_s + step
            last_s = time_s
            yield float(time_s), frame

    def _decoded(self) -> Iterator[tuple[VideoFrame | None, float | None]]:
        """Decoded frames in display order, and the time of a packet in place of each that failed."""
        packets = self._container.demux()  # of all streams: sound, too, tells where a file was cut off
        while True:
            try:
                packet = next(packets, None)
            except av.error.ExitError:
                self._broken = f"nothing came for {self._source.timeout_s:g} s"
                return
            except av.error.FFmpegError as error:
                self._broken = error.strerror or "unknown error"
                return
            if packet is None:
                return
            base = packet.time_base or Fraction(0)
            when = packet.pts if packet.pts is not None else packet.dts
            packet_s = None if when is None else float(when * base)
            if packet_s is not None:
                end_s, index = packet_s + float((packet.duration or 0) * base), packet.stream.index
                self._ends_s[index] = max(self._ends_s.get(index, end_s), end_s)
            if packet.stream is not self._stream:
                continue
            if self._still and self._first is None and packet.size:
                self._mirrored = exif.mirrored(bytes(packet))
            try:
                frames = self._stream.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                yield None, packet_s
                continue
            for frame in frames:
                yield (None, frame.time) if frame.is_corrupt else (frame, None)

    def _nothing_there(self) -> str:
        start_s, end_s = self._source.start_s, self._source.end_s
        if end_s is None:
            return f"{self._label}: no frame at or after {start_s:g} s; choose another --start"
        return (
            f"{self._label}: no frame at or after {start_s:g} s and before {end_s:g} s; choose another --start or --end"
        )

    def _check_end(self) -> None:
        """Raise when the file stopped short of what it announces and of what is wanted of it."""
        if self._broken:
            raise DamagedSourceError(f"{self._label}: cannot be read to its end ({self._broken})")
        wanted_s = self._source.end_s
        end_s = self._ends_s.get(self._stream.index)
        if self._still or end_s is None or (wanted_s is not None and end_s >= wanted_s):
            return
        stream, container = self._stream, self._container
        announced_s = end_s
        if container.format.name == "avi" and stream.average_rate:  # its duration is guessed from the file's size
            announced_s = float(stream.frames / stream.average_rate)
        elif stream.duration is not None and stream.time_base is not None:
            announced_s = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        elif container.duration is not None:  # of the longest stream; Matroska counts it from 0, not from the start
            announced_s = container.duration / av.time_base
            end_s = max(self._ends_s.values())
        if end_s < announced_s - _MISSING_S:
            raise DamagedSourceError(
                f"{self._label}: ends at {end_s:.2f} s of {announced_s:.2f} s: the file is cut off"
            )

    def _picture(self, frame: VideoFrame) -> Picture:
        """The planes, without copying where the format allows."""
        name = frame.format.name
        if self._first is None:
            self._first = (name if name in _PLANAR else _REORDERED.get(name, "yuv444p"), frame.width, frame.height)
            self._mirrored |= _mirrored(frame)
        wanted, width, height = self._first
        from_rgb = name not in _PLANAR and name not in _REORDERED
        if from_rgb:
            frame = frame.reformat(width, height, wanted, dst_colorspace="ITU601", dst_color_range="JPEG")
        elif (name, frame.width, frame.height) != self._first:
            frame = frame.reformat(width, height, wanted)
        shift_x, shift_y, bits = _PLANAR[wanted]
        matrix: ColourMatrix = "bt601" if height <= _SD_HEIGHT else "bt709"
        format = PictureFormat(
            stored_width=width,
            stored_height=height,
            chroma_shift_x=shift_x,
            chroma_shift_y=shift_y,
            bits=bits,
            matrix="bt601" if from_rgb else _MATRICES.get(int(frame.colorspace), matrix),
            full_range=from_rgb or name.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE,
            rotation=_quarter_turns(frame.rotation + (180 if self._mirrored else 0)),  # FFmpeg's is for no mirror
            mirrored=self._mirrored,
            pixel_aspect=self._pixel_aspect,
        )
        y, u, v = (_plane(frame, i, bits) for i in range(3))
        return Picture(format, y, u, v)

    def _describe(self, frame: VideoFrame) -> SourceInfo:
        stream, format = self._stream, self.format
        seconds = None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif self._container.duration is not None:
            seconds = self._container.duration / av.time_base
        return SourceInfo(
            name=Path(self._label).name,
            width=format.width,
            height=format.height,
            codec=stream.codec_context.name + (" (nvdec)" if self._source.nvdec is not None else ""),
            pixel_format=frame.format.name,
            matrix=format.matrix,
            full_range=format.full_range,
            rotation=format.rotation,
            time_base_s=0.0 if self._still else float(stream.time_base or 0),
            nominal_fps=None if self._still or stream.average_rate is None else float(stream.average_rate),
            frames=1 if self._still else stream.frames or None,
            duration_s=None if self._still else seconds,
        )


def copy_picture(picture: Picture, buffer: memoryview) -> None:
    """Write the planes of a picture into a buffer of at least `format.nbytes`, one after another, rows unpadded."""
    for plane, target in zip(picture[1:], view_picture(picture.format, buffer)[1:], strict=True):
        np.copyto(target, plane)


def view_picture(format: PictureFormat, buffer: memoryview) -> Picture:
    """The picture that `copy_picture` wrote into a buffer, without copying."""
    dtype = np.dtype(np.uint8 if format.bits == 8 else np.uint16)
    shapes = ((format.stored_height, format.stored_width), format.chroma_shape, format.chroma_shape)
    planes, start = [], 0
    for rows, columns in shapes:
        planes.append(np.frombuffer(buffer, dtype, rows * columns, start).reshape(rows, columns))
        start += rows * columns * dtype.itemsize
    return Picture(format, *planes)


def paced(decode: Iterable[Frame], source: SourceConfig) -> Iterator[Frame]:
    """The frames as a live source gives them: each when it is due, and again from the beginning where it loops.

    Where the recorder paused for longer than half of `timeout_s`, only that is waited for: whoever waits for frames
    must not take the source for dead.
    """
    index, offset_s, longest_s = 0, 0.0, source.timeout_s / 2
    while True:
        begun, first_s, last_s, step_s = time.monotonic(), None, 0.0, 1 / 25
        for frame in decode:
            if first_s is None:
                first_s = last_s = frame.time_s
            step_s = frame.time_s - last_s or step_s
            last_s = frame.time_s
            if source.realtime:
                begun -= _wait(begun + last_s - first_s, longest_s)
                yield Frame(index, offset_s + last_s, time.monotonic_ns(), time.time_ns(), frame.picture)
            else:
                yield Frame(index, offset_s + last_s, frame.t_capture_ns, frame.t_wall_ns, frame.picture)
            index += 1
        if not source.loop or first_s is None:
            return
        length_s = last_s - first_s + step_s
        if source.realtime:
            _wait(begun + length_s, longest_s)  # the last frame is shown for its time too
        offset_s += length_s


def _wait(until_s: float, longest_s: float) -> float:
    """Sleep until a time of the monotonic clock, but no longer than that; returns the seconds that were left out."""
    left_s = max(until_s - time.monotonic(), 0.0)
    time.sleep(min(left_s, longest_s))
    return max(left_s - longest_s, 0.0)


def _open(source: SourceConfig, label: str) -> av.container.InputContainer:
    path = source.path
    if source.input_format is None and "://" not in path:
        if not Path(path).exists():
            raise SourceError(f"{label}: no such file")
        if Path(path).is_dir():
            raise SourceError(f"{label}: is a folder; give one video or image")
        path = str(Path(path).absolute())  # FFmpeg takes what stands before a colon for a protocol
    hardware = None
    if source.nvdec is not None:
        if "cuda" not in hwdevices_available():
            raise DeviceError(f"{label}: this PyAV was built without NVDEC; use decoder: cpu")
        hardware = HWAccel("cuda", device=str(source.nvdec), allow_software_fallback=False)
    try:
        return av.open(
            path,
            format=source.input_format,
            options=dict(source.options),
            timeout=source.timeout_s,
            hwaccel=hardware,
        )
    except av.error.InvalidDataError as error:
        raise SourceError(f"{label}: is not a video or image, or was cut off before its index was written") from error
    except (av.error.FFmpegError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if hardware is not None:
            raise DeviceError(f"{label}: NVDEC cannot decode it ({reason}); use decoder: cpu") from error
        raise SourceError(f"{label}: cannot be opened: {reason}") from error


def _plane(frame: VideoFrame, i: int, bits: int) -> Plane:
    plane = frame.planes[i]
    samples: Plane = np.frombuffer(memoryview(plane), np.uint8)
    if bits > 8:
        samples = samples.view(np.uint16)
    pitch = plane.line_size // samples.itemsize
    return samples[: plane.height * pitch].reshape(plane.height, pitch)[:, : plane.width]


def _mirrored(frame: VideoFrame) -> bool:
    """Whether the picture is displayed as in a mirror."""
    with contextlib.suppress(ValueError):  # PyAV does not know the EXIF data of photos
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is not None:
            a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
            return bool(a * d < b * c)
    return False


def _quarter_turns(degrees: float) -> Literal[0, 90, 180, 270]:
    turns: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return turns[round(degrees / 90) % 4]  # cameras turn by right angles only
