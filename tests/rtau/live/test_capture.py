import itertools
import time
from pathlib import Path

import pytest

from rtau.capture import SourceEntry, comes_back, open_source, read_sources
from rtau.config import SourceConfig
from rtau.decode import Decode, paced
from rtau.errors import ConfigError, SourceError
from tests.rtau import film


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film.face_clip(tmp_path_factory.mktemp("clips") / "one.mp4", [lambda t: (240, 180, 110, 0)], seconds=0.2)


def test_a_file_is_paced_by_its_own_times(clip: Path) -> None:
    source = SourceConfig(path=str(clip), realtime=True)
    with Decode(source) as decode:
        begun_ns = time.monotonic_ns()
        frames = list(paced(decode, source))
    assert all((frame.t_capture_ns - begun_ns) / 1e9 >= frame.time_s for frame in frames)  # none before it is due
    assert len(frames) == 6


def test_a_looped_file_goes_on_counting(clip: Path) -> None:
    source = SourceConfig(path=str(clip), loop=True)
    with Decode(source) as decode:
        frames = [frame for frame, _ in zip(paced(decode, source), range(15), strict=False)]
    assert [frame.index for frame in frames] == list(range(15))
    steps = [b.time_s - a.time_s for a, b in itertools.pairwise(frames)]
    assert min(steps) > 0.02
    assert max(steps) < 0.05


def test_sources_are_live_or_lossless() -> None:
    live = open_source(SourceEntry(name="a", source="film.mp4"))
    every = open_source(SourceEntry(name="a", source="film.mp4", fast=True))
    assert (live.realtime, live.policy, comes_back(live)) == (True, "newest", False)
    assert (every.realtime, every.policy) == (False, "wait")
    network = open_source(SourceEntry(name="a", source="rtsp://host/x"))
    assert (network.realtime, network.policy, comes_back(network)) == (False, "newest", True)


def test_a_missing_camera_is_named_with_what_is_there() -> None:
    with pytest.raises(SourceError, match="camera 97: /dev/video97 is not there; cameras of this machine: "):
        open_source(SourceEntry(name="a", camera="97"))


def test_contradictions_and_bad_sizes_are_named() -> None:
    with pytest.raises(ConfigError, match="source a: give either a camera or a source"):
        open_source(SourceEntry(name="a", camera="0", source="film.mp4"))
    with pytest.raises(ConfigError, match="size 640 is not WIDTHxHEIGHT"):
        open_source(SourceEntry(name="a", source="synthetic", size="640"))


def test_a_file_of_sources_names_the_key_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("sources:\n  - {name: door, source: synthetic, fps: 15}\n  - {name: desk, camera: '0'}\n")
    assert [entry.name for entry in read_sources(path)] == ["door", "desk"]
    path.write_text("sources:\n  - {name: door, sauce: synthetic}\n")
    with pytest.raises(ConfigError, match=r"sources.yaml: .*sauce"):
        read_sources(path)
