"""GFT (Sayette Group Formation Task, 2017): 96 people talking in groups of three, 10 AUs, 78 to train and 18 to test.

The file format could not be verified, so a YAML file says how the delivered one looks (`Layout`, docs/corpora.md).
"""

import csv
from pathlib import Path

import msgspec
import numpy as np

from train.data.corpora.bp4d import PICTURES
from train.data.corpora.build import Reading
from train.data.corpora.index import PART, CorpusError
from train.data.corpora.pictures import VIDEOS
from train.data.corpora.sessions import UNKNOWN, Session, au_numbers, joined, numbered, ranges, read_codes

AUS = ("AU01", "AU02", "AU04", "AU06", "AU10", "AU12", "AU14", "AU15", "AU23", "AU24")


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where GFT's files are, relative to the root. `{}` is the participant."""

    labels: str = "labels/{}.csv"  # one file a participant, first row names
    frame_column: str = "frame"
    au_columns: str = "AU{}"  # `{}` is the number; leading zeros do not matter
    pictures: str = "videos/{}.mp4"  # a video, or a folder of pictures named by frame number
    frame_offset: int = -1  # coded frame f is picture f + offset; of a video, frame f + offset from 0
    partition: str = "partition.csv"  # first row names
    subject_column: str = "participant"
    part_column: str = "part"
    train: str = "train"  # what the part column says of those to train on
    test: str = "test"


def read(root: Path, layout: Layout | None = None) -> Reading:
    """GFT as delivered. Codes other than 0 and 1 are unknown; frames of which no AU is known are left out."""
    layout = layout or Layout()
    problems, sessions, uncoded = list[str](), list[Session](), 0
    parts = _partition(root, layout, problems)
    files = {path.stem for path in root.glob(layout.labels.format("*"))}
    problems += [f"{layout.labels.format(who)}: not in {layout.partition}" for who in sorted(files - parts.keys())]
    columns = [layout.au_columns.format(number) for number in au_numbers(AUS)]
    for subject, part in parts.items():
        label = layout.labels.format(subject)
        if subject not in files:
            problems.append(f"{label}: missing")
            continue
        codes = read_codes(root / label, label, layout.frame_column, columns, (0, 1), None, problems)
        known = (codes.values != UNKNOWN).any(axis=1)
        uncoded += int((~known).sum())
        frame, values = codes.frame[known], codes.values[known]
        paths = _pictures(root, layout, subject, (frame + layout.frame_offset).tolist(), problems)
        kept = [i for i, path in enumerate(paths) if path]
        if kept:
            occurrence, nothing = values[kept].astype(np.int8), np.full((len(kept), len(AUS)), np.nan, np.float32)
            found = [paths[i] for i in kept]
            sessions.append(Session(subject, "talk", frame[kept], found, occurrence, nothing, {PART: part}))
    notes = [f"{uncoded} rows know none of the {len(AUS)} AUs and are left out"] if uncoded else []
    return Reading(joined("GFT", AUS, root, sessions), problems, notes)


def read_layout(path: Path) -> Layout:
    """A layout from YAML. Raises CorpusError naming file and key."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Layout)
    except (OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise CorpusError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _partition(root: Path, layout: Layout, problems: list[str]) -> dict[str, str]:
    """Participant: train or test."""
    path = root / layout.partition
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: {getattr(error, 'strerror', None) or error}; see docs/corpora.md") from error
    parts: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        who, part = (row.get(column) or "" for column in (layout.subject_column, layout.part_column))
        if not who or part not in (layout.train, layout.test):
            problems.append(f"{layout.partition}: line {line}: participant {who!r} is in part {part!r}")
        elif who in parts:
            problems.append(f"{layout.partition}: line {line}: {who} comes twice")
        else:
            parts[who] = "train" if part == layout.train else "test"
    return parts


def _pictures(root: Path, layout: Layout, subject: str, wanted: list[int], problems: list[str]) -> list[str]:
    """Path of each frame, "" where there is none; what is missing is named."""
    place = layout.pictures.format(subject)
    if place.lower().endswith(VIDEOS):
        if not (root / place).is_file():
            problems.append(f"{place}: missing")
            return [""] * len(wanted)
        return [f"{place}#{number}" for number in wanted]
    files = numbered(root / place, place, PICTURES, problems)
    if missing := [number for number in wanted if number not in files]:
        problems.append(f"{place}: no picture {ranges(missing)}")
    return [f"{place}/{files[number]}" if number in files else "" for number in wanted]
