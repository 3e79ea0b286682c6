"""Live sources over real processes: what comes is what was captured, and nothing that dies takes the rest along."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from rtau.config import LiveConfig, PipelineConfig, SourceConfig
from rtau.errors import SourceError, WorkerError
from rtau.feed.config import FeedConfig
from rtau.feed.publisher import Publisher
from rtau.live import Live
from rtau.messages import AUFrame, Event, Health, Message, RunHealth
from rtau.pipeline import journey
from tests.rtau import film

QUICK = PipelineConfig(live=LiveConfig(first_pause_s=0.05, stall_timeout_s=5.0))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film.face_clip(tmp_path_factory.mktemp("clips") / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)])


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    yield
    if os.path.isdir("/dev/shm"):
        assert {name for name in os.listdir("/dev/shm") if name.startswith("psm_")} <= before


def follow(
    sources: list[SourceConfig],
    hear: Callable[[Live, Message], None] = lambda live, message: None,
    config: PipelineConfig = QUICK,
) -> tuple[Live, list[Message]]:
    """Run to the end; `hear` sees every message at once."""
    heard: list[Message] = []
    with Publisher(FeedConfig(endpoints=("tcp://127.0.0.1:*",))) as publisher:
        live = Live(config, sources, publisher)

        def on_message(message: Message) -> None:
            heard.append(message)
            hear(live, message)

        live.run(on_message)
    return live, heard


def frames(heard: list[Message], source: str = "0") -> list[AUFrame]:
    return [message for message in heard if isinstance(message, AUFrame) and message.source_id == source]


def kinds(heard: list[Message], source: str = "0") -> list[str]:
    return [message.kind for message in heard if isinstance(message, Event) and message.source_id == source]


def restarts(message: Message) -> int:
    return max((p.restarts for p in message.processes), default=0) if isinstance(message, RunHealth) else 0


def untimed(frame: AUFrame) -> AUFrame:
    return msgspec.structs.replace(frame, t_capture_ns=0, wall_capture_ns=0, t_publish_ns=0, seq=0)


def test_live_frames_equal_those_of_the_file(clip: Path) -> None:
    live, heard = follow([SourceConfig(path=str(clip))])
    assert [untimed(f) for f in frames(heard)] == [
        untimed(f) for f in journey(PipelineConfig(), SourceConfig(path=str(clip)))
    ]
    assert (live.counts["0"].captured, live.counts["0"].dropped) == (30, 0)
    assert kinds(heard) == ["track_started", "track_ended", "source_ended"]


def test_captured_is_published_and_dropped_when_the_source_is_too_fast(clip: Path) -> None:
    source = SourceConfig(path=str(clip), policy="newest", loop=True)  # as fast as it decodes

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.seq == 40:
            live.stop()

    live, heard = follow([source], hear)
    counts, seen = live.counts["0"], frames(heard)
    last = [message for message in heard if isinstance(message, Health)][-1]
    assert counts.dropped > 0
    assert counts.captured == counts.published + counts.dropped
    assert counts.published == len(seen)
    assert (last.captured, last.published, sum(last.dropped.values())) == (counts.captured, len(seen), counts.dropped)
    gaps = sum(b.frame_index - a.frame_index - 1 for a, b in itertools.pairwise(seen))
    told = sum(m.count or 0 for m in heard if isinstance(m, Event) and m.kind == "frames_dropped")
    assert gaps + seen[0].frame_index == told
    ages = sorted(f.t_publish_ns - f.t_capture_ns for f in seen[5:])
    assert ages[len(ages) // 2] < 1e9  # the newest frame, not a queue


@pytest.mark.parametrize("victim", ["decode", "faces", "au"])
def test_a_killed_process_is_started_again_and_the_other_source_goes_on(clip: Path, victim: str) -> None:
    killed: list[str] = []

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, RunHealth) and not killed and {"0", "1"} <= set(seen):
            (process,) = [p for p in message.processes if p.name == ("au" if victim == "au" else f"{victim}.0")]
            os.kill(process.pid, signal.SIGKILL)
            killed.append(victim)
        if isinstance(message, AUFrame):
            seen.setdefault(message.source_id, 0)
            seen[message.source_id] += 1
        if isinstance(message, Event) and message.kind == "source_back":
            back.append(dict(seen))
        if back and seen["0"] > back[0]["0"] + 3 and restarts(message) == 1:
            live.stop()

    seen: dict[str, int] = {}
    back: list[dict[str, int]] = []
    paced = [SourceConfig(path=str(clip), source_id=n, realtime=True, loop=True, policy="newest") for n in "01"]
    _, heard = follow(paced, hear)
    assert "worker_restarted" in kinds(heard)
    assert ("worker_restarted" in kinds(heard, "1")) == (victim == "au")  # which serves both
    indices = [frame.frame_index for frame in frames(heard)]
    assert indices == sorted(set(indices))  # they go on counting
    tracks = {face.track_id for frame in frames(heard) for face in frame.faces}
    assert len(tracks) >= 2  # the face got a new id


def test_a_run_stops_loudly_when_processes_keep_dying(clip: Path) -> None:
    def hear(live: Live, message: Message) -> None:
        if isinstance(message, RunHealth):
            for process in message.processes:
                if process.name == "au":
                    os.kill(process.pid, signal.SIGKILL)

    config = msgspec.structs.replace(QUICK, live=msgspec.structs.replace(QUICK.live, max_restarts=1))
    source = SourceConfig(path=str(clip), realtime=True, loop=True, policy="newest")
    with pytest.raises(WorkerError, match="0: processes died 2 times"):
        follow([source], hear, config)


def test_a_lost_source_is_opened_again_and_goes_on_counting(clip: Path) -> None:
    source = SourceConfig(path=f"file://{clip}", policy="wait")  # an address: as a camera, it is expected back

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.frame_index == 45:
            live.stop()

    _, heard = follow([source], hear)
    assert kinds(heard)[:5] == ["track_started", "track_ended", "source_lost", "source_back", "track_started"]
    assert kinds(heard)[-1] == "source_ended"
    assert [frame.frame_index for frame in frames(heard)][:46] == list(range(46))
    assert {face.track_id for frame in frames(heard)[30:] for face in frame.faces} == {2}


def test_sources_come_and_go_while_the_others_are_followed(clip: Path) -> None:
    first, second = (SourceConfig(path=str(clip), source_id=n, realtime=True, loop=True, policy="newest") for n in "01")

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.source_id == "0" and message.seq == 10:
            live.add(second)
        if isinstance(message, AUFrame) and message.source_id == "1" and message.seq == 10:
            live.remove("0")
        if isinstance(message, Event) and (message.source_id, message.kind) == ("0", "source_ended"):
            after.append(message.t_ns)
        if after and isinstance(message, AUFrame) and message.t_capture_ns > after[0] + 3e8:
            live.remove("1")

    after: list[int] = []
    _, heard = follow([first], hear)
    assert [m.text for m in heard if isinstance(m, Event) and m.kind == "source_ended"] == ["no more frames"] * 2
    assert max(f.t_capture_ns for f in frames(heard, "0")) < after[0] < frames(heard, "1")[-1].t_capture_ns


def test_latency_by_stage_adds_up(clip: Path) -> None:
    _, heard = follow([SourceConfig(path=str(clip), realtime=True)])
    told = [m.latency_ms for m in heard if isinstance(m, Health) and m.latency_ms][-1]
    assert list(told) == ["queue", "faces", "au_queue", "au", "publish", "total"]
    assert all(0 <= span.p50 <= span.p99 for span in told.values())
    assert told["faces"].p50 + told["au"].p50 < told["total"].p99


@pytest.mark.parametrize("victim", ["decode", "faces", "au"])
def test_a_process_that_hangs_is_replaced_within_the_timeout(clip: Path, victim: str) -> None:
    config = msgspec.structs.replace(QUICK, live=LiveConfig(first_pause_s=0.05, stall_timeout_s=1.0))
    frozen: list[float] = []
    seen: list[bool] = []

    def hear(live: Live, message: Message) -> None:
        seen.append(isinstance(message, AUFrame))
        if isinstance(message, RunHealth) and not frozen and any(seen):
            (process,) = [p for p in message.processes if p.name == ("au" if victim == "au" else f"{victim}.0")]
            os.kill(process.pid, signal.SIGSTOP)
            frozen.append(time.monotonic())
        if isinstance(message, AUFrame) and frozen and message.t_capture_ns / 1e9 > frozen[0] + 0.9:
            live.stop()

    _, heard = follow([SourceConfig(path=str(clip), realtime=True, loop=True, policy="newest")], hear, config)
    assert kinds(heard).count("source_back") == 1


def test_an_address_that_stalls_is_lost_and_comes_back(clip: Path) -> None:
    """A camera or server that says nothing more without closing the line."""
    config = msgspec.structs.replace(QUICK, live=LiveConfig(first_pause_s=0.05, stall_timeout_s=1.0))

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, Event) and message.kind == "source_back":
            live.stop()

    with Stalling(film.as_mpegts(clip)) as server:
        _, heard = follow([SourceConfig(path=server.address, policy="newest")], hear, config)
    lost = next(m for m in heard if isinstance(m, Event) and m.kind in ("source_lost", "worker_restarted"))
    assert "no frame came for 1 s" in lost.text
    assert [frame.frame_index for frame in frames(heard)] == sorted({frame.frame_index for frame in frames(heard)})


class Stalling:
    """A server that sends half a film to everybody who comes, and then nothing, with the line open."""

    def __init__(self, film: bytes) -> None:
        self._film, self._listener, self._lines = film, socket.create_server(("127.0.0.1", 0)), list[socket.socket]()
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Stalling":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in [self._listener, *self._lines]:
            line.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._lines.append(line)
                line.sendall(self._film[: len(self._film) * 2 // 3])


def test_a_missing_file_ends_its_source_only(clip: Path) -> None:
    live, heard = follow([SourceConfig(path="nowhere.mp4", source_id="a"), SourceConfig(path=str(clip), source_id="b")])
    assert kinds(heard, "a") == ["source_ended"]
    assert isinstance(live.counts["a"].problem, SourceError)
    assert len(frames(heard, "b")) == 30


def test_the_command_publishes_records_and_ends_on_a_signal(clip: Path, tmp_path: Path) -> None:
    import rtau

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


def test_the_processes_of_a_gpu_drop_and_count_as_others_do(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces and AUs in one process for both sources; the networks run on the CPU here."""
    monkeypatch.setattr("rtau.pipeline.on_gpu", lambda config: True)
    lossy = SourceConfig(path=str(clip), source_id="lossy", realtime=True, policy="newest")
    live, heard = follow([lossy, SourceConfig(path=str(clip), source_id="file")])
    assert len(frames(heard, "file")) == 30
    counts = live.counts["lossy"]
    assert (counts.captured, counts.published) == (30, len(frames(heard, "lossy")))
    assert counts.published > 0
    told = [m for m in heard if isinstance(m, RunHealth)][-1]
    assert {p.name for p in told.processes} >= {"publisher", "faces_au"}
    latencies = [m.latency_ms for m in heard if isinstance(m, Health) and m.latency_ms]
    assert list(latencies[-1]) == ["queue", "faces_au", "publish", "total"]
