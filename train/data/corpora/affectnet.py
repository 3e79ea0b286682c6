"""AffectNet: `train_set/images/ID.jpg` with `train_set/annotations/ID_exp.npy`, `val_set/` alike; or the older release,
`training.csv` and `validation.csv` with the columns `subDirectory_filePath` and `expression`.

All eight words are read; AffectNet-7 is the same without contempt.
"""

import csv
from pathlib import Path

import numpy as np

from train.data.corpora.build import Reading
from train.data.corpora.expressions import WORDS, Still, stills

_FOLDERS = {"train_set": "train", "val_set": "test"}
_TABLES = {"training.csv": "train", "validation.csv": "test"}
_WORDS = {i: WORDS[i] for i in range(8)}  # AffectNet's own order
_NO_EXPRESSION = (8, 9, 10)  # of the older release: none, uncertain, no face


def read(root: Path) -> Reading:
    """AffectNet as delivered, the test part being the validation set."""
    problems, notes = list[str](), list[str]()
    tables = [table for table in _TABLES if (root / table).is_file()]
    pictures = _of_tables(root, problems, notes) if tables else _of_folders(root, problems)
    return Reading(stills("AffectNet", root, pictures, problems), problems, notes, follows=False)


def _of_folders(root: Path, problems: list[str]) -> list[Still]:
    pictures = []
    for folder, part in _FOLDERS.items():
        images = {path.stem: path.name for path in sorted((root / folder / "images").glob("*.jpg"))}
        labels = {path.name.removesuffix("_exp.npy") for path in (root / folder / "annotations").glob("*_exp.npy")}
        if not images:
            problems.append(f"{folder}/images: no picture")
        problems += [f"{folder}/images/{name}: no annotation" for stem, name in images.items() if stem not in labels]
        for stem in sorted(labels, key=lambda stem: (len(stem), stem)):
            label = f"{folder}/annotations/{stem}_exp.npy"
            try:
                code = int(np.load(root / label, allow_pickle=False).item())
            except (OSError, ValueError, EOFError) as error:
                problems.append(f"{label}: {error}")
                continue
            if code not in _WORDS or not stem.isdecimal():
                problems.append(f"{label}: expected a number as name and 0-7, got {code}")
            else:
                pictures.append(Still(f"{folder}/images/{stem}.jpg", part, int(stem), _WORDS[code]))
    return pictures


def _of_tables(root: Path, problems: list[str], notes: list[str]) -> list[Still]:
    pictures, without = [], 0
    for table, part in _TABLES.items():
        if not (root / table).is_file():
            problems.append(f"{table}: missing")
            continue
        with (root / table).open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file)):
                path, code = row.get("subDirectory_filePath") or "", row.get("expression") or ""
                if not path or not code.isdecimal() or int(code) not in (*_WORDS, *_NO_EXPRESSION):
                    problems.append(f"{table}: line {number + 2}: picture {path!r}, expression {code!r}")
                elif int(code) in _NO_EXPRESSION:
                    without += 1
                else:
                    pictures.append(Still(path, part, number, _WORDS[int(code)]))
    notes.append(f"{without} rows say none, uncertain or no face and are left out")
    return pictures
