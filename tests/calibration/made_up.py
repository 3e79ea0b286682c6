"""Invented persons, and galleries for them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.gallery import Gallery, Secret
from calibration.profile import Neutral, Profile, to_bytes

MODEL = "ab" * 32
AU_MODEL = "cd" * 32
SECRET = Secret(key=bytes(range(32)))
AUS = ("AU06", "AU12")


def direction(seed: int, near: NDArray[np.float32] | None = None, cosine: float = 0.0) -> NDArray[np.float32]:
    """(128,) of unit length: random, or at a given cosine to another."""
    random = np.random.default_rng(seed).normal(size=128)
    if near is not None:
        across = random - (random @ near) * near
        random = cosine * near + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)
    return np.asarray(random / np.linalg.norm(random), np.float32)


def person(name: str, *embeddings: NDArray[np.float32], **changes: Any) -> Profile:
    given = embeddings or (direction(sum(name.encode())),)
    return Profile(name=name, embeddings=tuple(map(to_bytes, given)), enrolled=("2026-11-26",) * len(given), **changes)


def neutral(level: float = 0.5, evidence: float = 20.0, **changes: Any) -> Neutral:
    made = dict(left=(level, 2 * level), right=(level, level), spread_left=(0.1, 0.1), spread_right=(0.1, 0.1))
    return Neutral(au_model=AU_MODEL, aus=AUS, evidence=evidence, **(made | changes))


def gallery(path: Path, *names: str, secret: Secret = SECRET) -> Gallery:
    """A new gallery with these persons."""
    made = Gallery(path, secret, MODEL, create=True)
    made.add([person(name) for name in names])
    return made
