import itertools
import os
import time
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from rtau.capture import SourceEntry, SourcesFile, check_names, comes_back, open_source, read_sources
from rtau.cli import main
from rtau.config import SourceConfig
from rtau.decode import Decode, paced
from rtau.errors import ConfigError, OutputError, RtauError, SourceError
from rtau.structures import Frame
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


def test_a_pause_of_the_recorder_is_not_waited_for_in_full() -> None:
    frames = [Frame(i, time_s, 0, 0, None) for i, time_s in enumerate((0.0, 0.1, 600.0, 600.1))]
    begun = time.monotonic()
    given = list(paced(frames, SourceConfig(path="clip.mp4", realtime=True, timeout_s=0.6)))
    assert 0.5 <= time.monotonic() - begun < 5
    assert [frame.time_s for frame in given] == [0.0, 0.1, 600.0, 600.1]


def test_a_looped_file_goes_on_counting(clip: Path) -> None:
    source = SourceConfig(path=str(clip), loop=True)
    with Decode(source) as decode:
        frames = [frame for frame, _ in zip(paced(decode, source), range(15), strict=False)]
    assert [frame.index for frame in frames] == list(range(15))
    steps = [b.time_s - a.time_s for a, b in itertools.pairwise(frames)]
    assert min(steps) > 0.02
    assert max(steps) < 0.05


def test_a_looped_file_is_paced_across_its_end_and_a_looped_photo_too(clip: Path, tmp_path: Path) -> None:
    photo = tmp_path / "face.png"
    cv2.imwrite(str(photo), film.picture((64, 48), [])[..., ::-1])
    for path, count in ((clip, 13), (photo, 5)):
        source = SourceConfig(path=str(path), loop=True, realtime=True)
        with Decode(source) as decode:
            begun_ns = time.monotonic_ns()
            frames = [frame for frame, _ in zip(paced(decode, source), range(count), strict=False)]
        assert all((frame.t_capture_ns - begun_ns) / 1e9 >= frame.time_s for frame in frames)


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


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("camera: '0', loop: true", "source door: a camera has no loop"),
        ("source: synthetic, pixel_format: nv12", "source door: the test picture has no pixel_format"),
        ("source: 'rtsp://host/x', fast: true", "source door: an address has no fast"),
        ("source: film.mp4, fps: 15", "source door: a file has no fps"),
        ("source: synthetic, fps: 0", "fps"),
        ("camera: '0', fps: -5", "fps"),
    ],
)
def test_options_that_a_source_does_not_have_are_refused(tmp_path: Path, entry: str, said: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(f"sources: [{{name: door, {entry}}}]")
    with pytest.raises(ConfigError, match=said):
        [open_source(each) for each in read_sources(path)]


def given(*arguments: str) -> tuple[list[SourceEntry], str]:
    """What the command line is understood as, and what is said."""
    found: list[SourceEntry] = []

    def keep(entries: list[SourceEntry]) -> None:
        found.extend(entries)
        check_names(entries)
        raise ConfigError("far enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rtau.cli_live.check_names", keep)
        result = CliRunner().invoke(main, ["stream", *arguments])
    return found, result.stderr


def test_cameras_are_called_as_themselves() -> None:
    entries, _ = given("--camera", "0", "--camera", "/dev/video2", "--camera", "My Camera (2)")
    assert [entry.name for entry in entries] == ["camera0", "video2", "My-Camera--2-"]
    _, said = given("--camera", "0", "--camera", "0")
    assert "two sources have one name: camera0; rename one (a --sources file names them freely)" in said


def test_an_option_of_the_command_line_is_for_the_sources_that_have_it() -> None:
    entries, _ = given("--camera", "0", "--source", "synthetic", "--source", "film.mp4", "--size", "640x480", "--loop")
    assert [(entry.size, entry.loop) for entry in entries] == [("640x480", False), ("640x480", False), (None, True)]
    entries, said = given("--source", "rtsp://host/x", "--loop")
    assert entries == []
    assert "--loop is for none of these sources" in said


def test_a_file_of_sources_names_the_key_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("sources:\n  - {name: door, source: synthetic, fps: 15}\n  - {name: desk, camera: '0'}\n")
    assert [entry.name for entry in read_sources(path)] == ["door", "desk"]
    path.write_text("sources:\n  - {name: door, sauce: synthetic}\n")
    with pytest.raises(ConfigError, match=r"sources.yaml: .*sauce"):
        read_sources(path)


def test_a_policy_by_name_goes_over_the_default() -> None:
    for policy in ("newest", "drop_oldest", "drop_latest", "wait"):
        assert open_source(SourceEntry(name="a", source="rtsp://host/x", policy=policy)).policy == policy
        assert open_source(SourceEntry(name="a", source="film.mp4", fast=True, policy=policy)).policy == policy


def test_two_sources_of_one_name_and_names_that_break_topics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    for name, said in (("door", "two sources have one name: door"), ("a.b", "'a.b' cannot name a source")):
        path.write_text(f"sources: [{{name: door, source: synthetic}}, {{name: {name}, source: synthetic}}]")
        with pytest.raises(ConfigError, match=said):
            read_sources(path)


# A file of sources that is edited


DOOR, DESK = "{name: door, source: synthetic}", "{name: desk, source: film.mp4}"


def edited(path: Path, *entries: str) -> None:
    path.write_text(f"sources: [{', '.join(entries)}]")
    stamps.append(stamps[-1] + 10**9)  # also where the file system's clock is coarse
    os.utime(path, ns=(stamps[-1], stamps[-1]))


stamps = [10**18]


def test_an_edit_counts_once_the_file_was_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    edited(path, DOOR)
    file = SourcesFile(path)
    assert file.changes() is None
    edited(path, DOOR, DESK)
    assert file.changes() is None  # it may still be being written
    changes = file.changes()
    assert changes is not None
    assert ([source.source_id for source in changes.come], changes.gone) == (["desk"], [])
    assert file.changes() is None
    edited(path, DESK.replace("}", ", loop: true}"))
    assert file.changes() is None
    changes = file.changes()
    assert changes is not None
    assert ([(source.source_id, source.loop) for source in changes.come], changes.gone) == ([("desk", True)], ["door"])


def refused(name: str) -> None:
    raise OutputError(f"rows.{name}.csv: exists already")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([DOOR, "{name: desk, sauce: x}"], "sauce"),
        ([DOOR, DOOR], "two sources have one name: door"),
        ([DOOR, "{name: given, source: synthetic}"], "two sources have one name: given"),
        ([DOOR, "{name: desk, camera: '97'}"], "camera 97"),
        ([DOOR, DESK], "rows.desk.csv: exists already"),
        (["{name: door"], "not YAML"),
        (None, "No such file"),
    ],
)
def test_a_bad_edit_is_told_once_and_changes_nothing(tmp_path: Path, entries: list[str] | None, said: str) -> None:
    path, others = tmp_path / "sources.yaml", [SourceEntry(name="given", source="synthetic")]
    edited(path, DOOR)
    file = SourcesFile(path)
    path.unlink() if entries is None else edited(path, *entries)
    assert file.changes(others, refused) is None
    with pytest.raises(RtauError, match=said):
        file.changes(others, refused)
    assert file.changes(others, refused) is None
    edited(path, DOOR, DESK)
    assert file.changes(others) is None
    changes = file.changes(others)
    assert changes is not None
    assert ([source.source_id for source in changes.come], changes.gone) == (["desk"], [])
