"""What the loaders of coded corpora share: sessions joined to a corpus, label tables read with every fault named."""

import csv
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.data.corpora.index import Corpus, CorpusError, named

Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class Session(NamedTuple):
    """One task, clip or trial of one subject: n coded frames and where their pictures are."""

    subject: str  # without the corpus's name
    session: str
    frame: Int64  # (n,)
    paths: list[str]
    occurrence: Int8  # (n, A)
    intensity: Float32  # (n, A)
    text: dict[str, str]  # the same for all frames


class Codes(NamedTuple):
    """A table of codes: n rows in the order of the file."""

    frame: Int64  # (n,)
    values: NDArray[np.int64]  # (n, A); `unknown` where nothing usable is written


UNKNOWN = -1


def joined(name: str, aus: tuple[str, ...], root: Path, sessions: Sequence[Session], *, people: str = "") -> Corpus:
    """Sessions as one corpus; `people` names the corpus that the subjects come from, where it is another one.

    Raises CorpusError when there is no frame at all.
    """
    each = [len(s.frame) for s in sessions]
    if not sum(each):
        raise CorpusError(f"{root}: no labelled picture of {name} found; is this its root folder? (docs/corpora.md)")

    def column(values: Iterable[str]) -> NDArray[np.str_]:
        return np.repeat(np.array(list(values)), each)

    return Corpus(
        name=name,
        aus=aus,
        paths=[path for s in sessions for path in s.paths],
        root=root,
        subject=column(f"{people or name}:{s.subject}" for s in sessions),
        session=column(s.session for s in sessions),
        frame=np.concatenate([s.frame for s in sessions]),
        occurrence=np.concatenate([s.occurrence for s in sessions]),
        intensity=np.concatenate([s.intensity for s in sessions]),
        text={key: column(s.text[key] for s in sessions) for key in sessions[0].text},
    )


def read_codes(
    path: Path,
    label: str,
    frame: str | int | None,
    columns: Sequence[str | int],
    allowed: Sequence[int],
    missing: Sequence[int] | None,
    problems: list[str],
    *,
    header: bool = True,
    skip: int = 0,
) -> Codes:
    """The columns of a table of whole numbers, comma separated. `label` names the file in `problems`.

    Columns are header cells (`1`, `AU1` and `AU01` are the same) or, without a header, positions; where `frame` is None
    the rows are frames 1, 2, 3. Codes that are neither `allowed` nor `missing`, rows that are too short and frames that
    come twice are problems: the codes become UNKNOWN, the rows are left out. With `missing` None every other code,
    number or not, means unknown. A file that cannot be used at all is one problem and no rows.
    """
    nothing = Codes(np.zeros(0, np.int64), np.zeros((0, len(columns)), np.int64))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)][skip:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{label}: {getattr(error, 'strerror', None) or error}")
        return nothing
    while rows and not any(rows[-1]):
        rows.pop()
    places: list[str | int] = [*columns] if frame is None else [frame, *columns]
    if header:
        cells = {_plain(cell): i for i, cell in enumerate(rows.pop(0) if rows else [])}
        if absent := [str(place) for place in places if _plain(str(place)) not in cells]:
            problems.append(f"{label}: no column {named(absent)} in the first row")
            return nothing
        places = [cells[_plain(str(place))] for place in places]
    where = [int(place) for place in places]
    usable, known = {*allowed, *(missing or ())}, {*allowed}
    frames, values, seen = list[int](), list[list[int]](), set[int]()
    for count, row in enumerate(rows, 1):
        line = f"{label}: line {count + skip + header}"
        try:
            cells_of_row = [row[place] for place in where]
            number = count if frame is None else _integer(cells_of_row.pop(0))
            codes = [_code(cell) if missing is None else _integer(cell) for cell in cells_of_row]
        except (ValueError, IndexError):
            problems.append(f"{line}: not a row of {len(where)} whole numbers: {','.join(row)[:60]!r}")
            continue
        if number in seen:
            problems.append(f"{line}: frame {number} comes twice")
            continue
        if missing is not None and not usable.issuperset(codes):
            for name, code in zip(columns, codes, strict=True):
                if code not in usable:
                    what = f"AU{name}" if header else "code"
                    problems.append(f"{line}: {what} is {code}, expected one of {sorted(usable)}")
        seen.add(number)
        frames.append(number)
        values.append([code if code in known else UNKNOWN for code in codes])
    if not frames:
        problems.append(f"{label}: no usable row")
        return nothing
    return Codes(np.array(frames, np.int64), np.array(values, np.int64).reshape(len(frames), len(columns)))


def numbered(folder: Path, label: str, suffixes: tuple[str, ...], problems: list[str]) -> dict[int, str]:
    """Pictures of a folder by the number in their name, however padded; a number that comes twice is a problem."""
    found: dict[int, str] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix.lower() in suffixes and file.stem.isdecimal():
            if int(file.stem) in found:
                problems.append(f"{label}/{file.name}: the same frame as {found[int(file.stem)]}")
            else:
                found[int(file.stem)] = file.name
    return found


def ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 -> "1-3, 7"."""
    runs = []
    for _, run in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        inside = [number for _, number in run]
        runs.append(str(inside[0]) if len(inside) == 1 else f"{inside[0]}-{inside[-1]}")
    return ", ".join(runs)


def au_numbers(aus: Sequence[str]) -> list[int]:
    """("AU01", "AU12") -> [1, 12]."""
    return [int(au.removeprefix("AU")) for au in aus]


def _plain(cell: str) -> str:
    au = re.fullmatch(r"(?:au)?0*(\d+)", cell.lower())
    return au[1] if au else cell.lower()


def _integer(cell: str) -> int:
    value = float(cell)
    if value != int(value):
        raise ValueError(cell)
    return int(value)


def _code(cell: str) -> int:
    try:
        return _integer(cell)
    except (ValueError, OverflowError):
        return UNKNOWN
