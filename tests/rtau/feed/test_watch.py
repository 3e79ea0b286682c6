import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from rtau.cli import main
from rtau.errors import FeedError
from rtau.feed.recording import Recorder
from rtau.feed.watch import View, lines
from rtau.feed.wire import AnyMessage, encoder, topic_of
from tests.rtau.feed import made_up
from tests.rtau.feed.test_recording import replaying

TIMEOUT_S = 20.0


def picture(view: View, *counts: str) -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(view.render(*counts))
        return console.export_text()


def recording(path: Path, *messages: AnyMessage) -> Path:
    with Recorder(path) as recorder:
        for i, message in enumerate(messages):
            recorder.write(topic_of(message).encode(), encoder("msgpack")(message), i * 1_000_000)
    return path


def watch(path: Path, *options: object) -> Result:
    """The command's output on a recording."""
    with replaying(path) as endpoint:
        return CliRunner().invoke(main, ["watch", endpoint, "--timeout", "20", *(str(option) for option in options)])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (made_up.frame(32, made_up.face()), ["cam 1.000 face 1 AU06=0.84 AU12=0.91"]),
        (
            made_up.frame(0, made_up.face(person_id="ada"), made_up.face(7, intensity=[0.0] * 3, low_quality=True)),
            ["cam 0.000 face 1 ada AU06=0.84 AU12=0.91", "cam 0.000 face 7 low_quality no AU"],
        ),
        (made_up.frame(16), ["cam 0.500 no_face"]),
        (made_up.event(), ["cam track_started track 2 frame 1"]),
        (made_up.event(kind="source_lost", track_id=None, frame_index=None, text="gone"), ["cam source_lost gone"]),
        (
            made_up.hello(),
            ["cam camera 0 1280x720 mjpeg 32 fps, rtau 0.1.0 on openvino-cpu, weights aunce-1-0123abcd"],
        ),
        (
            made_up.health(),
            ["cam live, 32.0 fps in, 31.5 out, dropped newest_wins 2; ms p50/p99: faces 5.5/8.2, total 12.0/20.5"],
        ),
        (
            made_up.run_health(),
            ["rtau 1 processes, 1 restarts, 0.75 cores, 858 MiB, 2 subscribers, 1 overflows"],
        ),
    ],
)
def test_lines(message: AnyMessage, expected: list[str]) -> None:
    assert list(lines(message)) == expected


def test_text_from_the_network_cannot_command_the_terminal() -> None:
    evil = "\x1b]0;owned\x07[bold]\r\n"
    source = msgspec.structs.replace(made_up.hello().source, name=evil)
    said = [
        *lines(made_up.event(source_id=evil, kind=evil, text=evil)),
        *lines(made_up.frame(0, made_up.face(person_id=evil), source_id=evil, aus=(evil, evil, evil))),
        *lines(msgspec.structs.replace(made_up.hello(evil), engine=evil, source=source)),
    ]
    assert all(line.isprintable() for line in said)
    view = View("tcp://x")
    view.add(made_up.frame(0, made_up.face(person_id=evil), source_id=evil, aus=(evil, evil, evil)))
    view.add(made_up.event(source_id=evil, kind=evil, text=evil))
    assert "\x1b" not in picture(view)
    assert "[bold]" in picture(view)


def test_the_view_shows_the_newest_state() -> None:
    view = View("tcp://127.0.0.1:5570", clock=iter(range(100)).__next__)
    assert "waiting for tcp://127.0.0.1:5570" in picture(view)
    view.add(made_up.hello())
    view.add(made_up.health())
    view.add(made_up.run_health())
    view.add(made_up.event())
    view.add(made_up.frame(9, made_up.face(), made_up.face(2, low_quality=True), seq=4))
    shown = picture(view, "missed 2", "malformed 1")
    assert "cam  1280x720  0.28 s  live  32.0 fps in  31.5 out  dropped newest_wins 2" in shown
    assert [line.split() for line in shown.splitlines() if line.split()[:1] in (["ms"], ["p50"], ["p99"])] == [
        ["ms", "faces", "total"],
        ["p50", "5.5", "12.0"],
        ["p99", "8.2", "20.5"],
    ]
    assert "openvino-cpu, weights aunce-1-0123abcd" in shown
    assert "track_started track 2" in shown
    assert "2 subscribers" in shown
    assert "missed 2  malformed 1" in shown
    rows = [line.split() for line in shown.splitlines() if "AU" in line]
    assert rows[0][:3] == ["face", "1", "AU12"]
    assert rows[0][3] == "██████░░░░"
    assert rows[0][4:] == ["3.2", "p", "0.91"]
    assert rows[3][:4] == ["face", "2", "low_quality", "AU12"]


def test_frames_alone_tell_of_drops_too() -> None:
    view = View("tcp://x")
    view.add(made_up.frame(0, seq=0))
    view.add(made_up.frame(3, seq=1))  # frames 1 and 2 were dropped by the pipeline
    view.add(made_up.frame(9, seq=4))  # these were lost on the way
    assert "dropped 2" in picture(view)


def test_frames_a_second_are_those_of_the_last_moment_and_none_is_silence() -> None:
    now = [100.0]
    view = View("tcp://x", clock=lambda: now[0])
    for index in range(9):
        view.add(made_up.frame(index, seq=index))
        assert ("fps" in picture(view)) == (index > 0)
        now[0] += 0.25
    assert "4.0 fps" in picture(view)
    now[0] += 2.0
    assert "silent" in picture(view)


def test_watch_prints_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    path = recording(tmp_path / "x", made_up.hello(), made_up.frame(0, made_up.face()), made_up.frame(1))
    result = watch(path, "--count", 3)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "cam camera 0 1280x720 mjpeg 32 fps, rtau 0.1.0 on openvino-cpu, weights aunce-1-0123abcd",
        "cam 0.000 face 1 AU06=0.84 AU12=0.91",
        "cam 0.031 no_face",
    ]


def test_watch_json_gives_every_message_whole(tmp_path: Path) -> None:
    frame = made_up.frame(0, made_up.face())
    path = recording(tmp_path / "x", made_up.event(), frame)
    with path.open("ab") as file:  # what this version does not know is shown all the same
        file.write(b"\x03\0\0\0\x01\0\0\0" + bytes(8) + b"x.y" + b"\x80")
    result = watch(path, "--json", "--count", 3)
    assert result.exit_code == 0, result.stderr
    event, shown, unknown = (json.loads(line) for line in result.stdout.splitlines())
    assert event["topic"] == "event.cam"
    assert shown == {"topic": "au.cam", "message": json.loads(msgspec.json.encode(frame))}
    assert unknown == {"topic": "x.y", "message": {}}


@pytest.mark.parametrize(
    "foreign",
    [
        b"\xc1",  # no MessagePack
        b"\x81\xa1x\xd4\x05\x00",  # an extension type
        b"\x81\xc0\x01",  # a null key
        b"\x81\x80\x01",  # a map as a key
        b"\x81\x91\x01\x01",  # a list as a key
        b"\x91" * 100_000,
    ],
    ids=lambda payload: payload[:6].hex(),
)
def test_watch_skips_what_cannot_be_shown(tmp_path: Path, foreign: bytes) -> None:
    with Recorder(tmp_path / "x") as recorder:
        recorder.write(b"au.cam", foreign, 0)
        recorder.write(b"au.cam", encoder("msgpack")(made_up.frame(0)), 1)
    result = watch(tmp_path / "x", "--json", "--count", 2)
    assert result.exit_code == 0, result.exception
    assert len(result.stdout.splitlines()) == 1
    assert "au.cam: skipped" in result.stderr
    assert len([line for line in result.stderr.splitlines() if "skipped" in line]) == 1


def test_json_cannot_command_the_terminal_either(tmp_path: Path) -> None:
    evil = "\x1b[2J\x7f\x85\x9b31m\u2028\u202e\U000e0041 Zoë 😀\n"
    result = watch(recording(tmp_path / "x", made_up.event(text=evil)), "--json", "--count", 1)
    (line,) = result.stdout.splitlines()
    assert line.isprintable()
    assert "\\u009b31m" in line
    assert "Zoë 😀" in line
    assert json.loads(line)["message"]["text"] == evil


def test_topics_choose(tmp_path: Path) -> None:
    path = recording(tmp_path / "x", made_up.frame(0), made_up.event(), made_up.frame(1))
    assert watch(path, "--topic", "event.", "--count", 1).stdout == "cam track_started track 2 frame 1\n"


def test_nobody_there_is_one_line_and_an_exit_code() -> None:
    result = CliRunner().invoke(main, ["watch", "tcp://127.0.0.1:9", "--timeout", "0.05"])
    assert result.exit_code == FeedError.exit_code == 10
    assert result.stderr == "Error: tcp://127.0.0.1:9: no message in 0.05 s; is the publisher running?\n"


def test_a_terminal_gets_a_picture(tmp_path: Path) -> None:
    path = recording(tmp_path / "x", *(made_up.frame(i, made_up.face(), seq=i) for i in range(5)))
    ours, theirs = pty.openpty()
    with replaying(path) as endpoint:
        command = [sys.executable, "-m", "rtau", "watch", endpoint, "--count", "5", "--timeout", "20"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment)
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
        _, problem = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, problem
    assert "AU12" in said.decode()
    assert "██████░░░░" in said.decode()


def test_keys_new_prints_what_it_made(tmp_path: Path) -> None:
    arguments = ["keys", "new", str(tmp_path / "keys"), "--client", "ada"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(tmp_path / "keys" / name) for name in ("server", "ada")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == FeedError.exit_code
    assert "exists already" in result.stderr
