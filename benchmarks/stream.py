"""`rtau stream` from paced files: drops, latency from capture to feed, processor time, subscribers, start.

    python -m benchmarks.stream --minutes 5 --write docs/benchmarks_stream.md
    python -m benchmarks.stream --soak 30                      (memory, file handles and shared memory over 30 minutes)

Latency is what a subscriber in another process reads from the feed: `t_publish_ns - t_capture_ns` of every frame.
"""

import datetime
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import av
import click
import numpy as np
import psutil
import zmq

import rtau
from benchmarks.make_clips import one_face
from rtau.messages import AUFrame, Health
from train.evaluation.document import replace_figures

ENDPOINT = "tcp://127.0.0.1:5583"


class Run(NamedTuple):
    """What a subscriber saw of one run."""

    latency_ms: list[float]
    captured: int
    published: int
    cores: float  # in use by all processes of the run
    publisher_cores: float
    first_s: float  # from the command to the first message


@click.command()
@click.option("--minutes", default=1.0, show_default=True, help="Of each measurement.")
@click.option("--clips", default="out", type=click.Path(path_type=Path), show_default=True)
@click.option("--soak", type=float, metavar="MINUTES", help="Only follow memory, handles and shared memory.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def main(minutes: float, clips: Path, soak: float | None, write: Path | None) -> None:
    """Measure and print."""
    clip = one_face(clips)
    if soak is not None:
        click.echo(soaked(clip, soak))
        return
    quick = faster(clip, clips / "one_face_120fps.mp4")
    rows = []
    for name, sources, subscribers in (
        ("one source, 720p, 30 fps, one face", [clip], 0),
        ("two sources, 30 fps", [clip, clip], 0),
        ("overload: one source at 120 fps", [quick], 0),
        ("one source, 100 subscribers more", [clip], 100),
    ):
        run = measured(sources, 60 * minutes, subscribers)
        p50, p99 = np.percentile(run.latency_ms, [50, 99])
        rows.append(
            f"| {name} | {run.captured} | {run.captured - run.published} | {p50:.1f} | {p99:.1f} | "
            f"{100 * run.cores / (os.cpu_count() or 1):.0f} % | {100 * run.publisher_cores:.1f} % | {run.first_s:.1f} |"
        )
    text = "\n".join(
        [
            f"Measured {datetime.date.today().isoformat()} by `python -m benchmarks.stream --minutes {minutes:g}` on "
            f"{os.cpu_count()} cores of an {platform.machine()} CPU.",
            "",
            "| run | captured | dropped | latency p50 ms | p99 ms | of all cores | publisher, of one core "
            "| first message s |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    click.echo(text)
    if write is not None:
        replace_figures(write, text)


def start(sources: list[Path]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "rtau", "stream", "--quiet", "--loop", "--publish", ENDPOINT]
    for source in sources:
        command += ["--source", str(source)]
    return subprocess.Popen(command)


def measured(sources: list[Path], seconds: float, subscribers: int) -> Run:
    """Follow one run; the first second after the first message is left out of latency and processor time."""
    begun = time.monotonic()
    process = start(sources)
    try:
        with rtau.subscribe(ENDPOINT, topics=("au.", "health."), timeout_s=60) as feed:
            next(feed)
            first_s = time.monotonic() - begun
            crowd, context = [], zmq.Context()
            for _ in range(subscribers):
                socket = context.socket(zmq.SUB)
                socket.setsockopt(zmq.RCVHWM, 10)
                socket.subscribe("au.")
                socket.connect(ENDPOINT)
                crowd.append(socket)
            own = psutil.Process(process.pid)
            everybody = [own, *own.children(recursive=True)]
            latency, health = [], dict[str, Health]()
            counted: tuple[float, float, float] | None = None
            until = time.monotonic() + seconds + 1
            for message in feed:
                now = time.monotonic()
                if counted is None and now > until - seconds:
                    counted = (now, busy(everybody), busy([own]))
                if isinstance(message, AUFrame) and counted is not None:
                    latency.append((message.t_publish_ns - message.t_capture_ns) / 1e6)
                elif isinstance(message, Health):
                    health[message.source_id] = message
                if now > until:
                    break
            assert counted is not None
            wall = time.monotonic() - counted[0]
            cores, publisher = (busy(everybody) - counted[1]) / wall, (busy([own]) - counted[2]) / wall
            for socket in crowd:
                socket.close(linger=0)
            context.term()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    captured, published = (sum(getattr(h, name) for h in health.values()) for name in ("captured", "published"))
    return Run(latency, captured, published, cores, publisher, first_s)


def busy(processes: list[psutil.Process]) -> float:
    """Processor seconds so far."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def faster(clip: Path, out: Path) -> Path:
    """The same pictures with a quarter of the time between them."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.duration = packet.pts // 4, packet.dts // 4, packet.duration // 4
                packet.stream = stream
                target.mux(packet)
    return out


def soaked(clip: Path, minutes: float) -> str:
    """Memory, handles and shared memory at the beginning and at the end of a long run."""
    process = start([clip])
    try:
        with rtau.subscribe(ENDPOINT, topics=("health.",), timeout_s=60) as feed:
            for _ in range(20):
                next(feed)
            before = usage(process.pid)
            until = time.monotonic() + 60 * minutes
            for _ in feed:
                if time.monotonic() > until:
                    break
            after = usage(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    names = ("memory MB", "file handles", "shared memory segments")
    changes = (f"{name} {a:.0f} -> {b:.0f}" for name, a, b in zip(names, before, after, strict=True))
    return f"{minutes:g} minutes: " + ", ".join(changes)


def usage(pid: int) -> tuple[float, float, float]:
    own = psutil.Process(pid)
    everybody = [own, *own.children(recursive=True)]
    memory = sum(process.memory_full_info().pss for process in everybody) / 2**20
    return memory, sum(process.num_fds() for process in everybody), len(os.listdir("/dev/shm"))


if __name__ == "__main__":
    main()
