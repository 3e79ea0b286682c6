"""Make a short clip of a real face: the public-domain astronaut photograph that ships with scikit-image.

`python tools/make_demo_clip.py OUT.mp4` moves, turns, scales and dims it over time; 1280x720, 30 frames/s, H.264.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import click
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIZE = (1280, 720)
FPS = 30
FACE = (225.0, 115.0)  # centre of the face in the photograph
FACE_WIDTH = 95.0


def astronaut() -> Image:
    """(512, 512, 3) RGB: Eileen Collins, NASA, public domain."""
    from skimage import data

    return np.asarray(data.astronaut())  # type: ignore[no-untyped-call]


def place(photo: Image, canvas: Image, x: float, y: float, width: float, turn_deg: float) -> None:
    """Put the photograph on the canvas (H, W, 3), its face `width` pixels wide about (x, y), turned clockwise."""
    size = canvas.shape[1::-1]
    transform = np.array(cv2.getRotationMatrix2D(FACE, -turn_deg, width / FACE_WIDTH), np.float64)
    transform[:, 2] += np.array([x, y]) - FACE
    seen = cv2.warpAffine(photo, transform, size, flags=cv2.INTER_AREA)
    inside = cv2.warpAffine(np.full(photo.shape[:2], 255, np.uint8), transform, size) > 127
    canvas[inside] = seen[inside]


def moving_face(photo: Image, time_s: float) -> Image:
    """The picture (720, 1280, 3) at a time."""
    beat = 2 * math.pi * time_s
    canvas = np.full((SIZE[1], SIZE[0], 3), 96, np.uint8)
    x = SIZE[0] * (0.5 + 0.22 * math.sin(beat / 7))
    y = SIZE[1] * (0.45 + 0.08 * math.sin(beat / 5))
    place(photo, canvas, x, y, 200 + 60 * math.sin(beat / 9), 20 * math.sin(beat / 4))
    light = 0.75 + 0.25 * math.cos(beat / 6)
    return cv2.convertScaleAbs(canvas, alpha=light).astype(np.uint8, copy=False)


def write_clip(path: Path, frames: Iterable[Image], fps: int = FPS) -> None:
    """Frames of SIZE as H.264 at a constant rate; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True)
def main(out: Path, seconds: float) -> None:
    """Write the clip to OUT."""
    photo = astronaut()
    write_clip(out, (moving_face(photo, i / FPS) for i in range(round(seconds * FPS))))
    click.echo(f"wrote {out}: {seconds:g} s of the astronaut photograph, moved, turned, scaled and dimmed")


if __name__ == "__main__":
    main()
