"""A corpus on disk as training sees it: aligned pictures and one table of subjects, sessions, frames and labels.

`python -m tools.index_corpus` makes an index; a run reads it and asks for its folds. `index.parquet` has one row a
frame: `path`, `subject`, `session`, `frame`, `AU01` (1, 0, -1 unknown) and `AU01_intensity` (0-5, null unknown) for
every AU, and the text columns of the corpus. `index.yaml` says what made it.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtau.errors import RtauError
from train.data.corpora.protocols import PROTOCOLS

Text = NDArray[np.str_]

VERSION = 1  # of the index: raised when an older one cannot be read any more
PART = "part"  # text column of the corpora that come with a partition of their own: train, test or validation
_NAMED = 5  # that many culprits are named in an error


class CorpusError(RtauError):
    """A corpus or its index is missing, incomplete or not what its header says."""


class Corpus(NamedTuple):
    """F frames of one corpus. Subjects carry the name of the people's corpus (`BP4D:F001`): BP4D+ reuses its ids."""

    name: str
    aus: tuple[str, ...]  # A columns like "AU01", in the order of the corpus; none for expression corpora
    paths: list[str]  # (F,) pictures, relative to root
    root: Path
    subject: Text  # (F,)
    session: Text  # (F,) task, clip or trial; frames are compared in time inside (subject, session) only
    frame: NDArray[np.int64]  # (F,) number in the corpus's own count
    occurrence: NDArray[np.int8]  # (F, A) 1, 0, or -1 unknown
    intensity: NDArray[np.float32]  # (F, A) 0-5, NaN unknown
    text: dict[str, Text]  # further columns (F,), such as activity, expression, part; "" unknown

    def sequence(self) -> NDArray[np.int64]:
        """(F,) number of each frame's (subject, session), in their alphabetical order."""
        names = np.char.add(np.char.add(self.subject, "/"), self.session)
        return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an index says of itself."""

    version: int
    name: str
    frames: int
    subjects: int
    aus: tuple[str, ...]
    text: tuple[str, ...]  # names of the text columns
    root: str  # of the pictures: relative to the index, or absolute where they lie elsewhere
    sha256: str  # of index.parquet
    alignment: str = ""  # how faces were cut out
    template: tuple[tuple[int, float, float], ...] = ()  # mean places of landmarks (index, x, y) in the pictures


class Fold(NamedTuple):
    """Rows of a corpus."""

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def write_index(
    corpus: Corpus,
    folder: Path,
    alignment: str = "",
    template: tuple[tuple[int, float, float], ...] = (),
) -> None:
    """Write `index.parquet` and then `index.yaml`. Raises ValueError where columns do not fit together."""
    _check_shapes(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, object] = {
        "path": corpus.paths,
        "subject": corpus.subject.tolist(),
        "session": corpus.session.tolist(),
        "frame": corpus.frame,
    }
    for a, au in enumerate(corpus.aus):
        columns[au] = corpus.occurrence[:, a]
        columns[f"{au}_intensity"] = pa.array(corpus.intensity[:, a], from_pandas=True)
    columns |= {name: column.tolist() for name, column in corpus.text.items()}
    table = folder / "index.parquet"
    pq.write_table(pa.table(columns), table.with_suffix(".tmp"))
    table.with_suffix(".tmp").replace(table)
    root, here = corpus.root.resolve(), folder.resolve()
    header = Header(
        version=VERSION,
        name=corpus.name,
        frames=len(corpus.paths),
        subjects=len(np.unique(corpus.subject)),
        aus=corpus.aus,
        text=tuple(corpus.text),
        root=root.relative_to(here).as_posix() if root.is_relative_to(here) else root.as_posix(),
        sha256=_sha256(table),
        alignment=alignment,
        template=template,
    )
    (folder / "index.tmp").write_bytes(msgspec.yaml.encode(header))
    (folder / "index.tmp").replace(folder / "index.yaml")


def read_header(folder: Path) -> Header:
    """The checked header of an index. Raises CorpusError when there is none or it is of another version."""
    path = folder / "index.yaml"
    try:
        raw = msgspec.yaml.decode(path.read_bytes())
    except OSError as error:
        raise CorpusError(
            f"{path}: no index ({error.strerror}); make it with `python -m tools.index_corpus`"
        ) from error
    except msgspec.DecodeError as error:
        raise CorpusError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    version = raw.get("version") if isinstance(raw, dict) else None
    if version != VERSION:
        raise CorpusError(f"{path}: index of version {version}, expected {VERSION}; index the corpus again")
    try:
        return msgspec.convert(raw, Header)
    except msgspec.ValidationError as error:
        raise CorpusError(f"{path}: {error}") from error


def read_index(folder: Path) -> Corpus:
    """The corpus of an index. Raises CorpusError when files are missing, changed or do not fit the header."""
    header, path = read_header(folder), folder / "index.parquet"
    if not path.is_file():
        raise CorpusError(f"{path}: missing; index the corpus again")
    if _sha256(path) != header.sha256:
        raise CorpusError(f"{path}: changed since {folder / 'index.yaml'} was written; index the corpus again")
    table = pq.read_table(path)

    def text(name: str) -> Text:
        return np.array(table[name].to_pylist(), dtype=np.str_)

    def matrix(names: list[str], dtype: type[np.generic]) -> NDArray[np.generic]:
        arrays = [table[name].to_numpy().astype(dtype) for name in names]
        return np.stack(arrays, axis=1) if arrays else np.zeros((table.num_rows, 0), dtype)

    root = folder / header.root  # an absolute root stands for itself
    corpus = Corpus(
        name=header.name,
        aus=header.aus,
        paths=table["path"].to_pylist(),
        root=root,
        subject=text("subject"),
        session=text("session"),
        frame=table["frame"].to_numpy().astype(np.int64),
        occurrence=matrix([*header.aus], np.int8).astype(np.int8, copy=False),
        intensity=matrix([f"{au}_intensity" for au in header.aus], np.float32).astype(np.float32, copy=False),
        text={name: text(name) for name in header.text},
    )
    missing = absent(root, corpus.paths)
    if missing:
        raise CorpusError(f"{root}: {len(missing)} of {len(corpus.paths)} pictures are missing: {named(missing)}")
    return corpus


def folds(corpus: Corpus, protocol: str) -> list[Fold]:
    """The folds of a protocol, each with rows of `corpus`.

    `bp4d-3fold`, `disfa-3fold`, `bp4dplus-4fold`: the published subject lists (protocols.py). `split`: the partition
    that the corpus brings along (GFT, Aff-Wild2, expression corpora). `subjects-K`: K subject-exclusive folds, the
    same on every machine. Raises CorpusError for a subject that no list has, and for an empty train or test side.
    """
    if protocol == "split":
        if PART not in corpus.text:
            raise CorpusError(f"{corpus.name} has no partition of its own; choose another protocol than `split`")
        part = corpus.text[PART]
        return [_fold("split", part == "train", part == "test", corpus, protocol)]
    if counted := re.fullmatch(r"subjects-(\d+)", protocol):
        count, people = int(counted[1]), np.unique(corpus.subject).tolist()
        mixed = sorted(people, key=lambda who: hashlib.sha256(who.encode()).digest())
        place = {who: i % max(count, 1) for i, who in enumerate(mixed)}
        part = np.array([place[who] for who in corpus.subject.tolist()])
        if not 2 <= count <= len(people):
            raise CorpusError(f"{corpus.name}: {protocol} needs 2 to {len(people)} folds, as many as it has subjects")
        return [_fold(f"fold{k + 1}", part != k, part == k, corpus, protocol) for k in range(count)]
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, split, subjects-K; got {protocol}")
    published = PROTOCOLS[protocol]
    if corpus.name not in published.corpora:
        raise CorpusError(f"{protocol} is a protocol of {' and '.join(published.corpora)}, not of {corpus.name}")
    place = {who: p for p, people in enumerate(published.parts) for who in people}
    ids = [who.partition(":")[2] for who in corpus.subject.tolist()]
    strangers = sorted({who for who in ids if who not in place})
    if strangers:
        raise CorpusError(f"{corpus.name}: in no part of {protocol}: {named(strangers)}")
    part = np.array([place[who] for who in ids])
    return [
        _fold(f"fold{k}", part != tested, part == tested, corpus, protocol)
        for k, tested in enumerate(published.tested, 1)
    ]


def absent(root: Path, paths: list[str]) -> list[str]:
    """Those of the relative paths that are not there. Folders are listed once: quick for millions of pictures."""
    there: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, _, file = path.rpartition("/")
        if folder not in there:
            place = root / folder
            there[folder] = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
        if file not in there[folder]:
            missing.append(path)
    return missing


def named(things: list[str]) -> str:
    """The first few by name, and how many more."""
    rest = len(things) - _NAMED
    return ", ".join(things[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _fold(name: str, train: NDArray[np.bool_], test: NDArray[np.bool_], corpus: Corpus, protocol: str) -> Fold:
    for side, chosen in (("train", train), ("test", test)):
        if not chosen.any():
            raise CorpusError(f"{corpus.name}: {name} of {protocol} has no frame to {side}; is the corpus complete?")
    return Fold(name, np.flatnonzero(train).astype(np.int64), np.flatnonzero(test).astype(np.int64))


def _check_shapes(corpus: Corpus) -> None:
    frames, aus = len(corpus.paths), len(corpus.aus)
    if frames == 0:
        raise CorpusError(f"{corpus.name}: no frame to index")
    columns = {"subject": corpus.subject, "session": corpus.session, "frame": corpus.frame, **corpus.text}
    for name, column in columns.items():
        if column.shape != (frames,):
            raise ValueError(f"{name} must be ({frames},), got {column.shape}")
    for name, labels in (("occurrence", corpus.occurrence), ("intensity", corpus.intensity)):
        if labels.shape != (frames, aus):
            raise ValueError(f"{name} must be ({frames}, {aus}), got {labels.shape}")
    if not np.isin(corpus.occurrence, (-1, 0, 1)).all():
        raise ValueError("occurrence must be -1, 0 or 1")
    if len(set(corpus.paths)) != frames:
        raise ValueError("paths must differ from each other")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
