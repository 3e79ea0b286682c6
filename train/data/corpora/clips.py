"""Unlabelled video for CLP: any folder of videos, followed by rtau itself, or frames already cut into tracks.

A track is one face followed without its id changing. `windows` are the clips of consecutive frames inside tracks.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtau.config import PipelineConfig, SourceConfig
from rtau.crop import crop
from rtau.decode import Decode
from rtau.errors import DamagedSourceError, SourceError
from rtau.faces import Faces
from train.data.corpora.align import SIDE, face_transform
from train.data.corpora.build import DONE, PICTURES, Reading, over_processes, recipe, save
from train.data.corpora.index import Corpus, CorpusError, absent
from train.data.corpora.pictures import VIDEOS
from train.data.corpora.samplers import Plan, subject_balanced
from train.data.corpora.sessions import Session, joined, numbered

NAME = "clips"
SHORTEST = 8  # frames of a track that is kept: one clip of CLP
_SUFFIXES = (".jpg", ".jpeg", ".png")


class _Video(NamedTuple):
    root: Path
    out: Path
    path: str  # relative to root
    shortest: int

    @property
    def place(self) -> str:
        """Folder of its tracks, below the pictures."""
        return self.path.replace(".", "_")

    @property
    def record(self) -> Path:
        file = (self.root / self.path).stat()
        key = f"{recipe('found')}\0{self.path}\0{file.st_size}\0{file.st_mtime_ns}\0{self.shortest}"
        return self.out / DONE / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


class _Tracked(msgspec.Struct, frozen=True):
    tracks: dict[str, list[int]]  # track id: its frames
    short: int  # tracks that were left out
    problem: str


def track(
    root: Path, out: Path, workers: int, progress: Callable[[int, int], None], shortest: int = SHORTEST
) -> tuple[Reading, Corpus]:
    """Follow the faces of every video below `root`; goes on where it was stopped. `progress(videos done, videos)`.

    A subject is the folder right below `root` that a video lies in (an identity); of videos in `root` itself every
    track is one. Returns what was found wrong, and the corpus of tracks with at least `shortest` frames.
    Raises CorpusError when there is no video, or no such track.
    """
    (out / DONE).mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEOS and path.is_file())
    videos = [_Video(root, out, path.relative_to(root).as_posix(), shortest) for path in paths]
    if not videos:
        raise CorpusError(f"{root}: no video in it ({', '.join(VIDEOS)})")
    missing = [video for video in videos if _result(video) is None]
    progress(len(videos) - len(missing), len(videos))
    for done, _ in enumerate(over_processes(_follow, missing, workers), 1):
        progress(len(videos) - len(missing) + done, len(videos))
    problems, notes, sessions, short = list[str](), list[str](), list[Session](), 0
    for video in videos:
        record = _result(video)
        assert record is not None, "a video that was followed has a record"
        short += record.short
        if record.problem:
            problems.append(f"{video.path}: {record.problem}")
        elif not record.tracks:
            notes.append(f"{video.path}: no face followed for {shortest} frames")
        for name, frames in record.tracks.items():
            session = f"{video.place}/{name}"
            who = video.path.split("/")[0] if "/" in video.path else session
            sessions.append(_session(who, session, frames, _files(video, name, frames)))
    corpus = joined(NAME, (), out / PICTURES, sessions)
    notes.append(f"{short} tracks of fewer than {shortest} frames are left out")
    return Reading(corpus, problems, notes), corpus


def read(root: Path, shortest: int = SHORTEST) -> Reading:
    """Frames that are cut into tracks: `IDENTITY/VIDEO/TRACK/FRAME.jpg`, in the order of their numbers."""
    problems, sessions, short = list[str](), list[Session](), 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        place = Path(folder).relative_to(root).as_posix()
        if not any(name.lower().endswith(_SUFFIXES) for name in names):
            continue
        if place.count("/") != 2:
            problems.append(f"{place}: pictures, but not in IDENTITY/VIDEO/TRACK")
            continue
        files = numbered(Path(folder), place, _SUFFIXES, problems)
        if len(files) < shortest:
            short += 1
            continue
        who, session = place.split("/", 1)
        frames = sorted(files)
        sessions.append(_session(who, session, frames, [f"{place}/{files[number]}" for number in frames]))
    notes = [f"{short} tracks of fewer than {shortest} frames are left out"]
    return Reading(joined(NAME, (), root, sessions), problems, notes)


def windows(corpus: Corpus, rows: NDArray[np.int64], length: int = 8, stride: int = 2) -> NDArray[np.int64]:
    """All clips of `length` frames that are exactly `stride` apart, inside the given rows: (W, length) rows."""
    place = {
        key: int(row)
        for key, row in zip(
            zip(corpus.subject[rows].tolist(), corpus.session[rows].tolist(), corpus.frame[rows].tolist(), strict=True),
            rows,
            strict=True,
        )
    }
    found = []
    for who, session, first in sorted(place):
        clip = [place.get((who, session, first + k * stride)) for k in range(length)]
        if None not in clip:
            found.append(clip)
    return np.array(found, dtype=np.int64).reshape(len(found), length)


def clips_of_tracks(corpus: Corpus, clips: NDArray[np.int64], size: int) -> Plan:
    """Batches of (B, T) rows, subjects equally often. An epoch is one random clip of every track: one pass over the
    list of videos, as CLP counts; where there are fewer tracks than a batch has clips, several of each.

    Raises ValueError when there is no clip.
    """
    if not len(clips):
        raise ValueError("no track is long enough for a clip")
    first = clips[:, 0]
    track = corpus.sequence()[first]
    order = np.argsort(track, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(track[order])) + 1)
    each = -(-size // len(own))

    def plan(rng: Generator) -> list[NDArray[np.int64]]:
        chosen = np.concatenate([rng.choice(some, each) for some in own])
        planned = subject_balanced(np.arange(len(chosen)), size, corpus.subject[first[chosen]])(rng)
        return [clips[chosen[batch]] for batch in planned]

    return plan


def _session(who: str, session: str, frames: list[int], paths: list[str]) -> Session:
    nothing = np.zeros((len(frames), 0))
    return Session(
        who, session, np.array(frames, np.int64), paths, nothing.astype(np.int8), nothing.astype(np.float32), {}
    )


def _files(video: _Video, track: str, frames: list[int]) -> list[str]:
    return [f"{video.place}/{track}/{number:06d}.jpg" for number in frames]


def _result(video: _Video) -> _Tracked | None:
    """The kept result of a video, while all its pictures are there."""
    if not video.record.exists():
        return None
    record = msgspec.json.decode(video.record.read_bytes(), type=_Tracked)
    wanted = [path for name, frames in record.tracks.items() for path in _files(video, name, frames)]
    return None if absent(video.out / PICTURES, wanted) else record


def _follow(video: _Video) -> int:
    """Track one video and write its pictures and record; returns its number of tracks."""
    folder, problem = video.out / PICTURES / video.place, ""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    tracks: dict[int, list[int]] = {}
    faces = Faces(PipelineConfig())
    try:
        with Decode(SourceConfig(path=str(video.root / video.path))) as frames:
            for frame in frames:
                seen = faces(frame)
                if frame.picture is None or not len(seen.track_ids):
                    continue
                transforms = np.stack([face_transform(landmarks) for landmarks in seen.landmarks])
                cut = crop(frame.picture, transforms, (SIDE, SIDE), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
                pictures = (np.clip(cut, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
                for name, picture in zip(seen.track_ids.tolist(), pictures, strict=True):
                    save(picture, folder / str(name) / f"{frame.index:06d}.jpg")
                    tracks.setdefault(name, []).append(frame.index)
    except (SourceError, DamagedSourceError) as error:
        problem = str(error)
    kept = {str(name): frames for name, frames in tracks.items() if len(frames) >= video.shortest}
    for name in tracks:
        if str(name) not in kept:
            shutil.rmtree(folder / str(name))
    record = msgspec.json.encode(_Tracked(kept, len(tracks) - len(kept), problem))
    video.record.with_suffix(".tmp").write_bytes(record)
    video.record.with_suffix(".tmp").replace(video.record)
    return len(kept)
