"""BP4D-Spontaneous (Binghamton University, 2014): 41 subjects, 8 tasks, 12 AUs, five of them with intensity.

`AUCoding/AU_OCC/F001_T1.csv` (columns found by their header; 9 is unknown), `AUCoding/AU_INT/AU06/F001_T1_AU06.csv`,
pictures `Sequences(2D+3D)/F001/T1/0732.jpg` matched by number, or the video delivery `2F01_01.avi`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.corpora.build import Reading
from train.data.corpora.pictures import VIDEOS
from train.data.corpora.sessions import (
    UNKNOWN,
    Codes,
    Float32,
    Session,
    au_numbers,
    joined,
    numbered,
    ranges,
    read_codes,
)

AUS = ("AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU12", "AU14", "AU15", "AU17", "AU23", "AU24")
PICTURES = (".jpg", ".jpeg", ".png")
_MISSING = 9


class Layout(NamedTuple):
    """What tells BP4D and BP4D+ apart."""

    name: str
    subjects: tuple[str, ...]
    tasks: dict[str, tuple[str, str]]  # task: what the subject did, which emotion that should elicit
    pictures: tuple[str, ...]  # folders that hold SUBJECT/TASK/FRAME.jpg, the first that is there
    videos: dict[str, str]  # video name without suffix: subject_task
    intensities: tuple[str, ...]


TASKS = {
    "T1": ("talk and joke with the experimenter", "happy"),
    "T2": ("watch and discuss a documentary", "sad"),
    "T3": ("sudden burst of sound", "surprise"),
    "T4": ("improvise a silly song", "embarrassment"),
    "T5": ("anticipate a physical threat", "fear"),
    "T6": ("hand in ice water", "physical pain"),
    "T7": ("harsh insults", "anger"),
    "T8": ("unpleasant smell", "disgust"),
}
_CODES = ("01", "03", "07", "08", "09", "10", "11", "13")  # of T1 to T8 in the names of the videos
_SUBJECTS = tuple(f"F{i:03d}" for i in range(1, 24)) + tuple(f"M{i:03d}" for i in range(1, 19))
_LAYOUT = Layout(
    "BP4D",
    _SUBJECTS,
    TASKS,
    ("Sequences(2D+3D)", "2D+3D"),
    {f"2{s[0]}{s[2:]}_{code}": f"{s}_{task}" for s in _SUBJECTS for task, code in zip(TASKS, _CODES, strict=True)},
    ("AU06", "AU10", "AU12", "AU14", "AU17"),
)


def read(root: Path, frame_offset: int = 0) -> Reading:
    """BP4D as delivered. Coded frame f is picture f + `frame_offset`; of a video, frame f + `frame_offset` from 0."""
    return read_layout(root, _LAYOUT, frame_offset)


def read_layout(root: Path, layout: Layout, frame_offset: int) -> Reading:
    """BP4D or BP4D+. Frames of which no AU is known are left out and counted in the notes."""
    problems, notes = list[str](), list[str]()
    coding = root / "AUCoding" / "AU_OCC"
    wanted = {f"{subject}_{task}": (subject, task) for subject in layout.subjects for task in layout.tasks}
    there = {path.stem: path for path in coding.glob("*.csv")}
    problems += [
        f"AUCoding/AU_OCC/{stem}.csv: not a subject and task of {layout.name}" for stem in there.keys() - wanted
    ]
    problems += [f"AUCoding/AU_OCC/{stem}.csv: missing" for stem in wanted if stem not in there]
    videos = _videos(root, layout)
    if layout.intensities and not (root / "AUCoding" / "AU_INT").is_dir():
        notes.append("AUCoding/AU_INT is not there: all intensities are unknown")
    sessions, uncoded = list[Session](), 0
    for stem, (subject, task) in wanted.items():
        if stem not in there:
            continue
        codes = _coded(there[stem], f"AUCoding/AU_OCC/{stem}.csv", problems)
        known = (codes.values != UNKNOWN).any(axis=1)
        uncoded += int((~known).sum())
        codes = Codes(codes.frame[known], codes.values[known])
        paths = _pictures(root, layout, subject, task, videos, codes, frame_offset, problems)
        kept = [i for i, path in enumerate(paths) if path]
        if not kept:
            continue
        activity, emotion = layout.tasks[task]
        sessions.append(
            Session(
                subject,
                task,
                codes.frame[kept],
                [paths[i] for i in kept],
                codes.values[kept].astype(np.int8),
                _intensities(root, layout, stem, codes, problems)[kept],
                {"activity": activity, "target_emotion": emotion},
            )
        )
    if uncoded:
        notes.append(f"{uncoded} coded rows know none of the {len(AUS)} AUs (all 9) and are left out")
    return Reading(joined(layout.name, AUS, root, sessions), sorted(problems), notes)


def _coded(path: Path, label: str, problems: list[str]) -> Codes:
    numbers = au_numbers(AUS)
    try:
        with path.open(encoding="utf-8-sig") as file:
            frame_cell = file.readline().split(",")[0].strip() or "0"
    except (OSError, UnicodeDecodeError):
        frame_cell = "0"  # the fault is named below
    return read_codes(path, label, frame_cell, numbers, (0, 1), (_MISSING,), problems)


def _pictures(
    root: Path,
    layout: Layout,
    subject: str,
    task: str,
    videos: dict[str, str],
    codes: Codes,
    offset: int,
    problems: list[str],
) -> list[str]:
    """(n,) path of each coded frame, "" where there is none; what is missing is named."""
    wanted = (codes.frame + offset).tolist()
    folder = next((name for name in layout.pictures if (root / name / subject / task).is_dir()), None)
    if folder is None:
        video = videos.get(f"{subject}_{task}")
        if video is None:
            problems.append(f"{subject}/{task}: neither pictures in {layout.pictures[0]} nor a video")
            return [""] * len(wanted)
        return [f"{video}#{number}" for number in wanted]
    place = f"{folder}/{subject}/{task}"
    files = numbered(root / place, place, PICTURES, problems)
    if missing := [number for number in wanted if number not in files]:
        problems.append(f"{place}: no picture {ranges(missing)}")
    return [f"{place}/{files[number]}" if number in files else "" for number in wanted]


def _videos(root: Path, layout: Layout) -> dict[str, str]:
    """subject_task: path of its video, of the video delivery. Where there are folders of pictures nobody looks."""
    if any((root / name).is_dir() for name in layout.pictures):
        return {}
    found = (path for path in sorted(root.rglob("*")) if path.suffix.lower() in VIDEOS and path.stem in layout.videos)
    return {layout.videos[path.stem]: path.relative_to(root).as_posix() for path in found}


def _intensities(root: Path, layout: Layout, stem: str, codes: Codes, problems: list[str]) -> Float32:
    """(n, A) NaN where not coded."""
    out = np.full(codes.values.shape, np.nan, np.float32)
    place = {number: i for i, number in enumerate(codes.frame.tolist())}
    for au in layout.intensities if (root / "AUCoding" / "AU_INT").is_dir() else ():
        label = f"AUCoding/AU_INT/{au}/{stem}_{au}.csv"
        if not (root / label).is_file():
            problems.append(f"{label}: missing")
            continue
        with (root / label).open(encoding="utf-8-sig", errors="replace") as file:
            titled = not file.readline().split(",")[0].strip().isdecimal()  # some deliveries have a first row of names
        found = read_codes(root / label, label, 0, [1], range(6), (_MISSING,), problems, header=False, skip=int(titled))
        strangers = [number for number in found.frame.tolist() if number not in place]
        if strangers:
            problems.append(f"{label}: intensity of frames without occurrence codes: {ranges(strangers)}")
        for number, value in zip(found.frame.tolist(), found.values[:, 0].tolist(), strict=True):
            if number in place and value != UNKNOWN:
                out[place[number], AUS.index(au)] = value
    return out
