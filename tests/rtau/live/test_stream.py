"""`rtau stream` as a user meets it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rtau
from rtau.messages import AUFrame
from tests.rtau import film
from tests.rtau.live.following import segments


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film.face_clip(tmp_path_factory.mktemp("clips") / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)])


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = segments()
    yield
    assert segments() <= before


def test_the_command_publishes_records_and_ends_on_a_signal(clip: Path, tmp_path: Path) -> None:

    endpoint = f"ipc://{tmp_path / 'feed'}"
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(clip), "--loop", "--publish", endpoint]
    command += ["--record", str(tmp_path / "live.csv"), "--log-json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with rtau.subscribe(endpoint, topics=("au.", "hello."), timeout_s=60) as feed:
            first = [next(feed) for _ in range(10)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert any(isinstance(m, AUFrame) and m.faces for m in first)
    assert {json.loads(line)["type"] for line in out.splitlines()} >= {"Hello", "Event", "Health", "RunHealth"}
    rows = (tmp_path / "live.csv").read_text().splitlines()
    assert len(rows) >= 9  # a head and what was received


def test_a_missing_camera_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rtau", "stream", "--camera", "97", "--publish", f"ipc://{tmp_path / 'feed'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("Error: camera 97: ")
    assert done.stderr.count("\n") == 1
