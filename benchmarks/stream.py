"""`rtau stream` from paced files: drops, latency from capture to feed, processor time, subscribers, start.

    python -m benchmarks.stream --minutes 5 --write docs/benchmarks_stream.md
    python -m benchmarks.stream --soak 30                      (memory, file handles and shared memory over 30 minutes)

A subscriber in another process reads the feed. Latency is `t_publish_ns - t_capture_ns` of every frame. Every run is a
film of known length, so that what was captured, published and dropped is counted three times independently.
"""

import datetime
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import psutil

import rtau
from benchmarks.films import Film, film
from benchmarks.machine import cpu_model
from benchmarks.make_clips import one_face
from benchmarks.soak import soak as run_soak
from rtau.messages import AUFrame, Event, Health, RunHealth
from train.evaluation.document import replace_figures

ENDPOINT = "tcp://127.0.0.1:5583"
CROWD = 100
PHASES = 8  # of the run with many subscribers: without them, with them, and so on


class Second(NamedTuple):
    """One second of one source, as its Health tells."""

    oldest_ms: float  # of the frames that were published in it
    inference_ms: float  # p99 of `faces` and of `au` together


class Cost(NamedTuple):
    """Processor seconds of the command's own process so far."""

    process: float
    publishing: float  # its main thread, which encodes and publishes; ZeroMQ's thread writes to the subscribers

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.process - other.process, self.publishing - other.publishing)


class Run(NamedTuple):
    """What a subscriber saw of one run."""

    films: list[Film]
    latency_ms: list[float]
    seconds: list[Second]
    received: int  # frames
    missed: int  # messages that did not reach this subscriber
    told: int  # frames that events say were dropped
    captured: int  # as the last Health says
    cores: float  # in use by all processes of the run
    first_s: float  # from the command to the first frame
    costs: dict[bool, list[tuple[float, Cost]]]  # with many subscribers or without: seconds, processor time

    @property
    def exact(self) -> bool:
        """Whether all counts agree: of the films, of the source, of the subscriber, of the events."""
        return self.missed == 0 and sum(f.frames for f in self.films) == self.captured == self.received + self.told


class Row(NamedTuple):
    what: str
    measured: str
    target: str = ""
    reached: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: ""}[self.reached]
        return f"| {self.what} | {self.measured} | {self.target} | {verdict} |"


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="Of the run with one source.")
@click.option("--others", type=float, help="Minutes of each other run; by default the same.")
@click.option("--clips", default="out", type=click.Path(path_type=Path), show_default=True)
@click.option("--soak", type=float, metavar="MINUTES", help="Only follow memory, handles and shared memory.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def main(minutes: float, others: float | None, clips: Path, soak: float | None, write: Path | None) -> None:
    """Measure and print."""
    clip = one_face(clips)
    if soak is not None:
        run_soak(clip, minutes=soak)
        return
    with tempfile.TemporaryDirectory(dir=clips) as folder:
        less = minutes if others is None else others
        whole = film(clip, Path(folder) / "whole.mp4", 60 * minutes)
        normal = film(clip, Path(folder) / "normal.mp4", 60 * less)
        quick = film(clip, Path(folder) / "quick.mp4", 60 * less, speed=4)
        one = followed([whole])
        two = followed([normal, normal])
        overload = followed([quick])
        many = followed([normal], crowd_every_s=60 * less / PHASES)
    first_s = max(run.first_s for run in (one, two, overload, many))
    rows = [
        *of_one(one),
        *of_two(two),
        *of_overload(overload),
        *of_many(many),
        Row("start to first message, slowest of four", f"{first_s:.1f} s", "3 s", first_s <= 3),
    ]
    text = "\n".join(
        [
            f"Measured {datetime.date.today().isoformat()} by "
            f"`python -m benchmarks.stream --minutes {minutes:g} --others {less:g}` on "
            f"{os.cpu_count()} cores ({cpu_model()}).",
            "",
            "| | measured | target | reached |",
            "|---|---|---|---|",
            *map(str, rows),
        ]
    )
    click.echo(text)
    if write is not None:
        replace_figures(write, text)


def of_one(run: Run) -> list[Row]:
    p50, p99 = np.percentile(run.latency_ms, [50, 99])
    share = run.cores / (os.cpu_count() or 1)
    return [
        Row("one source, 720p, 30 fps, one face: dropped", counted(run), "0", dropped(run) == 0),
        Row("its latency from capture to feed, p50", f"{p50:.1f} ms", "15 ms", bool(p50 <= 15)),
        Row("p99", f"{p99:.1f} ms", "33 ms", bool(p99 <= 33)),
        Row("processor, all processes, of all cores", f"{100 * share:.0f} %", "60 %", share <= 0.6),
    ]


def of_two(run: Run) -> list[Row]:
    p50, p99 = np.percentile(run.latency_ms, [50, 99])
    share = run.cores / (os.cpu_count() or 1)
    return [
        Row("two sources, 30 fps: dropped", counted(run), "0", dropped(run) == 0),
        Row("their latency, p50 and p99; processor", f"{p50:.1f}, {p99:.1f} ms; {100 * share:.0f} %"),
    ]


def of_overload(run: Run) -> list[Row]:
    frame_ms = 1e3 / run.films[0].fps
    fresh = [second.oldest_ms <= 2 * frame_ms + second.inference_ms for second in run.seconds]
    worst = max(run.seconds, key=lambda second: second.oldest_ms - second.inference_ms)
    p50, p99 = np.percentile(run.latency_ms, [50, 99])
    return [
        Row("one source at 120 fps: all counts agree", counted(run), "captured = published + dropped", run.exact),
        Row(
            "its oldest frame when published, in the worst second",
            f"{worst.oldest_ms:.1f} ms; fresh in {100 * statistics.mean(fresh):.1f} % of the seconds",
            f"2 frame times + inference: {2 * frame_ms + worst.inference_ms:.1f} ms, always",
            all(fresh),
        ),
        Row("its latency, p50 and p99", f"{p50:.1f}, {p99:.1f} ms"),
    ]


def of_many(run: Run) -> list[Row]:
    if not (run.costs[True] and run.costs[False]):
        raise click.ClickException("the run was too short for subscribers to come and go; give more --minutes")

    def cores(crowd: bool, part: str) -> float:
        phases = run.costs[crowd]
        return float(sum(getattr(cost, part) for _, cost in phases) / sum(seconds for seconds, _ in phases))

    def said(part: str) -> str:
        alone, many = cores(False, part), cores(True, part)
        return f"{many / alone:.2f} ({100 * alone:.2f} -> {100 * many:.2f} % of a core)"

    return [
        Row(
            f"{CROWD} subscribers more: cost of the publisher, its whole process",
            said("process"),
            "1.10",
            cores(True, "process") < 1.10 * cores(False, "process"),
        ),
        Row("of it the thread that publishes", said("publishing")),
    ]


def counted(run: Run) -> str:
    return f"{dropped(run)} of {run.captured}"


def dropped(run: Run) -> int:
    return run.captured - run.received - run.missed


def followed(films: list[Film], crowd_every_s: float | None = None) -> Run:
    """Follow one run to its end; the first second after the first frame is left out of latency and processor time.

    With `crowd_every_s`, many subscribers come and go at that pace.
    """
    command = [sys.executable, "-m", "rtau", "stream", "--quiet", "--publish", ENDPOINT]
    for each in films:
        command += ["--source", str(each.path)]
    begun = time.monotonic()
    process = subprocess.Popen(command)
    crowd = Crowd(process.pid, crowd_every_s)
    latency, seconds, counts, last = list[float](), list[Second](), Counter[str](), dict[str, Health]()
    ages, cores = dict[str, list[float]](), list[tuple[float, float]]()
    first: float | None = None
    try:
        with rtau.subscribe(ENDPOINT, topics=("au.", "event.", "health."), timeout_s=60, queue=10_000) as feed:
            for message in feed:
                now = time.monotonic()
                first = now if first is None and isinstance(message, AUFrame) else first
                settled = first is not None and now > first + 1
                if isinstance(message, AUFrame):
                    counts["frames"] += 1
                    age = (message.t_publish_ns - message.t_capture_ns) / 1e6
                    ages.setdefault(message.source_id, []).append(age)
                elif isinstance(message, Health):
                    last[message.source_id] = message
                    of_this = ages.pop(message.source_id, [])
                    if settled and of_this:
                        latency += of_this
                        told = message.latency_ms
                        seconds.append(Second(max(of_this), told["faces"].p99 + told["au"].p99))
                elif isinstance(message, RunHealth) and settled:
                    cores.append((now, busy(process.pid)))
                    crowd.look(now, message.subscribers)
                elif isinstance(message, Event) and message.kind == "frames_dropped":
                    counts["told"] += message.count or 0
                elif isinstance(message, Event) and message.kind == "source_ended":
                    counts["ended"] += 1
                    if counts["ended"] == len(films):
                        break
        missed = feed.missed
    finally:
        crowd.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert first is not None
    (since, before), (until, after) = cores[0], cores[-1]
    return Run(
        films=films,
        latency_ms=latency,
        seconds=seconds,
        received=counts["frames"],
        missed=missed,
        told=counts["told"],
        captured=sum(health.captured for health in last.values()),
        cores=(after - before) / (until - since),
        first_s=first - begun,
        costs=crowd.costs,
    )


class Crowd:
    """Many subscribers that come and go; what the publisher costs meanwhile, but for the moments between."""

    def __init__(self, pid: int, every_s: float | None) -> None:
        self._pid, self._every_s = pid, every_s
        self._crowd: subprocess.Popen[bytes] | None = None
        self._since: tuple[float, Cost] | None = None
        self._changed = time.monotonic()
        self.costs: dict[bool, list[tuple[float, Cost]]] = {False: [], True: []}

    def look(self, now: float, subscribers: int) -> None:
        """Once a second."""
        there = subscribers > CROWD
        if self._every_s is None or there != (self._crowd is not None):
            return  # they are on their way
        if self._since is None:
            self._since = (now, cost(self._pid))
        elif now > self._changed + self._every_s:
            since, before = self._since
            self.costs[there].append((now - since, cost(self._pid) - before))
            self._since, self._changed = None, now
            self.close() if there else self._gather()

    def _gather(self) -> None:
        command = [sys.executable, "-m", "benchmarks.crowd", ENDPOINT, str(CROWD)]
        self._crowd = subprocess.Popen(command)

    def close(self) -> None:
        if self._crowd is not None:
            self._crowd.kill()
            self._crowd.wait()
            self._crowd = None


def cost(pid: int) -> Cost:
    """From the scheduler's nanoseconds (Linux): psutil's clock ticks are too coarse for a few per cent of a core."""
    spent = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return Cost(sum(spent.values()), spent[pid])


def busy(pid: int) -> float:
    """Processor seconds of a process and its children so far."""
    own = psutil.Process(pid)
    return float(sum(sum(process.cpu_times()[:2]) for process in (own, *own.children(recursive=True))))


if __name__ == "__main__":
    main()
