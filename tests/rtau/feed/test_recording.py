import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import rtau
from rtau.cli import main
from rtau.errors import DamagedSourceError, OutputError, RtauError, SourceError
from rtau.feed.config import FeedConfig
from rtau.feed.recording import Recorded, Recorder, read_recording, replay
from rtau.feed.wire import encoder, topic_of
from rtau.messages import AUFrame, Hello
from tests.rtau.feed import made_up

TIMEOUT_S = 20.0
STEP_NS = 20_000_000


def messages(count: int = 5) -> list[Recorded]:
    """A hello, frames 20 ms apart, and bytes that no schema knows."""
    sent = [made_up.hello(), *(made_up.frame(i, made_up.face()) for i in range(count))]
    encode = encoder("msgpack")
    made = [Recorded(i * STEP_NS, topic_of(m).encode(), encode(m)) for i, m in enumerate(sent)]  # type: ignore[arg-type]
    return [*made, Recorded(len(made) * STEP_NS, b"odd.topic", b"\x00\xff" * 100)]


def write_all(recorder: Recorder, recorded: list[Recorded]) -> None:
    for t_ns, topic, payload in recorded:
        recorder.write(topic, payload, t_ns)


def write(path: Path, recorded: list[Recorded]) -> Path:
    with Recorder(path) as recorder:
        write_all(recorder, recorded)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "a.rtaufeed", messages())


@contextmanager
def replaying(path: Path, **options: Any) -> Iterator[str]:
    """A replay in a thread that waits for the first subscriber; yields the endpoint."""
    endpoints: queue.Queue[tuple[str, ...]] = queue.Queue()
    config = FeedConfig(endpoints=("tcp://127.0.0.1:*",))
    failed: list[BaseException] = []

    def run() -> None:
        try:
            replay(path, config, started=endpoints.put, **({"wait": True} | options))
        except RtauError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield endpoints.get(timeout=TIMEOUT_S)[0]
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def rtau_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_what_is_written_is_read(recording: Path) -> None:
    assert list(read_recording(recording)) == messages()


def test_the_format_is_as_documented(tmp_path: Path) -> None:
    data = write(tmp_path / "x", [Recorded(1234, b"au.cam", b"\x80")]).read_bytes()
    assert data[:16] == b"rtaufeed\x01\0\0\0\0\0\0\0"
    assert data[32:] == b"\x06\0\0\0\x01\0\0\0\xd2\x04\0\0\0\0\0\0au.cam\x80"


def test_a_recording_that_breaks_off_is_good_up_to_there(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    bounds = [32]
    for _, topic, payload in messages():
        bounds.append(bounds[-1] + 16 + len(topic) + len(payload))
    assert bounds[-1] == len(data)
    cut = tmp_path / "cut"
    for end in sorted({*range(32, len(data), 17), *bounds[:-1], *(bound + 15 for bound in bounds[:-1])}):
        cut.write_bytes(data[:end])
        read = read_recording(cut)
        whole = sum(bound <= end for bound in bounds) - 1
        assert [next(read) for _ in range(whole)] == messages()[:whole]
        if end not in bounds:
            with pytest.raises(DamagedSourceError, match=f"breaks off after {whole} messages"):
                next(read)
        else:
            assert list(read) == []


def test_nonsense_in_the_middle_ends_the_reading(recording: Path) -> None:
    data = bytearray(recording.read_bytes())
    data[32:36] = b"\xff\xff\xff\xff"
    recording.write_bytes(data)
    with pytest.raises(DamagedSourceError, match="after 0 messages"):
        list(read_recording(recording))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a recording"),
        (b"rtaufeed", "is not a recording"),
        (b"frame,pts_s\n" * 10, "is not a recording"),
        (b"rtaufeed\x02" + bytes(23), "version 2"),
    ],
)
def test_a_file_that_is_no_recording(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x").write_bytes(content)
    result = rtau_command("replay", tmp_path / "x", "--publish", "tcp://127.0.0.1:*")
    assert result.exit_code == SourceError.exit_code
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = rtau_command("replay", tmp_path / "x", "--publish", "tcp://127.0.0.1:*")
    assert result.exit_code == SourceError.exit_code
    assert "no such file" in result.stderr


def test_a_recording_without_messages(tmp_path: Path) -> None:
    path = write(tmp_path / "x", messages())
    path.write_bytes(path.read_bytes()[:32])
    result = rtau_command("replay", path, "--publish", "tcp://127.0.0.1:*", "--loop")
    assert result.exit_code == SourceError.exit_code
    assert "holds no message" in result.stderr


def test_record_and_replay_are_byte_for_byte_at_the_same_pace(recording: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    with replaying(recording) as endpoint:
        result = rtau_command("record", endpoint, again, "--count", len(messages()), "--timeout", TIMEOUT_S)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == f"{len(messages())} messages in {again}\n"
    came = list(read_recording(again))
    assert [message[1:] for message in came] == [message[1:] for message in messages()]
    for before, after in pairwise(came):
        assert after.t_ns > before.t_ns
    lasted = came[-1].t_ns - came[0].t_ns
    assert 0.8 * STEP_NS * (len(came) - 1) < lasted < STEP_NS * (len(came) - 1) + 2_000_000_000


def test_replay_can_be_faster_and_go_on_for_ever(recording: Path) -> None:
    endpoint = "tcp://127.0.0.1:*"
    command = [sys.executable, "-m", "rtau", "replay", str(recording), "--publish", endpoint, "--loop", "--speed", "20"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        endpoint = process.stderr.readline().removeprefix("publishing on ").strip()
        with rtau.subscribe(endpoint, timeout_s=TIMEOUT_S) as subscription:
            indices = [message.frame_index for message in (next(subscription) for _ in range(20)) if message]
        assert indices == [(indices[0] + i) % 5 for i in range(20)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_who_comes_late_to_a_replay_gets_the_hello(tmp_path: Path) -> None:
    path = write(tmp_path / "long", messages(200))
    with replaying(path, speed=4.0) as endpoint:
        with rtau.subscribe(endpoint, ("au.",), timeout_s=TIMEOUT_S) as first:
            next(first)
            with rtau.subscribe(endpoint, ("hello.", "au."), timeout_s=TIMEOUT_S) as late:
                came = [next(late) for _ in range(20)]
    frames = [message.frame_index for message in came if isinstance(message, AUFrame)]
    assert frames[0] > 0
    assert [message for message in came if isinstance(message, Hello)] == [made_up.hello()]


def test_a_cut_recording_is_replayed_up_to_the_cut(recording: Path) -> None:
    with recording.open("r+b") as file:
        file.truncate(recording.stat().st_size - 1)
    came = []
    with pytest.raises(DamagedSourceError, match="breaks off after 6 messages"):
        with replaying(recording) as endpoint, rtau.subscribe(endpoint, timeout_s=TIMEOUT_S) as subscription:
            came = [next(subscription) for _ in range(5)]
    assert len(came) == 5


def test_a_recording_is_not_replaced_unasked(recording: Path) -> None:
    before = recording.read_bytes()
    result = rtau_command("record", "tcp://127.0.0.1:9", recording, "--timeout", 0.1)
    assert result.exit_code == OutputError.exit_code
    assert "--overwrite" in result.stderr
    assert recording.read_bytes() == before
    result = rtau_command("record", "tcp://127.0.0.1:9", recording, "--timeout", 0.1, "--overwrite")
    assert result.exit_code == 10
    assert "no message in 0.1 s" in result.stderr
    assert recording.read_bytes() == before  # nothing has come that could replace it
    with Recorder(recording, overwrite=True) as recorder:
        recorder.write(b"au.cam", b"\x80", 5)
    assert list(read_recording(recording)) == [Recorded(5, b"au.cam", b"\x80")]


def test_where_nothing_comes_no_file_is_left_that_stops_the_next_try(tmp_path: Path) -> None:
    for _ in range(2):
        result = rtau_command("record", "tcp://127.0.0.1:9", tmp_path / "x", "--timeout", 0.1)
        assert result.exit_code == 10
        assert "no message in 0.1 s" in result.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_in_between_is_not_replaced_unasked(tmp_path: Path) -> None:
    with Recorder(tmp_path / "x") as recorder:
        (tmp_path / "x").write_bytes(b"of somebody else")
        with pytest.raises(OutputError, match="cannot be written"):
            recorder.write(b"au.cam", b"\x80", 5)
    assert (tmp_path / "x").read_bytes() == b"of somebody else"


def test_output_that_cannot_be(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "no" / "file"):
        result = rtau_command("record", "tcp://127.0.0.1:9", out, "--timeout", 0.1)
        assert result.exit_code == OutputError.exit_code
        assert str(out) in result.stderr


def test_a_full_disk_keeps_whole_messages(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        recorder = Recorder(folder / "x")
        with pytest.raises(OutputError, match="messages are kept"):
            write_all(recorder, messages() * 10)
        assert len(list(read_recording(folder / "x"))) == recorder.messages > 3
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_ctrl_c_ends_a_recording_well(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with made_up.publisher() as feed:
        command = [sys.executable, "-m", "rtau", "record", feed.endpoints[0], str(out)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            made_up.wait_for_subscription(feed)
            index = 0
            while not out.exists() or out.stat().st_size < 10_000:
                feed.send("au.cam", made_up.frame(index))
                index += 1
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, said
        finally:
            process.kill()
            process.wait()
    count = len(list(read_recording(out)))
    assert f"{count} messages in {out}" in said


def test_a_killed_recorder_leaves_a_readable_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with made_up.publisher() as feed:
        process = subprocess.Popen([sys.executable, "-m", "rtau", "record", feed.endpoints[0], str(out)])
        try:
            made_up.wait_for_subscription(feed)
            index = 0
            while not out.exists() or out.stat().st_size < 10_000:
                feed.send("au.cam", made_up.frame(index))
                index += 1
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert len(list(read_recording(out))) > 10
