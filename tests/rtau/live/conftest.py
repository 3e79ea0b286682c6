"""What every test of the live side starts from, and what it must leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rtau import film
from tests.rtau.leftovers import left_over


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film.face_clip(tmp_path_factory.mktemp("clips") / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)])


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = left_over()
    yield
    assert left_over() <= before
