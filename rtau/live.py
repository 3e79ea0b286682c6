"""Live: every source through its own chain of processes, their AUs from one process, all of them into one feed.

A source that is lost is opened again after growing pauses, a chain that dies is started again a few times; the other
sources go on meanwhile. Indices, times and track ids of a source go on too. Sources can come and go while it runs.
"""

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import psutil

from rtau.capture import comes_back
from rtau.config import PipelineConfig, SourceConfig
from rtau.errors import ConfigError, RtauError, SourceError, WorkerError
from rtau.feed.events import TrackEvents
from rtau.feed.publisher import Publisher
from rtau.messages import (
    RUN,
    AUFrame,
    Event,
    Health,
    Message,
    Percentiles,
    ProcessHealth,
    RunHealth,
    RunInfo,
    describe_feed,
)
from rtau.pipeline import InProcesses, shared_aus
from rtau.runtime.shared import SharedStage

HEALTH_EVERY_S = 1.0
_ANSWER_S = 0.2  # at least so often the feed looks after new subscribers
_FAREWELL_S = 5.0  # for chains to end when the run has failed
_STAGES = {  # of a frame's way, in order, by their number: on a GPU faces and AUs are one stage
    5: ("queue", "faces", "au_queue", "au", "publish"),
    3: ("queue", "faces_au", "publish"),
}


class _Opened(NamedTuple):
    info: RunInfo


class _Closed(NamedTuple):
    """The chain has ended, for good or until it is opened again."""

    kind: str  # of the event
    text: str
    captured: int | None  # frames of this opening, where it could be told
    final: bool
    error: RtauError | None = None  # stops the whole run


class _Arrived(NamedTuple):
    frame: AUFrame
    stamps: list[int]  # see InProcesses.stamped


class _Wanted(NamedTuple):
    source: SourceConfig


class _Unwanted(NamedTuple):
    pass


_News = _Opened | _Arrived | _Closed | _Wanted | _Unwanted


class _Chain(threading.Thread):
    """Follows one source; all that happens goes to `news` as (source id, what)."""

    def __init__(
        self, config: PipelineConfig, source: SourceConfig, aus: SharedStage, news: "queue.Queue[tuple[str, _News]]"
    ) -> None:
        super().__init__(name=f"rtau-{source.source_id}", daemon=True)
        self._config, self.source, self._aus, self._news = config, source, aus, news
        self._stopping = threading.Event()
        self._run: InProcesses | None = None
        self._deaths: deque[float] = deque()

    @property
    def pids(self) -> dict[str, int]:
        return self._run.pids if self._run is not None else {}

    def stop(self) -> None:
        """Decode no further; what is under way still comes."""
        self._stopping.set()
        if self._run is not None:
            self._run.stop()

    def run(self) -> None:
        pause_s = self._config.live.first_pause_s
        while True:
            begun = time.monotonic()
            closed = self._follow()
            if closed.final or self._stopping.is_set():
                self._tell(closed._replace(kind="source_ended", final=True))
                return
            self._tell(closed)
            if time.monotonic() - begun > self._config.live.restart_window_s:
                pause_s = self._config.live.first_pause_s  # it had worked for a while
            if self._stopping.wait(pause_s):
                self._tell(_Closed("source_ended", "stopped", 0, final=True))
                return
            pause_s = min(2 * pause_s, self._config.live.longest_pause_s)

    def _follow(self) -> _Closed:
        """One opening of the source, from start to end."""
        again = comes_back(self.source)
        try:
            run = InProcesses(self._config, self.source, self._aus)
            with run:
                self._run = run
                if self._stopping.is_set():
                    run.stop()
                self._tell(_Opened(run.info))
                count = 0
                for frame, stamps in run.stamped():
                    self._tell(_Arrived(frame, stamps))
                    count += 1
            return _Closed("source_lost" if again else "source_ended", "no more frames", count + run.dropped, not again)
        except WorkerError as error:
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths[0] < now - self._config.live.restart_window_s:
                self._deaths.popleft()
            lossless = self.source.policy == "wait"  # a second start would give frames twice
            if lossless or len(self._deaths) > self._config.live.max_restarts:
                fatal = WorkerError(
                    f"{self.source.source_id}: processes died {len(self._deaths)} times; the last time {error}"
                )
                return _Closed("source_ended", str(error), None, final=True, error=fatal)
            return _Closed("worker_restarted", str(error), None, final=False)
        except RtauError as error:
            lost = isinstance(error, SourceError) and again
            return _Closed(
                "source_lost" if lost else "source_ended", str(error), None, not lost, None if lost else error
            )
        finally:
            self._run = None

    def _tell(self, what: _News) -> None:
        self._news.put((self.source.source_id, what))


class SourceCounts(msgspec.Struct):
    """What came of a source so far."""

    captured: int = 0
    published: int = 0
    problem: RtauError | None = None

    @property
    def dropped(self) -> int:
        return self.captured - self.published


class _Followed:
    """What the feed knows of one source."""

    def __init__(self, chain: _Chain, memory_s: float) -> None:
        self.chain, self.counts = chain, SourceCounts()
        self.state, self.faces, self.last = "starting", 0, None
        self.events, self._memory_s = TrackEvents(memory_s), memory_s
        self.times_ns: list[list[int]] = []  # since the last Health: captured, each stage's stamps, published
        self.before = (time.monotonic(), 0, 0)  # of the last Health: time, captured, published
        self._opened_at = 0  # captured when this opening began
        self._tracks, self._most = 0, 0  # ids of earlier openings, and the largest so far

    last: AUFrame | None
    state: str

    def opened(self) -> None:
        self._opened_at, self._tracks = self.counts.captured, self._most

    def arrived(self, frame: AUFrame) -> AUFrame:
        """The frame with the indices and ids of this source as a whole."""
        faces = frame.faces
        if self._tracks:
            faces = [msgspec.structs.replace(face, track_id=face.track_id + self._tracks) for face in faces]
        frame = msgspec.structs.replace(frame, frame_index=frame.frame_index + self._opened_at, faces=faces)
        self._most = max([self._most, *(face.track_id for face in faces)])
        self.counts.captured = frame.frame_index + 1
        self.counts.published += 1
        self.faces, self.last = len(faces), frame
        return frame

    def closed(self, captured: int | None) -> list[Event]:
        if captured is not None:
            self.counts.captured = max(self.counts.captured, self._opened_at + captured)
        ended = self.events.end(self.last) if self.last is not None else []
        self.events, self.faces = TrackEvents(self._memory_s), 0
        return ended


class Live:
    """Sources into a feed. `run` returns when all have ended, or after `stop`."""

    def __init__(self, config: PipelineConfig, sources: list[SourceConfig], publisher: Publisher) -> None:
        runtime = msgspec.structs.replace(
            config.runtime, slots=config.live.slots, stall_timeout_s=config.live.stall_timeout_s
        )
        self._config = msgspec.structs.replace(config, runtime=runtime)
        self._publisher = publisher
        self._news: queue.Queue[tuple[str, _News]] = queue.Queue()
        self._aus = shared_aus(self._config)
        self._sources = {s.source_id: self._followed(s) for s in sources}
        self._open: set[str] = set()
        self._usage: dict[int, psutil.Process] = {}
        self._restarts: dict[str, int] = {}

    @property
    def counts(self) -> dict[str, SourceCounts]:
        """By source id."""
        return {name: source.counts for name, source in self._sources.items()}

    def stop(self) -> None:
        """Decode no further; `run` returns when what is under way has been published."""
        for source in list(self._sources.values()):
            source.chain.stop()

    def add(self, source: SourceConfig) -> None:
        """Follow one source more, from any thread; one of the same name must have ended."""
        self._news.put((source.source_id, _Wanted(source)))

    def remove(self, source_id: str) -> None:
        """Follow a source no longer, from any thread; its last message is the event `source_ended`."""
        self._news.put((source_id, _Unwanted()))

    def run(
        self,
        on_message: Callable[[Message], None] = lambda message: None,
        on_info: Callable[[str, RunInfo], None] = lambda source, info: None,
        every_second: Callable[[], None] = lambda: None,
    ) -> None:
        """Publish until all sources have ended; every message also goes to `on_message`, in order.

        `on_info` hears of a source when it is opened. Raises WorkerError when processes keep dying.
        """
        try:
            for name, source in self._sources.items():
                source.chain.start()
                self._open.add(name)
            health_at = time.monotonic() + HEALTH_EVERY_S
            while self._open:
                with contextlib.suppress(queue.Empty):
                    self._hear(*self._news.get(timeout=_ANSWER_S), on_message, on_info)
                self._publisher.serve()
                if time.monotonic() >= health_at:
                    health_at += HEALTH_EVERY_S
                    every_second()
                    self._health(on_message)
            self._health(on_message)
        finally:
            self.stop()
            until = time.monotonic() + _FAREWELL_S
            for source in self._sources.values():
                source.chain.join(max(until - time.monotonic(), 0))
            self._aus.close()

    def _hear(
        self,
        name: str,
        what: _News,
        on_message: Callable[[Message], None],
        on_info: Callable[[str, RunInfo], None],
    ) -> None:
        if isinstance(what, _Wanted):
            if name in self._open:
                raise ConfigError(f"two sources have one name: {name}")
            self._sources[name] = self._followed(what.source)
            self._sources[name].chain.start()
            self._open.add(name)
        elif isinstance(what, _Unwanted):
            if name in self._open:
                self._sources[name].chain.stop()
        elif isinstance(what, _Opened):
            on_info(name, what.info)
            self._opened(self._sources[name], what.info, on_message)
        elif isinstance(what, _Arrived):
            self._frame(self._sources[name], what, on_message)
        elif self._closed(self._sources[name], what, on_message):
            self._open.discard(name)

    def _followed(self, source: SourceConfig) -> _Followed:
        return _Followed(_Chain(self._config, source, self._aus, self._news), self._config.faces.memory_s)

    def _send(self, kind: str, message: Message, on_message: Callable[[Message], None]) -> Message:
        sent = self._publisher.send(f"{kind}.{message.source_id}", message)
        on_message(sent)
        return sent

    def _opened(self, source: _Followed, info: RunInfo, on_message: Callable[[Message], None]) -> None:
        name = source.chain.source.source_id
        hello = describe_feed(info, name, landmarks=self._config.au.landmarks)
        self._publisher.hello(name, hello)
        on_message(hello)
        source.opened()
        if source.state == "lost":
            self._event(source, "source_back", "", on_message)
        source.state = "live"

    def _frame(self, source: _Followed, arrived: _Arrived, on_message: Callable[[Message], None]) -> None:
        before = source.counts.captured
        frame = source.arrived(arrived.frame)
        sent = self._send("au", frame, on_message)
        source.times_ns.append([frame.t_capture_ns, *arrived.stamps[1:], sent.t_publish_ns])
        for event in source.events(frame):
            self._send("event", event, on_message)
        if frame.frame_index > before:
            count = frame.frame_index - before
            self._event(source, "frames_dropped", "busy with earlier frames", on_message, count)

    def _closed(self, source: _Followed, closed: _Closed, on_message: Callable[[Message], None]) -> bool:
        """Returns whether the source has ended for good."""
        for event in source.closed(closed.captured):
            self._send("event", event, on_message)
        source.state = "ended" if closed.final else "lost"
        self._event(source, closed.kind, closed.text, on_message)
        if closed.kind == "worker_restarted":
            name = source.chain.source.source_id
            self._restarts[name] = self._restarts.get(name, 0) + 1
        source.counts.problem = closed.error
        if isinstance(closed.error, WorkerError):
            self.stop()
            raise closed.error
        return closed.final

    def _event(
        self, source: _Followed, kind: str, text: str, on_message: Callable[[Message], None], count: int | None = None
    ) -> None:
        name = source.chain.source.source_id
        now, wall = time.monotonic_ns(), time.time_ns()
        event = Event(source_id=name, kind=kind, t_ns=now, wall_ns=wall, count=count, text=text)
        self._send("event", event, on_message)

    def _health(self, on_message: Callable[[Message], None]) -> None:
        now = time.monotonic()
        for name, source in self._sources.items():
            then, captured, published = source.before
            counts = source.counts
            seconds = max(now - then, 1e-3)
            health = Health(
                source_id=name,
                state=source.state,  # type: ignore[arg-type]
                fps_in=(counts.captured - captured) / seconds,
                fps_out=(counts.published - published) / seconds,
                captured=counts.captured,
                published=counts.published,
                dropped={"busy": counts.dropped},
                latency_ms=_latency(source.times_ns),
                faces=source.faces,
            )
            source.before, source.times_ns = (now, counts.captured, counts.published), []
            self._send("health", health, on_message)
        processes = [self._process("publisher", os.getpid(), 0)]
        if self._aus.pid is not None:
            processes.append(self._process(self._aus.name, self._aus.pid, self._aus.starts - 1))
        for name, source in self._sources.items():
            restarts = self._restarts.get(name, 0)
            own = {stage: pid for stage, pid in source.chain.pids.items() if stage != self._aus.name}
            processes += [self._process(f"{stage}.{name}", pid, restarts) for stage, pid in own.items()]
        run = RunHealth(
            source_id=RUN,
            processes=processes,
            cpu=sum(process.cpu for process in processes),
            memory_bytes=sum(process.memory_bytes for process in processes),
            subscribers=self._publisher.subscribers,
            overflows=self._publisher.overflows,
        )
        self._send("health", run, on_message)

    def _process(self, name: str, pid: int, restarts: int) -> ProcessHealth:
        try:
            if pid not in self._usage:
                self._usage[pid] = psutil.Process(pid)
            process = self._usage[pid]
            cpu, memory = process.cpu_percent() / 100, int(process.memory_info().rss)
        except psutil.NoSuchProcess:
            cpu, memory = 0.0, 0
        return ProcessHealth(name=name, pid=pid, restarts=restarts, cpu=cpu, memory_bytes=memory)


def _latency(times_ns: list[list[int]]) -> dict[str, Percentiles]:
    """Milliseconds by stage, and from capture to publication."""
    if not times_ns:
        return {}
    times = np.array(times_ns) / 1e6
    stages = _STAGES[times.shape[1] - 1]
    spans = dict(zip(stages, np.diff(times, axis=1).T, strict=True)) | {"total": times[:, -1] - times[:, 0]}
    shares = {stage: np.percentile(span, [50, 99]) for stage, span in spans.items()}
    return {stage: Percentiles(p50=float(p50), p99=float(p99)) for stage, (p50, p99) in shares.items()}


def table_of(record: Path, name: str, count: int) -> Path:
    """Where the rows of a source go: FILE, or FILE with the source's name before the suffix when there are several."""
    return record if count == 1 else record.with_name(f"{record.stem}.{name}{record.suffix}")
