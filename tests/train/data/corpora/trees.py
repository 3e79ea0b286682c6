"""Small corpora for the tests, in the layouts in which the licensed ones are delivered, of one free photograph."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.rtau.film import picture
from train.data.corpora.index import Corpus

SIZE = (240, 200)
BP4D_AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_AUS = (1, 2, 4, 6, 9, 12, 25, 26)


def face(n: int, size: tuple[int, int] = SIZE, width: float = 80) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a face in the middle, a little elsewhere in every picture."""
    return picture(size, [(size[0] / 2 + n % 3, size[1] / 2, width, 0)])


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])


def write_text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """Motion JPEG, as many frames as given, each exactly itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = i, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def made_up(people: int, frames: int, aus: int = 3, name: str = "made-up") -> Corpus:
    """A corpus without pictures: `frames` of each subject, labels by chance."""
    rng, count = np.random.default_rng(0), people * frames
    occurrence = (rng.random((count, aus)) < np.linspace(0.05, 0.5, aus)).astype(np.int8)
    who = np.repeat(np.arange(people), frames)
    return Corpus(
        name=name,
        aus=tuple(f"AU{a + 1:02d}" for a in range(aus)),
        paths=[f"{w}/{i}.jpg" for w, i in zip(who.tolist(), list(range(frames)) * people, strict=True)],
        root=Path("nowhere"),
        subject=np.array([f"{name}:{w}" for w in who.tolist()]),
        session=np.full(count, "s"),
        frame=np.tile(np.arange(frames), people).astype(np.int64),
        occurrence=occurrence,
        intensity=np.where(occurrence == 1, 3.0, np.nan).astype(np.float32),
        text={"activity": np.array([("talk", "sing")[i % 2] for i in range(count)])},
    )


def bp4d(root: Path, subjects: Sequence[str] = ("F001", "F003", "F004"), tasks: Sequence[str] = ("T1", "T2")) -> None:
    """Dense columns 0-27, four rows from frame 7 (the last all unknown), AU06 alternating; pictures padded to four."""
    for subject in subjects:
        for task in tasks:
            rows = [",".join(str(n) for n in range(28))]
            for i, frame in enumerate((7, 8, 9, 10)):
                codes = [0 if i % 2 else int(n == 6) for n in range(1, 28)] if i < 3 else [9] * 27
                rows.append(",".join(str(n) for n in (frame, *codes)))
                write_picture(root / "Sequences(2D+3D)" / subject / task / f"{frame:04d}.jpg", face(frame))
            write_text(root / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv", rows)


def disfa(root: Path, subjects: Sequence[str] = ("SN001", "SN003", "SN006"), frames: int = 4) -> None:
    """AU12 rises by one a frame from 0; all others are absent."""
    for subject in subjects:
        for au in (*DISFA_AUS, 5, 15, 17, 20):
            lines = [f"{t + 1},{t if au == 12 else 0}" for t in range(frames)]
            write_text(root / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt", lines)
        write_video(root / "Video_LeftCamera" / f"LeftVideo{subject}_comp.avi", [face(t) for t in range(frames)])
