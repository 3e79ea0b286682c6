"""One random generator for every (dataset seed, identity, sample, stage), so that a new draw in one stage of the
renderer leaves all others as they were, whoever renders and in whatever order."""

import hashlib

import numpy as np
from numpy.random import Generator


def generator(stage: str, *path: int) -> Generator:
    """The generator of a stage for a path of numbers, such as (dataset seed, person, sample)."""
    name = int.from_bytes(hashlib.sha256(stage.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([name, *path]))
