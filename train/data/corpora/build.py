"""From a corpus as delivered to aligned pictures and an index, on all cores; goes on where it was stopped."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from rtau.align import apply, invert
from rtau.boxes import bounds
from rtau.config import PipelineConfig
from rtau.faces import Faces
from rtau.models import load_artifact
from rtau.structures import Frame
from train.data.corpora.align import RECIPE, SIDE, STABLE_POINTS, WHOLE, aligned, face_transform
from train.data.corpora.index import Corpus, absent, write_index
from train.data.corpora.pictures import as_picture, read_pictures

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
# Where landmarks come from: rtau, or `points`. `whole`: the picture is the face. `kept`: it is aligned and stays there.
Cut = Literal["found", "given", "whole", "kept"]
Work = TypeVar("Work")

PICTURES, DONE = "pictures", "done"  # folders beside the index
_FPS = 25.0  # of session time, for the tracker only
_STILLS = 500  # pictures a unit of work, where they do not follow each other
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


class Reading(NamedTuple):
    """What a corpus holds as delivered. The corpus's paths are the original pictures (see pictures.py)."""

    corpus: Corpus
    problems: list[str]  # missing, extra, corrupt: each by name
    notes: list[str]  # worth knowing, nothing wrong
    cut: Cut = "found"
    follows: bool = True  # frames of a session follow each other, so that a face can be tracked
    points: dict[str, Float32] | None = None  # of `given`: landmarks (P, 2) in pixels of the picture of each path


class Unit(NamedTuple):
    """A piece of work: one session, or some stills."""

    root: Path
    out: Path
    sources: list[str]
    targets: list[str]
    frames: list[int]
    cut: Cut
    follows: bool
    points: list[Float32 | None]
    record: Path  # where its result is kept; another name when recipe, sources or given landmarks change

    @property
    def folder(self) -> Path:
        """Where the targets are."""
        return self.root if self.cut == "kept" else self.out / PICTURES


class Record(msgspec.Struct, frozen=True):
    """Result of a unit."""

    lost: dict[str, str]  # target: why there is no picture
    template: list[list[float]]  # sums of the places (x, y) of STABLE_POINTS in the pictures
    faces: int  # that went into the sums


def build(reading: Reading, out: Path, workers: int, progress: Callable[[int, int], None]) -> tuple[Corpus, list[str]]:
    """Cut out all faces that are not there yet; `progress(frames done, frames)`.

    Returns the corpus of aligned pictures, of those frames that gave one, and the others by name with the reason.
    """
    (out / DONE).mkdir(parents=True, exist_ok=True)
    corpus, units = reading.corpus, list(_units(reading, out))
    targets = [target for unit in units for target in unit.targets]
    missing = [unit for unit in units if _result(unit) is None]
    done = len(targets) - sum(len(unit.sources) for unit in missing)
    progress(done, len(targets))
    for count in over_processes(_cut_unit, missing, workers):
        done += count
        progress(done, len(targets))
    lost: dict[str, str] = {}
    for unit in units:
        record = _result(unit)
        assert record is not None, "a unit that was cut has a record"
        lost |= record.lost
    source = dict(zip(targets, corpus.paths, strict=True))
    kept = np.array([i for i, target in enumerate(targets) if target not in lost], dtype=np.int64)
    problems = [f"{source[target]}: {reason}" for target, reason in lost.items()]
    return chosen(corpus._replace(paths=targets, root=units[0].folder), kept), problems


def over_processes(work: Callable[[Work], int], units: list[Work], workers: int) -> Iterator[int]:
    """The results of `work` as they come, on up to `workers` processes; with one, in this process."""
    if workers == 1 or len(units) < 2:
        yield from map(work, units)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(units)), _prepare) as pool:
        yield from pool.imap_unordered(work, units)


def finish(reading: Reading, corpus: Corpus, out: Path) -> None:
    """Write the index of what `build` gave."""
    template: tuple[tuple[int, float, float], ...] = ()
    records = [_result(unit) for unit in _units(reading, out)]
    faces = sum(record.faces for record in records if record is not None)
    if faces:
        sums = sum(np.array(record.template) for record in records if record is not None and record.faces)
        places = np.round(np.asarray(sums) / faces, 3).tolist()
        template = tuple((i, x, y) for i, (x, y) in zip(STABLE_POINTS, places, strict=True))
    write_index(corpus, out, recipe(reading.cut), template)


def recipe(cut: Cut) -> str:
    """How faces are cut, in words."""
    if cut == "found":
        return f"{RECIPE}, landmarks found by {load_artifact(PipelineConfig().faces.landmarks, 'landmarks').label}"
    return {"given": f"{RECIPE}, landmarks given", "whole": WHOLE, "kept": "as delivered"}[cut]


def chosen(corpus: Corpus, rows: NDArray[np.int64]) -> Corpus:
    """Some frames of a corpus."""
    return corpus._replace(
        paths=[corpus.paths[i] for i in rows],
        subject=corpus.subject[rows],
        session=corpus.session[rows],
        frame=corpus.frame[rows],
        occurrence=corpus.occurrence[rows],
        intensity=corpus.intensity[rows],
        text={name: column[rows] for name, column in corpus.text.items()},
    )


def target_paths(corpus: Corpus) -> list[str]:
    """Where the aligned pictures go: `subject/session/frame.jpg`, subjects without the corpus's name."""
    columns = (corpus.subject.tolist(), corpus.session.tolist(), corpus.frame.tolist())
    paths = []
    for who, session, frame in zip(*columns, strict=True):
        person, own = who.partition(":")[2], f"{session}/{frame:06d}"
        paths.append(f"{own}.jpg" if person == own else f"{person}/{own}.jpg")  # the former: see `unknown_people`
    return paths


def unknown_people(name: str, session: list[str], frame: list[int]) -> NDArray[np.str_]:
    """Subjects of a corpus that does not tell them: every picture is somebody else."""
    return np.array([f"{name}:{where}/{number:06d}" for where, number in zip(session, frame, strict=True)])


def save(picture: UInt8, path: Path) -> None:
    """Write an aligned picture (SIDE, SIDE, 3) RGB; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", picture[..., ::-1], _QUALITY)[1].tobytes())


def _units(reading: Reading, out: Path) -> Iterator[Unit]:
    corpus, rows = reading.corpus, list[int]()
    targets = corpus.paths if reading.cut == "kept" else target_paths(corpus)
    how = recipe(reading.cut)
    places = list(zip(corpus.subject.tolist(), corpus.session.tolist(), strict=True))

    def unit() -> Unit:
        sources, own = [corpus.paths[i] for i in rows], [targets[i] for i in rows]
        points = [(reading.points or {}).get(source) for source in sources] if reading.cut == "given" else []
        stamps = [_stamp(corpus.root / name) for name in dict.fromkeys(s.partition("#")[0] for s in sources)]
        placed = [str(p is None or p.sum()) for p in points]
        key = hashlib.sha256("\0".join([how, *sources, *own, *stamps, *placed]).encode()).hexdigest()[:24]
        record = out / DONE / f"{key}.json"
        frames = corpus.frame[rows].tolist()
        return Unit(corpus.root, out, sources, own, frames, reading.cut, reading.follows, points, record)

    for i in range(len(targets)):
        if rows and (places[i] != places[rows[0]] if reading.follows else len(rows) == _STILLS):
            yield unit()
            rows = []
        rows.append(i)
    if rows:
        yield unit()


def _stamp(file: Path) -> str:
    """Changes when a file does."""
    try:
        found = file.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def _result(unit: Unit) -> Record | None:
    """The kept result of a unit, while all its pictures are there."""
    if not unit.record.exists():
        return None
    record = msgspec.json.decode(unit.record.read_bytes(), type=Record)
    return None if absent(unit.folder, [t for t in unit.targets if t not in record.lost]) else record


def _prepare() -> None:
    cv2.setNumThreads(1)


_FACES: list[Faces] = []  # of this process, loaded when the first unit needs it


def _cut_unit(unit: Unit) -> int:
    """Cut one unit and write its record; returns its number of frames."""
    if unit.cut == "found":
        if not _FACES:
            _FACES.append(Faces(PipelineConfig()))
        _FACES[0].restart()
    place = {source: i for i, source in enumerate(unit.sources)}
    lost: dict[str, str] = {}
    sums, faces = np.zeros((len(STABLE_POINTS), 2)), 0
    for source, picture in read_pictures(unit.root, unit.sources):
        i = place[source]
        if isinstance(picture, str):
            lost[unit.targets[i]] = picture
            continue
        if unit.cut == "kept":
            if picture.shape != (SIDE, SIDE, 3):
                height, width = picture.shape[:2]
                lost[unit.targets[i]] = f"expected {SIDE} x {SIDE} pixels, got {width} x {height}"
            continue
        if unit.cut == "whole":
            how = cv2.INTER_AREA if min(picture.shape[:2]) > SIDE else cv2.INTER_CUBIC
            save(cv2.resize(picture, (SIDE, SIDE), interpolation=how).astype(np.uint8, copy=False), _target(unit, i))
            continue
        landmarks = unit.points[i] if unit.cut == "given" else _found(picture, unit, i)
        if landmarks is None:
            lost[unit.targets[i]] = "no landmarks are given" if unit.cut == "given" else "no face found"
            continue
        try:
            transform = face_transform(landmarks)
        except ValueError as error:
            lost[unit.targets[i]] = str(error)
            continue
        save(aligned(picture, transform), _target(unit, i))
        if len(landmarks) == 478:
            sums += apply(invert(transform), landmarks[list(STABLE_POINTS), :2])
            faces += 1
    record = msgspec.json.encode(Record(lost, sums.tolist(), faces))
    unit.record.with_suffix(".tmp").write_bytes(record)
    unit.record.with_suffix(".tmp").replace(unit.record)
    return len(unit.sources)


def _target(unit: Unit, i: int) -> Path:
    return unit.folder / unit.targets[i]


def _found(picture: UInt8, unit: Unit, i: int) -> Float32 | None:
    """Landmarks (478, 3) of the largest face that rtau sees."""
    if not unit.follows:
        _FACES[0].restart()
    seen = _FACES[0](Frame(i, unit.frames[i] / _FPS, 0, 0, as_picture(picture)))
    if not len(seen.track_ids):
        return None
    boxes = bounds(seen.landmarks)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(seen.landmarks[int(areas.argmax())], dtype=np.float32)
