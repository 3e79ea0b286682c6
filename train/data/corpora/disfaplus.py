"""DISFA+ (2016): posed and spontaneous trials of nine of DISFA's people; labels as DISFA's.

`DISFAPlusDataset/Labels/SN001/TRIAL/AU1.txt` (two lines of header, then `FRAME.jpg INTENSITY`) beside
`DISFAPlusDataset/Images/SN001/TRIAL/FRAME.jpg`. Subjects are named `DISFA:SN001`: never train on DISFA and test on
DISFA+ without leaving them out.
"""

import re
from pathlib import Path

import numpy as np

from train.data.corpora.build import Reading
from train.data.corpora.disfa import AUS, present
from train.data.corpora.index import CorpusError, named
from train.data.corpora.sessions import Session, au_numbers, joined

SUBJECTS = ("SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027")
_HEADER = 2  # lines
_LINE = re.compile(r"(\S+)\s+([0-5])")


def read(root: Path) -> Reading:
    """DISFA+ as delivered: `root` is the folder that holds `DISFAPlusDataset`, or that folder."""
    base = root / "DISFAPlusDataset" if (root / "DISFAPlusDataset").is_dir() else root
    labels, images = base / "Labels", base / "Images"
    if not labels.is_dir():
        raise CorpusError(f"{labels}: no such folder; is this the root of DISFA+?")
    problems = [f"Labels/{subject}: missing" for subject in SUBJECTS if not (labels / subject).is_dir()]
    sessions = []
    for folder in sorted(path for path in labels.glob("*/*") if path.is_dir()):
        subject, trial = folder.parent.name, folder.name
        if subject not in SUBJECTS:
            problems.append(f"Labels/{subject}/{trial}: not a subject of DISFA+")
            continue
        coded = {number: _coded(folder / f"AU{number}.txt", base, problems) for number in au_numbers(AUS)}
        files = sorted({file for codes in coded.values() for file in codes})
        for number, codes in coded.items():
            if codes and (lacking := [file for file in files if file not in codes]):
                problems.append(f"Labels/{subject}/{trial}/AU{number}.txt: no line for {named(lacking)}")
        pictures = {path.name for path in (images / subject / trial).glob("*")}
        if missing := [file for file in files if file not in pictures]:
            problems.append(f"Images/{subject}/{trial}: missing {named(missing)}")
        if extra := sorted(name for name in pictures if name.lower().endswith((".jpg", ".png")) and name not in files):
            problems.append(f"Images/{subject}/{trial}: not coded {named(extra)}")
        kept = [file for file in files if file in pictures]
        if not kept:
            continue
        rows = [[coded[number].get(file, np.nan) for number in au_numbers(AUS)] for file in kept]
        intensity = np.array(rows, np.float32)
        frame = np.array([_number(file, i) for i, file in enumerate(kept)], np.int64)
        if len(np.unique(frame)) < len(frame):
            frame = np.arange(len(kept), dtype=np.int64)
        paths = [(images / subject / trial / file).relative_to(root).as_posix() for file in kept]
        sessions.append(Session(subject, trial, frame, paths, present(intensity), intensity, {}))
    return Reading(joined("DISFA+", AUS, root, sessions, people="DISFA"), problems, [])


def _coded(path: Path, base: Path, problems: list[str]) -> dict[str, float]:
    """Picture: intensity."""
    label = path.relative_to(base).as_posix()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{label}: {getattr(error, 'strerror', None) or error}")
        return {}
    found: dict[str, float] = {}
    for number, line in enumerate(lines[_HEADER:], _HEADER + 1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                problems.append(f"{label}: line {number}: expected a picture and 0-5, got {line.strip()[:60]!r}")
        elif match[1] in found:
            problems.append(f"{label}: line {number}: {match[1]} comes twice")
        else:
            found[match[1]] = float(match[2])
    return found


def _number(file: str, otherwise: int) -> int:
    """The last number in a file name."""
    digits = re.findall(r"\d+", Path(file).stem)
    return int(digits[-1]) if digits else otherwise
