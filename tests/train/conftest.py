"""Small indexed corpora that training tests share: names, subjects, AUs and partitions of the licensed ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.train.data.corpora.trees import BP4D_AUS, DISFA_AUS, face, write_picture
from train.data.corpora.index import Corpus, write_index

_GFT_AUS = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
_AFFWILD2_AUS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
_ALL_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26, 28, 43)
_MADE = {  # folder: (name, AUs, subjects)
    "bp4d": ("BP4D", BP4D_AUS, ("F001", "F002", "F003", "F005", "F004", "F006")),
    "bp4dplus": ("BP4D+", BP4D_AUS, ("F004", "F013", "F012", "F016", "F001", "F002", "F003", "F005")),
    "disfa": ("DISFA", DISFA_AUS, ("SN001", "SN002", "SN006", "SN011", "SN003", "SN004")),
    "gft": ("GFT", _GFT_AUS, ("001", "002", "003", "004")),
    "affwild2": ("Aff-Wild2", _AFFWILD2_AUS, ("a", "b", "c", "d")),
    "synth": ("synth", _ALL_AUS, ("train_000000", "train_000001", "train_000002", "train_000003", "train_000004")),
    "rafdb": ("RAF-DB", (), ("a", "b", "c", "d")),
    "affectnet": ("AffectNet", (), ("a", "b", "c", "d")),
    "ferplus": ("FERPlus", (), ("a", "b", "c", "d")),
    "clips": ("clips", (), ("a", "b", "c", "d")),
}
_FRAMES = 8  # of each subject: one session of consecutive frames
_ACTIVITIES = ("harsh insults", "unpleasant smell")
_EXPRESSIONS = ("happiness", "contempt", "anger", "neutral")


def small_corpus(folder: Path, name: str, aus: tuple[int, ...], people: tuple[str, ...]) -> None:
    """An index of `_FRAMES` pictures a person, labels by chance, a few of them unknown."""
    rng, count = np.random.default_rng(len(name)), len(people) * _FRAMES
    who = np.repeat(np.array([f"{name}:{each}" for each in people]), _FRAMES)
    intensity = np.where(rng.random((count, len(aus))) < 0.4, rng.integers(1, 6, (count, len(aus))), 0)
    occurrence = np.where(rng.random((count, len(aus))) < 0.05, -1, intensity >= 1).astype(np.int8)
    paths = [f"{i:03d}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        picture = cv2.resize(face(i), (256, 256), interpolation=cv2.INTER_AREA)
        shade = np.clip(picture * (0.7 + 0.05 * (i % 8)), 0, 255)
        write_picture(folder / "pictures" / path, shade.astype(np.uint8))
    corpus = Corpus(
        name=name,
        aus=tuple(f"AU{au:02d}" for au in aus),
        paths=paths,
        root=folder / "pictures",
        subject=who,
        session=np.full(count, "s"),
        frame=np.tile(np.arange(_FRAMES), len(people)).astype(np.int64),
        occurrence=occurrence,
        intensity=np.where(occurrence < 0, np.nan, intensity).astype(np.float32),
        text={
            "activity": np.array([_ACTIVITIES[i % 2] for i in range(count)]),
            "expression": np.array([_EXPRESSIONS[i % 4] for i in range(count)]),
            "part": np.array(["train" if i < count - 2 * _FRAMES else "test" for i in range(count)]),
        },
    )
    write_index(corpus, folder)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of the index of each corpus, by the name that docs/corpora.md gives it."""
    root = tmp_path_factory.mktemp("corpora")
    for folder, (name, aus, people) in _MADE.items():
        small_corpus(root / folder, name, aus, people)
    return {folder: root / folder for folder in _MADE}
