"""What the expression corpora share: single pictures, one word each, a partition of their own, people unknown."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.data.corpora.build import unknown_people
from train.data.corpora.index import PART, Corpus, CorpusError, absent

EXPRESSION = "expression"  # text column
WORDS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


class Still(NamedTuple):
    """One picture."""

    path: str  # see pictures.py
    part: str  # train, validation or test
    number: int  # unique inside the part
    expression: str  # one of WORDS


def stills(name: str, root: Path, pictures: Sequence[Still], problems: list[str]) -> Corpus:
    """Pictures as a corpus without AUs; those that are not there are named. Raises CorpusError when none is there."""
    missing = set(absent(root, [still.path for still in pictures if "#" not in still.path]))
    problems += [f"{path}: missing" for path in sorted(missing)]
    there = [still for still in pictures if still.path not in missing]
    if not there:
        raise CorpusError(f"{root}: no labelled picture of {name} found; is this its root folder? (docs/corpora.md)")
    paths, parts, numbers, words = (list(column) for column in zip(*there, strict=True))
    return Corpus(
        name=name,
        aus=(),
        paths=paths,
        root=root,
        subject=unknown_people(name, parts, numbers),
        session=np.array(parts),
        frame=np.array(numbers, np.int64),
        occurrence=np.zeros((len(there), 0), np.int8),
        intensity=np.zeros((len(there), 0), np.float32),
        text={EXPRESSION: np.array(words), PART: np.array(parts)},
    )
