"""Pictures as corpora deliver them: files, frames of a video, members of a tar, rows of FER2013's table.

A path names one picture: `F001/T1/0732.jpg`, or a container and what is wanted of it: `LeftVideoSN001_comp.avi#17` (the
frame, from 0, as decoded), `00003.tar#000096_0000.jpg`, `fer2013.csv#17` (the row, from 0, header not counted).
"""

import csv
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from rtau.structures import Picture, PictureFormat
from train.data.photos import read_rgb

UInt8 = NDArray[np.uint8]
Read = UInt8 | str  # (H, W, 3) RGB, or why there is none

VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".flv", ".webm", ".wmv")
_FER_SIDE = 48


def read_pictures(root: Path, paths: list[str]) -> Iterator[tuple[str, Read]]:
    """Every path once with its picture, or with the reason. A run of one container's pictures reads it once.

    Inside such a run the order is the container's, not that of `paths`.
    """
    for container, run in itertools.groupby(paths, lambda path: path.partition("#")[0]):
        wanted, file = list(run), root / container
        if "#" not in wanted[0]:
            yield from ((path, _file(root / path)) for path in wanted)
            continue
        members = {path.partition("#")[2]: path for path in wanted}
        try:
            for member, picture in _READERS[_kind(file)](file, set(members)):
                yield members.pop(member), picture
        except (OSError, tarfile.TarError, av.error.FFmpegError, csv.Error) as error:
            reason = f"{container}: {getattr(error, 'strerror', None) or error}"
            yield from ((path, reason) for path in members.values())
        else:
            yield from ((path, f"not in {container}") for path in members.values())


def frame_count(video: Path) -> int:
    """Frames that the container announces; 0 where it does not. Raises OSError, FFmpegError, IndexError (no video)."""
    with av.open(str(video)) as container:
        return container.streams.video[0].frames


def as_picture(rgb: UInt8) -> Picture:
    """An RGB picture (H, W, 3) as the pipeline takes it: full-range BT.601, 4:4:4."""
    y, v, u = (np.ascontiguousarray(plane) for plane in cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)))
    height, width = rgb.shape[:2]
    format = PictureFormat(width, height, 0, 0, 8, "bt601", full_range=True)
    return Picture(format, *(plane.astype(np.uint8, copy=False) for plane in (y, u, v)))


def _kind(file: Path) -> str:
    return "video" if file.suffix.lower() in VIDEOS else file.suffix.lower()


def _file(path: Path) -> Read:
    try:
        return read_rgb(path.read_bytes(), path.name)
    except OSError as error:
        return error.strerror or "cannot be read"
    except (ValueError, cv2.error):
        return "not a readable picture"


def _video(file: Path, members: set[str]) -> Iterator[tuple[str, Read]]:
    last = max(int(member) for member in members)
    with av.open(str(file)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if str(number) in members:
                yield str(number), frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            if number == last:
                return


def _tar(file: Path, members: set[str]) -> Iterator[tuple[str, Read]]:
    with tarfile.open(file) as archive:
        for member in archive:
            held = archive.extractfile(member) if member.name in members else None
            if held is not None:
                try:
                    yield member.name, read_rgb(held.read(), member.name)
                except ValueError:
                    yield member.name, "not a readable picture"


def _fer(file: Path, members: set[str]) -> Iterator[tuple[str, Read]]:
    with file.open(newline="", encoding="utf-8") as text:
        for number, row in enumerate(csv.DictReader(text)):
            if str(number) in members:
                values = np.array((row.get("pixels") or "").split(), dtype=np.int64)
                if len(values) != _FER_SIDE**2 or values.min() < 0 or values.max() > 255:
                    yield str(number), f"expected {_FER_SIDE**2} pixels of 0-255, got {len(values)}"
                    continue
                grey = values.astype(np.uint8).reshape(_FER_SIDE, _FER_SIDE, 1)
                yield str(number), np.repeat(grey, 3, axis=2)


_READERS = {"video": _video, ".tar": _tar, ".csv": _fer}
