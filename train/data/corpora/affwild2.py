"""Aff-Wild2, AU track of the ABAW challenges: videos of people in the wild, 12 AUs, evaluated on the validation set.

`annotations/AU_Detection_Challenge/Train_Set/VIDEO.txt` and `Validation_Set/`: one line of AU names, then one a frame
(0, 1, -1 not to be used), with pictures `cropped_aligned/VIDEO/00001.jpg`, line k after the names being picture k.
"""

from pathlib import Path

import numpy as np

from train.data.corpora.build import Reading
from train.data.corpora.index import PART
from train.data.corpora.sessions import UNKNOWN, Session, au_numbers, joined, numbered, ranges, read_codes

AUS = ("AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU12", "AU15", "AU23", "AU24", "AU25", "AU26")
LABELS, PICTURES = "annotations/AU_Detection_Challenge", "cropped_aligned"
_PARTS = {"Train_Set": "train", "Validation_Set": "test"}


def read(root: Path) -> Reading:
    """Aff-Wild2 as delivered. A video, or its left or right person, is a subject; who appears in two is not known.

    Frames without a picture are those in which no face was detected: they are counted, not missing.
    """
    problems, notes, sessions, unseen = list[str](), list[str](), list[Session](), 0
    for folder, part in _PARTS.items():
        files = sorted((root / LABELS / folder).glob("*.txt"))
        if not files:
            problems.append(f"{LABELS}/{folder}: no labels")
        notes.append(f"{folder}: {len(files)} videos (the paper's edition has {305 if part == 'train' else 105})")
        for path in files:
            label, video = f"{LABELS}/{folder}/{path.name}", path.stem
            codes = read_codes(path, label, None, au_numbers(AUS), (0, 1), (UNKNOWN,), problems)
            place = f"{PICTURES}/{video}"
            pictures = numbered(root / place, place, (".jpg", ".png"), problems)
            if not pictures:
                problems.append(f"{place}: missing")
                continue
            if extra := sorted(set(pictures) - set(codes.frame.tolist())):
                problems.append(f"{place}: pictures without a label line: {ranges(extra)}")
            known = (codes.values != UNKNOWN).any(axis=1)
            there = np.array([number in pictures for number in codes.frame.tolist()], dtype=bool)
            unseen += int((known & ~there).sum())
            frame, values = codes.frame[known & there], codes.values[known & there]
            paths = [f"{place}/{pictures[number]}" for number in frame.tolist()]
            intensity = np.full(values.shape, np.nan, np.float32)
            sessions.append(Session(video, "video", frame, paths, values.astype(np.int8), intensity, {PART: part}))
    notes.append(f"{unseen} labelled frames have no picture (no face was detected in them)")
    return Reading(joined("Aff-Wild2", AUS, root, sessions), problems, notes)
