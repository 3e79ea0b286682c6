"""The command as a user meets it: bad input gives one line, the documented exit code, and nothing left behind."""

import contextlib
import csv
import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from rtau.cli import main
from tests.rtau import film
from tests.rtau.leftovers import left_over


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = lambda t: (160 + 30 * t, 120, 90, 0)  # noqa: E731
    return film.face_clip(tmp_path_factory.mktemp("clips") / "face.mp4", [place], size=(320, 240))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be stopped in the middle."""
    image = film.picture((320, 240), [(160.0, 120.0, 90.0, 0.0)])
    times = [i / 30 for i in range(3000)]
    return film.write(tmp_path_factory.mktemp("clips") / "long.mp4", [image] * len(times), times)


@pytest.fixture
def one_process(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("runtime: {processes: false}\n")
    return path


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    before = left_over()
    yield
    assert [path.name for path in tmp_path.rglob(".*")] == []
    assert left_over() <= before
    assert not [child for child in psutil.Process().children(recursive=True) if "rtau" in " ".join(child.cmdline())]


def rtau(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["process", *(str(argument) for argument in arguments)])


def the_line(result: Result) -> str:
    """The one line on stderr."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "rtau", "process", *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder over HTTP; yields host and port."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def wait_for_rows(folder: Path) -> None:
    """Until the temporary table has begun to fill."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(path.stat().st_size > 20_000 for path in folder.glob(".aus-*")):
            return
        time.sleep(0.05)
    raise AssertionError("no rows after a minute")


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_a_clip_gives_a_table_and_its_sidecar(clip: Path, tmp_path: Path) -> None:
    result = rtau(clip, "--out", tmp_path / "aus.csv")
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "aus.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(30))
    assert {row["track_id"] for row in rows} == {"1"}
    assert all(0 <= float(row["AU12_r"]) <= 5 for row in rows)
    meta = json.loads((tmp_path / "aus.csv.meta.json").read_text())
    assert (meta["state"], meta["counts"]["frames"], meta["counts"]["dropped"]) == ("complete", 30, 0)
    assert "30 frames, 30 faces in 1 tracks, dropped 0" in result.stderr


@pytest.mark.parametrize("name", ["aus.csv", "aus.parquet"])
def test_no_table_keeps_a_password(
    clip: Path, tmp_path: Path, one_process: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with served(clip.parent) as place:
        address = f"http://anna:secret@{place}/{clip.name}?token=secret"
        arguments = [address, "--out", str(tmp_path / name), "--config", str(one_process)]
        monkeypatch.setattr(sys, "argv", ["rtau", "process", *arguments])
        result = rtau(*arguments)
    assert result.exit_code == 0, result.stderr
    meta = json.loads((tmp_path / f"{name}.meta.json").read_text())
    assert meta["source"]["name"] == place
    assert meta["command"].startswith(f"rtau process http://{place} --out ")
    for written in tmp_path.iterdir():
        assert b"secret" not in written.read_bytes()


def test_csv_on_stdout_is_only_the_table(clip: Path, one_process: Path) -> None:
    result = rtau(clip, "--out", "-", "--config", one_process, "--quiet", "--end", 0.1)
    assert result.stdout.startswith("frame,pts_s,track_id")
    assert len(result.stdout.strip().splitlines()) == 4
    assert result.stderr == ""


def test_start_and_end_choose_frames_by_their_time(clip: Path, one_process: Path, tmp_path: Path) -> None:
    result = rtau(clip, "--out", tmp_path / "a.csv", "--config", one_process, "--start", 0.5, "--end", 0.7)
    assert result.exit_code == 0
    with (tmp_path / "a.csv").open() as file:
        times = [float(row["pts_s"]) for row in csv.DictReader(file)]
    assert times[0] == pytest.approx(0.5, abs=0.002)
    assert times[-1] < 0.7
    assert len(times) == 6


def test_max_faces_bounds_the_rows(tmp_path: Path, one_process: Path) -> None:
    import cv2

    image = film.picture((640, 360), [(160.0, 180.0, 90.0, 0.0), (480.0, 180.0, 90.0, 0.0)])
    cv2.imwrite(str(tmp_path / "two.png"), image[..., ::-1])
    for most in (1, 2):
        out = tmp_path / f"{most}.csv"
        assert rtau(tmp_path / "two.png", "--out", out, "--max-faces", most, "--config", one_process).exit_code == 0
        assert len(out.read_text().strip().splitlines()) == 1 + most


@pytest.mark.parametrize(
    ("make", "said", "code"),
    [
        (lambda path: None, "no such file", 3),
        (lambda path: path.mkdir(), "is a folder", 3),
        (lambda path: path.write_text("hello\n" * 100), "not a video or image", 3),
        (lambda path: path.write_bytes(b""), "not a video or image", 3),
    ],
)
def test_input_that_is_no_video(tmp_path: Path, make: object, said: str, code: int) -> None:
    source = tmp_path / "film.mp4"
    make(source)  # type: ignore[operator]
    result = rtau(source, "--out", tmp_path / "aus.csv")
    assert result.exit_code == code
    assert said in the_line(result)
    assert str(source) in the_line(result)
    assert not (tmp_path / "aus.csv").exists()


def test_an_unreadable_file_is_named(clip: Path, tmp_path: Path) -> None:
    source = tmp_path / "locked.mp4"
    source.write_bytes(clip.read_bytes())
    source.chmod(0)
    if os.access(source, os.R_OK):
        pytest.skip("this user may read everything")
    result = rtau(source, "--out", tmp_path / "aus.csv")
    assert result.exit_code == 3
    assert "locked.mp4" in the_line(result)


@pytest.mark.parametrize(
    ("out", "said"),
    [("no/such/folder/aus.csv", "does not exist"), ("aus.xlsx", ".csv or .parquet"), ("old.csv", "--overwrite")],
)
def test_output_that_cannot_be(clip: Path, tmp_path: Path, out: str, said: str) -> None:
    (tmp_path / "old.csv").write_text("precious")
    result = rtau(clip, "--out", tmp_path / out)
    assert result.exit_code == 5
    assert said in the_line(result)
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_a_full_disk_ends_the_run_with_nothing_left(clip: Path, one_process: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        result = rtau(clip, "--out", folder / "aus.csv", "--config", one_process)
        assert result.exit_code == 5
        assert "disk is full" in the_line(result)
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_an_unknown_option_in_the_yaml_names_file_and_key(clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("faces: {max_feces: 3}")
    result = rtau(clip, "--out", tmp_path / "aus.csv", "--config", config)
    assert result.exit_code == 6
    assert "bad.yaml" in the_line(result)
    assert "max_feces" in the_line(result)


def test_a_device_that_is_not_there_is_refused(clip: Path, tmp_path: Path) -> None:
    result = rtau(clip, "--out", tmp_path / "aus.csv", "--device", "cuda")
    assert result.exit_code == 8
    assert "--device cpu" in the_line(result)


def test_weights_that_are_not_there_are_named(clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"au: {{encoder: {tmp_path / 'nowhere'}}}")
    result = rtau(clip, "--out", tmp_path / "aus.csv", "--config", config)
    assert result.exit_code == 7
    assert "nowhere" in the_line(result)


def test_a_file_that_was_cut_off_gives_its_rows_and_says_so(long_clip: Path, one_process: Path, tmp_path: Path) -> None:
    """A Matroska file can be read up to the cut."""
    import av

    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    with av.open(str(long_clip)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is None or packet.pts * packet.time_base > 4:
                continue
            packet.stream = stream
            target.mux(packet)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = rtau(cut, "--out", tmp_path / "aus.csv", "--config", one_process, "--quiet")
    assert result.exit_code == 4, result.stderr
    assert the_line(result).endswith("the file is cut off; rows up to there were written")
    assert len((tmp_path / "aus.csv").read_text().splitlines()) > 10
    assert json.loads((tmp_path / "aus.csv.meta.json").read_text())["state"] == "damaged"


def test_ctrl_c_keeps_what_was_decoded(long_clip: Path, tmp_path: Path) -> None:
    process = start(long_clip, "--out", tmp_path / "aus.csv", "--quiet")
    wait_for_rows(tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.startswith("Error: stopped")
    with (tmp_path / "aus.csv").open() as file:
        frames = [int(row["frame"]) for row in csv.DictReader(file)]
    assert frames == list(range(len(frames)))
    assert 10 < len(frames) < 3000
    assert json.loads((tmp_path / "aus.csv.meta.json").read_text())["state"] == "interrupted"


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing(long_clip: Path, tmp_path: Path) -> None:
    process = start(long_clip, "--out", tmp_path / "aus.csv", "--quiet")
    wait_for_rows(tmp_path)
    for worker in workers(process):
        worker.suspend()  # so that the first one cannot end the run
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "at once" in said
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_ends_the_run_in_under_two_seconds(long_clip: Path, tmp_path: Path) -> None:
    process = start(long_clip, "--out", tmp_path / "aus.csv", "--quiet")
    wait_for_rows(tmp_path)
    workers(process)[1].kill()
    started = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - started < 2
    assert process.returncode == 9
    assert "killed by signal 9" in said
    assert list(tmp_path.iterdir()) == []
