"""Photos and frames whose AUs were coded by eye, in readings blind to each other and to any estimate.

`coded_by_eye.csv` holds them as they were written (docs/coding.md). `first` and `second` looked at the whole face for
every AU: `12=3` is an intensity, `12=3/1` the sides as seen in the picture, `23?` perhaps a trace, `hidden:20` cannot
be seen, `bad` nothing can; an AU that is not named is absent. `close` compared close views of one AU over many faces,
and says nothing of AUs that it does not name. The reader was a vision-language model that followed the definitions of
Ekman, Friesen & Hager (2002), not a certified FACS coder; `python -m train evaluate` prints how well readings agree.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.facs import CATALOGUE
from train.data.pseudo_labels import SEEN_WELL, TrainingLabels

Float32 = NDArray[np.float32]

_TABLE = Path(__file__).with_name("coded_by_eye.csv")
_RENDERS = Path(__file__).with_name("renders_coded_by_eye.csv")
_PLACE = {str(au.number): i for i, au in enumerate(CATALOGUE)}
_PERHAPS = 0.5  # intensity that stands for "perhaps a trace"
_NOTHING = 0.3  # mean of the readings below which an AU counts as absent
_ABSENT = 6.0  # how much all faces without an AU may weigh beside the intensities of all with it
_ALONE = 0.3  # weight of what one reading alone could tell


class Coded(NamedTuple):
    """Three readings of F faces: intensity 0-5 of the A AUs of the catalogue, NaN where a reading does not tell."""

    names: tuple[str, ...]
    readings: Float32  # (3, F, 2, A): first, second, close; face; subject's left and right; AU

    def of(self, names: list[str]) -> "Coded":
        """The readings of these faces, in this order; of those that were not coded they tell nothing."""
        place = {name: f for f, name in enumerate(self.names)}
        nothing = np.full_like(self.readings[:, :1], np.nan)
        rows = [place.get(name, len(place)) for name in names]
        return Coded(tuple(names), np.concatenate([self.readings, nothing], axis=1)[:, rows])

    @property
    def told(self) -> NDArray[np.int64]:
        """(F, A) how many readings tell."""
        return np.asarray(np.isfinite(self.readings[:, :, 0]).sum(axis=0))

    @property
    def intensity(self) -> Float32:
        """(F, 2, A) mean of the readings that tell; NaN where none does."""
        told = np.isfinite(self.readings)
        mean = np.nan_to_num(self.readings).sum(axis=0) / told.sum(axis=0).clip(1)
        return np.where(told.any(axis=0), mean, np.nan).astype(np.float32)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(F, A) of intensity 1 at least on one side, by two readings or more."""
        return np.asarray((self.intensity.max(axis=1) >= 1) & (self.told >= 2))

    @property
    def absent(self) -> NDArray[np.bool_]:
        """(F, A) no trace, by two readings or more."""
        return np.asarray((self.intensity.max(axis=1) < _NOTHING) & (self.told >= 2))


def load_coded() -> Coded:
    """All faces that were coded by eye."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    whole = [[read_codes(row[reading], 0.0) for row in rows] for reading in ("first", "second")]
    close = [read_codes(row["close"], np.nan) for row in rows]
    return Coded(tuple(row["file"] for row in rows), np.stack([*whole, close]))


def load_coded_renders() -> dict[int, Float32]:
    """One reading of some pictures of the rendered test people: place in the split -> (2, A), NaN as in `Coded`.

    The split is that of `python -m train render --split test --persons 64 --pictures 20`.
    """
    with _RENDERS.open(newline="", encoding="utf-8") as file:
        return {int(row["picture"]): read_codes(row["codes"], 0.0) for row in csv.DictReader(file)}


def read_codes(text: str, unnamed: float) -> Float32:
    """One reading -> (2, A) intensity on the subject's left and right. Raises ValueError naming what it cannot read."""
    sides = np.full((2, len(CATALOGUE)), np.nan if text == "bad" else unnamed, np.float32)
    for word in () if text == "bad" else text.split():
        hidden, perhaps = word.startswith("hidden:"), word.endswith("?")
        number, _, level = word.removeprefix("hidden:").removesuffix("?").partition("=")
        in_picture = level.split("/")  # left first; the subject's right is there
        try:
            right, left = (np.nan if hidden else _PERHAPS if perhaps else float(in_picture[i]) for i in (0, -1))
            sides[:, _PLACE[number]] = left, right
        except (KeyError, ValueError) as error:
            raise ValueError(f"{word!r} is no code; expected e.g. 12=3, 12=3/1, 23?, hidden:20 or bad") from error
    return sides


def taught_by_coding(labels: TrainingLabels, names: list[str], coded: Coded) -> TrainingLabels:
    """The labels of faces by name, with the coding in the place of the teacher's, or beside them where it sees well.

    Few faces show the rarer AUs. Absence weighs less where there is much of it: else the network would learn to tell
    photographs from rendered faces and keep these AUs for the latter.
    """
    there, coded = np.isin(names, coded.names)[:, None], coded.of(names)
    told, present, absent = coded.told, coded.present, coded.absent
    intensity = np.nan_to_num(coded.intensity)  # (F, 2, A)
    shown = np.where(absent, 0, intensity.max(axis=1)).sum(axis=0)
    balance = np.clip(_ABSENT * shown / absent.sum(axis=0).clip(1), 0, 1)
    weight = np.where(absent, balance, 1) * np.choose(told.clip(max=2), [0, _ALONE, 1])
    beside = np.array([au.column in SEEN_WELL for au in CATALOGUE]) & (labels.weight > 0) & (told > 0)
    left, right = (
        np.where(there, np.where(beside, (side + seen) / 2, seen), side)
        for side, seen in ((labels.left, intensity[:, 0]), (labels.right, intensity[:, 1]))
    )
    known = (present | absent) & ((np.maximum(left, right) >= 1) == present)
    weight = np.where(there, weight, labels.weight).astype(np.float32)
    return TrainingLabels(left, right, weight, np.where(there, known, labels.known))
