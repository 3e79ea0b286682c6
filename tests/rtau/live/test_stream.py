"""`rtau stream` as a user meets it."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import psutil

import rtau
from rtau.messages import AUFrame, Event, RunHealth
from tests.rtau import film


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


def test_the_rows_are_kept_when_the_reader_of_stdout_leaves(clip: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(clip), "--loop", "--log-json"]
    command += ["--publish", f"ipc://{tmp_path / 'feed'}", "--record", str(tmp_path / "rows.csv")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        next(line for line in process.stdout if "track_started" in line)
        process.stdout.close()
        assert process.wait(60) == 0, process.stderr.read()
    finally:
        process.kill()
        process.stderr.close()
    assert len((tmp_path / "rows.csv").read_text().splitlines()) > 1
    assert json.loads((tmp_path / "rows.csv.meta.json").read_text())["state"] == "interrupted"


def test_the_rows_are_kept_when_the_terminal_closes(clip: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(clip), "--loop"]
    process = subprocess.Popen(
        [*command, "--publish", f"ipc://{tmp_path / 'feed'}", "--record", str(tmp_path / "rows.csv")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # as a shell's: its end comes as SIGHUP
    )
    os.close(theirs)
    shown = ""
    try:
        while "face 1" not in shown:
            shown += os.read(ours, 65536).decode(errors="ignore")
        os.close(ours)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert len((tmp_path / "rows.csv").read_text().splitlines()) > 1
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_file_that_was_cut_off_is_damaged_in_its_sidecar_too(clip: Path, tmp_path: Path) -> None:
    import av

    whole = tmp_path / "whole.mkv"
    with av.open(str(clip)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 4])
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(tmp_path / "cut.mkv"), "--fast", "--quiet"]
    command += ["--publish", f"ipc://{tmp_path / 'feed'}", "--record", str(tmp_path / "rows.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    meta = json.loads((tmp_path / "rows.csv.meta.json").read_text())
    assert (meta["state"], f"Error: {meta['problem']}\n") == ("damaged", done.stderr)


def test_a_source_whose_process_died_is_interrupted_in_its_sidecar(tmp_path: Path) -> None:
    film_of_a_minute = film.write(
        tmp_path / "long.mp4",
        [film.picture((320, 240), [(160.0, 120.0, 90.0, 0.0)])] * 1800,
        [i / 30 for i in range(1800)],
    )
    endpoint = f"ipc://{tmp_path / 'feed'}"
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(film_of_a_minute), "--policy", "wait", "--quiet"]
    command += ["--publish", endpoint, "--record", str(tmp_path / "rows.csv")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        with rtau.subscribe(endpoint, topics=("au.", "health.rtau"), timeout_s=60) as feed:
            next(m for m in feed if isinstance(m, AUFrame))
            (faces,) = [
                p.pid for p in next(m for m in feed if isinstance(m, RunHealth)).processes if p.name == "faces.0"
            ]
        psutil.Process(faces).kill()
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 9, said
    meta = json.loads((tmp_path / "rows.csv.meta.json").read_text())
    assert meta["state"] == "interrupted"
    assert "killed by signal 9" in meta["problem"]


def test_edits_of_the_sources_file_count_while_it_runs(clip: Path, tmp_path: Path) -> None:
    file, endpoint = tmp_path / "sources.yaml", f"ipc://{tmp_path / 'feed'}"
    door, desk = (f"{{name: {name}, source: {clip}, loop: true}}" for name in ("door", "desk"))
    file.write_text(f"sources: [{door}]")
    command = [sys.executable, "-m", "rtau", "stream", "--sources", str(file), "--publish", endpoint]
    process = subprocess.Popen([*command, "--record", str(tmp_path / "rows.csv")], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        with rtau.subscribe(endpoint, topics=("au.", "event."), timeout_s=60) as feed:
            assert next(m for m in feed if isinstance(m, AUFrame)).source_id == "door"
            file.write_text(f"sources: [{door}, {{name: desk, sauce: x}}]")
            said = next(line for line in process.stderr if "sources stay" in line)
            assert said.startswith(f"Error: {file}: ")
            assert "sauce" in said
            file.write_text(f"sources: [{door}, {desk}]")
            assert next(m for m in feed if m.source_id == "desk" and isinstance(m, AUFrame)).frame_index >= 0
            file.write_text(f"sources: [{desk}]")
            gone = next(m for m in feed if isinstance(m, Event) and m.kind == "source_ended")
            assert (gone.source_id, gone.text) == ("door", "stopped")
            after = next(m for m in feed if isinstance(m, AUFrame))
            assert after.source_id == "desk"
            assert (tmp_path / "rows.door.csv").exists()  # it is whole, while the others are followed
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    assert len((tmp_path / "rows.desk.csv").read_text().splitlines()) > 1


def test_a_terminal_shows_what_there_is_to_know(clip: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rtau", "stream", "--source", str(clip), "--loop"]
    process = subprocess.Popen(
        [*command, "--publish", f"ipc://{tmp_path / 'feed'}"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    wanted = (
        "480x360",
        "fps in",
        "dropped",
        "p50",
        "p99",
        "au_queue",
        "face 1",
        "AU12",
        "█",
        "openvino-cpu",
        "rtau-au",
    )
    shown = ""
    try:
        while not all(word in shown for word in wanted):
            shown += os.read(ours, 65536).decode(errors="ignore")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while part := os.read(ours, 65536):
                shown += part.decode(errors="ignore")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert "published" in shown.splitlines()[-1]


def test_a_missing_camera_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rtau", "stream", "--camera", "97", "--publish", f"ipc://{tmp_path / 'feed'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("Error: camera 97: ")
    assert done.stderr.count("\n") == 1
