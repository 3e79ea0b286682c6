"""DISFA (University of Denver, 2013): 27 subjects, one film each, intensities 0-5; an AU is present from 2 on.

`ActionUnit_Labels/SN001/SN001_au1.txt` with lines `frame,intensity` from frame 1, and the left camera's video
`Video_LeftCamera/LeftVideoSN001_comp.avi`, of which frame f is the f-th.
"""

from pathlib import Path

import av.error
import numpy as np

from train.data.corpora.build import Reading
from train.data.corpora.pictures import frame_count
from train.data.corpora.sessions import UNKNOWN, Float32, Int8, Int64, Session, au_numbers, joined, ranges, read_codes

AUS = ("AU01", "AU02", "AU04", "AU06", "AU09", "AU12", "AU25", "AU26")
PRESENT = 2  # intensity
SUBJECTS = tuple(f"SN{i:03d}" for i in (*range(1, 14), 16, 17, 18, 21, *range(23, 33)))
LABELS, VIDEOS = "ActionUnit_Labels", "Video_LeftCamera"


def read(root: Path) -> Reading:
    """DISFA as delivered, of the 12 coded AUs the 8 that the papers use."""
    problems = [
        f"{LABELS}/{folder.name}: not a subject of DISFA"
        for folder in sorted((root / LABELS).glob("*"))
        if folder.is_dir() and folder.name not in SUBJECTS
    ]
    sessions = []
    for subject in SUBJECTS:
        if not (root / LABELS / subject).is_dir():
            problems.append(f"{LABELS}/{subject}: missing")
            continue
        frame, intensity = _coded(root, subject, problems)
        video = f"{VIDEOS}/LeftVideo{subject}_comp.avi"
        if not len(frame):
            continue
        if not (root / video).is_file():
            problems.append(f"{video}: missing")
            continue
        try:
            pictures = frame_count(root / video)
        except (OSError, av.error.FFmpegError, IndexError) as error:
            problems.append(f"{video}: {getattr(error, 'strerror', None) or error}")
            continue
        if pictures and pictures != len(frame):
            problems.append(f"{video}: {pictures} frames, but {len(frame)} are coded")
        paths = [f"{video}#{number - 1}" for number in frame.tolist()]
        sessions.append(Session(subject, "video", frame, paths, present(intensity), intensity, {}))
    return Reading(joined("DISFA", AUS, root, sessions), problems, [])


def present(intensity: Float32) -> Int8:
    """Intensity (n, A), NaN unknown -> occurrence (n, A)."""
    return np.where(np.isnan(intensity), UNKNOWN, intensity >= PRESENT).astype(np.int8)


def _coded(root: Path, subject: str, problems: list[str]) -> tuple[Int64, Float32]:
    """Frames (n,) that any AU file codes, and intensities (n, A), NaN where a file leaves a frame out."""
    coded: list[dict[int, int]] = []
    for number in au_numbers(AUS):
        label = f"{LABELS}/{subject}/{subject}_au{number}.txt"
        if not (root / label).is_file():
            problems.append(f"{label}: missing")
            coded.append({})
            continue
        codes = read_codes(root / label, label, 0, [1], range(6), (), problems, header=False)
        coded.append(dict(zip(codes.frame.tolist(), codes.values[:, 0].tolist(), strict=True)))
    frames = sorted({frame for codes in coded for frame in codes})
    for number, own in zip(au_numbers(AUS), coded, strict=True):
        if own and (lacking := [frame for frame in frames if frame not in own]):
            problems.append(f"{LABELS}/{subject}/{subject}_au{number}.txt: no line for frame {ranges(lacking)}")
    rows = [[own.get(frame, UNKNOWN) for own in coded] for frame in frames]
    values = np.array(rows, np.float32).reshape(len(frames), len(AUS))
    return np.array(frames, np.int64), np.where(values == UNKNOWN, np.nan, values).astype(np.float32)
