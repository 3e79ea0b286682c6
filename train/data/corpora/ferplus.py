"""FERPlus: ten votes a row in `fer2013new.csv`, pixels in the same row of `fer2013.csv` (48 x 48 grey).

A picture has the word with the most votes. Pictures whose most votes are unknown or not a face, and ties, are left out.
"""

import csv
from pathlib import Path

from train.data.corpora.build import Reading
from train.data.corpora.expressions import Still, stills
from train.data.corpora.index import CorpusError

LABELS, PIXELS = "fer2013new.csv", "fer2013.csv"
_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
_PARTS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def read(root: Path) -> Reading:
    """FERPlus's labels on FER2013's pictures; both tables have one row a picture in the same order."""
    rows, usages = _table(root / LABELS, ("Usage", "Image name", *_COLUMNS)), _table(root / PIXELS, ("Usage", "pixels"))
    if len(rows) != len(usages):
        raise CorpusError(f"{root}: {LABELS} has {len(rows)} rows, but {PIXELS} {len(usages)}: they must be the same")
    problems, pictures, faceless, undecided = list[str](), list[Still](), 0, 0
    for number, (row, pixels) in enumerate(zip(rows, usages, strict=True)):
        where = f"{LABELS}: line {number + 2}"
        votes = [row[name] for name in _COLUMNS]
        if row["Usage"] not in _PARTS or row["Usage"] != pixels["Usage"]:
            problems.append(f"{where}: Usage is {row['Usage']!r}, in {PIXELS} {pixels['Usage']!r}")
        elif not all(vote.isdecimal() for vote in votes):
            problems.append(f"{where}: votes are {','.join(votes)[:60]!r}, expected ten whole numbers")
        elif not row["Image name"]:
            faceless += 1
        else:
            counts = [int(vote) for vote in votes]
            best = [name for name, count in zip(_COLUMNS, counts, strict=True) if count == max(counts)]
            if len(best) > 1 or best[0] in ("unknown", "NF"):
                undecided += 1
            else:
                pictures.append(Still(f"{PIXELS}#{number}", _PARTS[row["Usage"]], number, best[0]))
    notes = [f"{faceless} rows are no face, {undecided} have no word with the most votes; they are left out"]
    return Reading(stills("FERPlus", root, pictures, problems), problems, notes, cut="whole", follows=False)


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file with these columns; pixels are only looked at when pictures are read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if absent := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise CorpusError(f"{path}: no column {', '.join(absent)}")
            return [{name: row[name] or "" for name in columns if name != "pixels"} for row in reader]
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
