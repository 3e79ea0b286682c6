"""Short clips of a real face for the pipeline's tests: the astronaut photograph that ships with scikit-image."""

import io
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Place = Callable[[float], tuple[float, float, float, float]]  # seconds -> face's x, y, width, roll in degrees

_FACE = (225.0, 115.0, 95.0)  # centre and width of the face in the photograph


@cache
def photograph() -> NDArray[np.uint8]:
    """(512, 512, 3) RGB."""
    from skimage import data

    return np.asarray(data.astronaut())


def picture(size: tuple[int, int], places: list[tuple[float, float, float, float]]) -> NDArray[np.uint8]:
    """Faces on grey, each in an ellipse of its surroundings; later ones in front. Positive roll tilts to image left."""
    canvas = np.full((size[1], size[0], 3), 110, np.uint8)
    for x, y, width, roll in places:
        turn = cv2.getRotationMatrix2D(_FACE[:2], roll, width / _FACE[2])
        turn[:, 2] += np.array([x, y]) - _FACE[:2]
        face = cv2.warpAffine(photograph(), turn, size, flags=cv2.INTER_AREA)
        mask = np.zeros(canvas.shape[:2], np.uint8)
        axes = (round(width * 1.0), round(width * 1.15))
        cv2.ellipse(mask, (round(x), round(y)), axes, -roll, 0, 360, 255, -1)
        canvas[mask > 0] = face[mask > 0]
    return canvas


def write(path: Path, frames: list[NDArray[np.uint8]], times_s: list[float]) -> Path:
    """H.264 with these very timestamps."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "preset": "ultrafast"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for rgb, time_s in zip(frames, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def face_clip(path: Path, places: list[Place], seconds: float = 1.0, size: tuple[int, int] = (480, 360)) -> Path:
    """Faces that move at 30 frames/s."""
    times = [i / 30 for i in range(round(seconds * 30))]
    return write(path, [picture(size, [place(t) for place in places]) for t in times], times)


def as_mpegts(clip: Path, times: int = 1) -> bytes:
    """A clip, so often in a row, as a stream that can be cut anywhere."""
    out = io.BytesIO()
    with av.open(str(clip)) as source, av.open(out, "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        length = max(packet.pts for packet in packets) + packets[0].duration
        first = [(packet.pts, packet.dts, packet.time_base) for packet in packets]
        for turn in range(times):
            for packet, (pts, dts, base) in zip(packets, first, strict=True):
                packet.time_base = base  # muxing changes all three
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()
