"""Whatever dies, hangs, ends or jumps: the run goes on, or stops loudly, within its timeout, and leaves nothing."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

import rtau
from rtau import pipeline
from rtau.config import LiveConfig, PipelineConfig, SourceConfig
from rtau.errors import WorkerError
from rtau.live import Live
from rtau.messages import AUFrame, Event, Health, Message, RunHealth
from rtau.runtime.shared import SharedStage
from rtau.runtime.supervisor import Layout
from tests.rtau import film
from tests.rtau.leftovers import left_over
from tests.rtau.live import servers, stages
from tests.rtau.live.following import QUICK, follow, frames, kinds


def restarts(message: Message) -> int:
    return max((p.restarts for p in message.processes), default=0) if isinstance(message, RunHealth) else 0


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

    with servers.Stalling(film.as_mpegts(clip)) as server:
        _, heard = follow([SourceConfig(path=server.address, policy="newest")], hear, config)
    lost = next(m for m in heard if isinstance(m, Event) and m.kind in ("source_lost", "worker_restarted"))
    assert lost.kind == "source_lost"  # nothing of the pipeline died: it may stall as often as it likes
    assert "came for 1 s" in lost.text  # said by FFmpeg's own timeout, or by ours where there is none
    assert [frame.frame_index for frame in frames(heard)] == sorted({frame.frame_index for frame in frames(heard)})


def test_an_rtsp_server_may_come_late_stop_and_come_back(clip: Path) -> None:
    story: list[str] = []

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, Event) and message.kind in ("source_lost", "source_back"):
            story.append(message.kind)
            if message.kind == "source_lost" and story.count("source_lost") in (1, 3):
                server.start()
        if isinstance(message, AUFrame) and story.count("source_back") == 1 and "stopped" not in story:
            story.append("stopped")
            server.stop()
        if isinstance(message, AUFrame) and story.count("source_back") == 2:
            live.stop()

    with servers.Rtsp(film.as_mpegts(clip, times=60)) as server:
        server.stop()
        live, heard = follow(
            [SourceConfig(path=server.address, options={"rtsp_transport": "tcp"}, policy="newest")], hear
        )
    assert story == ["source_lost", "source_back", "stopped", "source_lost", "source_lost", "source_back"]
    indices = [frame.frame_index for frame in frames(heard)]
    assert indices == sorted(set(indices))
    assert live.counts["0"].problem is None


def test_a_frame_that_makes_a_stage_raise_costs_a_restart_of_its_source(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    normal = pipeline.layout

    def with_a_trap(config: PipelineConfig, source: SourceConfig, aus: SharedStage) -> Layout:
        return normal(config, source, aus)._replace(stages=[("faces", stages.RaisingOnce())])

    monkeypatch.setattr(pipeline, "layout", with_a_trap)

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, AUFrame) and message.frame_index > 25:
            live.stop()

    _, heard = follow([SourceConfig(path=str(clip), realtime=True, loop=True, policy="newest")], hear)
    died = [m.text for m in heard if isinstance(m, Event) and m.kind == "worker_restarted"]
    assert died
    assert set(died) == {"faces: ZeroDivisionError: frame 10"}


def test_a_lost_device_costs_a_fresh_process_and_no_frame_is_counted_twice(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtau.pipeline.on_gpu", lambda config: True)
    monkeypatch.setattr("rtau.live.shared_aus", lambda config: SharedStage("faces_au", stages.losing_its_device, 0.0))
    again: set[str] = set()

    def hear(live: Live, message: Message) -> None:
        if isinstance(message, Event) and message.kind == "source_back":
            again.add(message.source_id)
        if isinstance(message, AUFrame) and again == {"0", "1"}:
            live.stop()

    sources = [SourceConfig(path=str(clip), source_id=n, realtime=True, loop=True, policy="newest") for n in "01"]
    live, heard = follow(sources, hear)
    for name in "01":
        died = [m.text for m in heard if isinstance(m, Event) and m.kind == "worker_restarted" and m.source_id == name]
        assert set(died) == {"NVIDIA H100 (cuda:0) failed; use --device cpu"}
        came = [frame.frame_index for frame in frames(heard, name)]
        assert came == sorted(set(came))
        assert live.counts[name].published == len(came)
        assert live.counts[name].captured > came[-1]
        last = [m for m in heard if isinstance(m, Health) and m.source_id == name][-1]
        assert last.captured == last.published + last.dropped["busy"]


def test_a_defect_in_following_a_source_ends_the_run_instead_of_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("rtau.chain.InProcesses", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        follow([SourceConfig(path="any.mp4")])


def test_ctrl_c_does_not_wait_for_a_server_that_says_nothing(tmp_path: Path) -> None:
    with servers.Mute() as server:
        command = [sys.executable, "-m", "rtau", "stream", "--source", server.address, "--quiet"]
        process = subprocess.Popen(
            [*command, "--publish", f"ipc://{tmp_path / 'feed'}"], stderr=subprocess.PIPE, text=True
        )
        try:
            assert server.asked.wait(60)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "")


def streaming(clip: Path, endpoint: str) -> list[str]:
    """The command in a process of its own."""
    options = ["--source", str(clip), "--loop", "--publish", endpoint, "--quiet"]
    return [sys.executable, "-m", "rtau", "stream", *options]


def test_a_killed_command_leaves_no_process_and_no_shared_memory(clip: Path, tmp_path: Path) -> None:
    endpoint, before = f"ipc://{tmp_path / 'feed'}", left_over()
    process = subprocess.Popen(streaming(clip, endpoint), stderr=subprocess.DEVNULL)
    try:
        with rtau.subscribe(endpoint, timeout_s=60) as feed:
            next(feed)
        everybody = psutil.Process(process.pid).children(recursive=True)
        assert len(everybody) >= 3
    finally:
        process.kill()
        process.wait(10)
    _, alive = psutil.wait_procs(everybody, timeout=10)
    assert not alive
    assert left_over() <= before


WALL_CLOCK_THAT_JUMPS = """
import time
_true, _true_ns, _begun = time.time, time.time_ns, time.monotonic()
def _jump(): return 0 if time.monotonic() < _begun + 5 else -3600 if int(time.monotonic()) % 2 else 86400
time.time = lambda: _true() + _jump()
time.time_ns = lambda: _true_ns() + _jump() * 10**9
"""


def test_a_wall_clock_that_jumps_changes_wall_times_only(clip: Path, tmp_path: Path) -> None:
    """In every process of the run the clock goes back by an hour and on by a day, again and again."""
    (tmp_path / "sitecustomize.py").write_text(WALL_CLOCK_THAT_JUMPS)
    endpoint = f"ipc://{tmp_path / 'feed'}"
    process = subprocess.Popen(streaming(clip, endpoint), env=os.environ | {"PYTHONPATH": str(tmp_path)})
    came: list[AUFrame | Health] = []
    try:
        with rtau.subscribe(endpoint, ("au.", "health.0"), timeout_s=60) as feed:
            for message in feed:
                assert isinstance(message, (AUFrame, Health))
                came.append(message)
                seen = [m for m in came if isinstance(m, AUFrame)]
                walls = [m.wall_capture_ns - m.t_capture_ns for m in seen]
                if (
                    walls
                    and max(walls) - min(walls) > 20 * 3600e9
                    and message.t_publish_ns > came[0].t_publish_ns + 6e9
                ):
                    break
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    times = [m.t_capture_ns for m in seen]
    assert times == sorted(times)
    assert [m.frame_index for m in seen] == sorted({m.frame_index for m in seen})
    steps = [b.time_s - a.time_s for a, b in itertools.pairwise(seen)]
    assert min(steps) > 0
    assert max(steps) < 5
    health = [m.t_publish_ns / 1e9 for m in came if isinstance(m, Health)]
    assert all(0.5 < b - a < 3 for a, b in itertools.pairwise(health))
