"""The prepared folders of MEGraph's and AUNCE's code: aligned pictures and a list of paths and labels a fold.

`img/F001/T1/732.jpg` (or `img_256x256`), `list/BP4D_train_img_path_fold1.txt` with a path a line,
`BP4D_train_label_fold1.txt` with 0 and 1 a line (or `list_256x256`), the same with `test`; for DISFA `img/SN001/0.png`.
The pictures stay where they are.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.corpora import bp4d, disfa
from train.data.corpora.build import Reading
from train.data.corpora.index import Corpus, CorpusError, named
from train.data.corpora.protocols import PROTOCOLS
from train.data.corpora.sessions import UNKNOWN


class _Kind(NamedTuple):
    aus: tuple[str, ...]
    protocol: str
    path: re.Pattern[str]  # subject, session, frame
    first_frame: int  # of picture 0, in the corpus's own count


_KINDS = {
    "BP4D": _Kind(bp4d.AUS, "bp4d-3fold", re.compile(r"([FM]\d{3})/(T\d)/(\d+)\.\w+"), 0),
    "DISFA": _Kind(disfa.AUS, "disfa-3fold", re.compile(r"(SN\d{3})/()(\d+)\.\w+"), 1),
}
_FOLDS, _SIDES = (1, 2, 3), ("train", "test")


def read_bp4d(root: Path) -> Reading:
    """BP4D from list files; `root` holds `img` and `list`."""
    return _read(root, "BP4D")


def read_disfa(root: Path) -> Reading:
    """DISFA from list files; `root` holds `img` and `list`."""
    return _read(root, "DISFA")


def _read(root: Path, name: str) -> Reading:
    kind, problems = _KINDS[name], list[str]()
    images, lists = (_folder(root, stem) for stem in ("img", "list"))
    labels: dict[str, tuple[int, ...]] = {}
    published = PROTOCOLS[kind.protocol]
    for k in _FOLDS:
        people: dict[str, set[str]] = {}
        for side in _SIDES:
            listed = _listed(lists, f"{name}_{side}", k, len(kind.aus), problems)
            people[side] = {path.split("/")[0] for path in listed}
            for path, codes in listed.items():
                if labels.setdefault(path, codes) != codes:
                    problems.append(f"{lists.name}: {path}: fold {k} {side} labels it otherwise than another list")
        tested = set(published.parts[published.tested[k - 1]])
        if both := sorted(people["train"] & people["test"]):
            problems.append(f"{lists.name}: fold {k}: on both sides: {named(both)}")
        if strangers := sorted((people["test"] - tested) | (people["train"] & tested)):
            problems.append(f"{lists.name}: fold {k}: not on the side of {kind.protocol}: {named(strangers)}")
    where: dict[tuple[str, str, int], str] = {}
    for path in sorted(labels):
        match = kind.path.fullmatch(path)
        place = match and (match[1], match[2] or "video", int(match[3]) + kind.first_frame)
        if place is None:
            problems.append(f"{lists.name}: {path}: not a path of {name}")
        elif place in where:
            problems.append(f"{lists.name}: {path}: the same frame as {where[place]}")
        else:
            where[place] = path
    if not where:
        raise CorpusError(f"{lists}: no list of {name} can be used; {named(problems)}")
    people_of, sessions, frames = (list(column) for column in zip(*sorted(where), strict=True))
    paths = [where[place] for place in sorted(where)]
    occurrence = np.array([labels[path] for path in paths], np.int8)
    corpus = Corpus(
        name=name,
        aus=kind.aus,
        paths=paths,
        root=images,
        subject=np.array([f"{name}:{who}" for who in people_of]),
        session=np.array(sessions),
        frame=np.array(frames, np.int64),
        occurrence=occurrence,
        intensity=np.full(occurrence.shape, np.nan, np.float32),
        text={},
    )
    return Reading(corpus, problems, [f"lists {lists.name}, pictures {images.name}"], cut="kept", follows=False)


def _folder(root: Path, stem: str) -> Path:
    """MEGraph's or AUNCE's folder, whichever is there."""
    for name in (stem, f"{stem}_256x256"):
        if (root / name).is_dir():
            return root / name
    raise CorpusError(f"{root}: neither {stem} nor {stem}_256x256 is in it")


def _listed(lists: Path, name: str, fold: int, aus: int, problems: list[str]) -> dict[str, tuple[int, ...]]:
    """Path: codes, of one side of one fold."""
    texts = []
    for what in ("img_path", "label"):
        file = lists / f"{name}_{what}_fold{fold}.txt"
        try:
            texts.append([line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()])
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{lists.name}/{file.name}: {getattr(error, 'strerror', None) or error}")
            return {}
    paths, labels = texts
    if len(paths) != len(labels):
        problems.append(f"{lists.name}: {name} fold {fold}: {len(paths)} paths, but {len(labels)} labels: not used")
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for number, (path, line) in enumerate(zip(paths, labels, strict=True), 1):
        cells = line.split()
        if len(cells) != aus:
            problems.append(f"{lists.name}/{name}_label_fold{fold}.txt: line {number}: {len(cells)} codes, not {aus}")
            continue
        if not {"0", "1"}.issuperset(cells):
            problems.append(f"{lists.name}/{name}_label_fold{fold}.txt: line {number}: expected 0 and 1, got {line!r}")
        if path in found:
            problems.append(f"{lists.name}/{name}_img_path_fold{fold}.txt: line {number}: {path} comes twice")
        found[path] = tuple(int(cell) if cell in ("0", "1") else UNKNOWN for cell in cells)
    return found
