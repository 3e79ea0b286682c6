"""Live: every source through its own chain of processes, their AUs from one process, all of them into one feed.

A source that is lost is opened again after growing pauses, a chain that dies is started again a few times; the other
sources go on meanwhile. Indices, times and track ids of a source go on too. Sources can come and go while it runs.
"""

import contextlib
import os
import queue
import time
from collections.abc import Callable

import msgspec
import numpy as np
import psutil

from rtau.chain import Arrived, Chain, Closed, News, Opened
from rtau.config import PipelineConfig, SourceConfig
from rtau.errors import RtauError
from rtau.feed.events import TrackEvents
from rtau.feed.publisher import Publisher
from rtau.messages import (
    RUN,
    AUFrame,
    Event,
    EventKind,
    Health,
    Message,
    Percentiles,
    ProcessHealth,
    RunHealth,
    RunInfo,
    describe_feed,
)
from rtau.pipeline import shared_aus

HEALTH_EVERY_S = 1.0
_ANSWER_S = 0.2  # at least so often the feed looks after new subscribers
_FAREWELL_S = 5.0  # for chains to end when the run has failed
_STAGES = {  # of a frame's way, in order, by their number: on a GPU faces and AUs are one stage
    5: ("queue", "faces", "au_queue", "au", "publish"),
    3: ("queue", "faces_au", "publish"),
}


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

    def __init__(self, chain: Chain, memory_s: float) -> None:
        self.chain, self.counts = chain, SourceCounts()
        self.state, self.faces, self.last = "starting", 0, None
        self.restarts, self.told = 0, 0  # dropped frames that an event has told of
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

    def health(self) -> Health:
        """Since the last one."""
        now, (then, captured, published) = time.monotonic(), self.before
        counts, seconds = self.counts, max(now - then, 1e-3)
        health = Health(
            source_id=self.chain.source_id,
            state=self.state,  # type: ignore[arg-type]
            fps_in=(counts.captured - captured) / seconds,
            fps_out=(counts.published - published) / seconds,
            captured=counts.captured,
            published=counts.published,
            dropped={"busy": counts.dropped},
            latency_ms=_latency(self.times_ns),
            faces=self.faces,
        )
        self.before, self.times_ns = (now, counts.captured, counts.published), []
        return health


class Live:
    """Sources into a feed. `run` returns when all have ended, or after `stop`."""

    def __init__(self, config: PipelineConfig, sources: list[SourceConfig], publisher: Publisher) -> None:
        self._config, self._publisher = config, publisher
        self._aus = shared_aus(config)
        self._news: queue.Queue[tuple[Chain, News]] = queue.Queue()
        self._requests: queue.SimpleQueue[tuple[str, SourceConfig | None]] = queue.SimpleQueue()
        self._open: dict[str, _Followed] = {}
        self._next: dict[str, SourceConfig] = {}  # begin when those of the same name have ended
        self._usage: dict[int, psutil.Process] = {}
        self._stopping = False
        self._on_message: Callable[[Message], None] = lambda message: None
        self.counts: dict[str, SourceCounts] = {}  # by source id, of the newest one of each name
        for source in sources:
            self.add(source)

    def stop(self) -> None:
        """Decode no further; `run` returns when what is under way has been published."""
        self._stopping = True
        self._next.clear()
        for source in list(self._open.values()):
            source.chain.stop()

    def add(self, source: SourceConfig) -> None:
        """Follow one source more, from any thread; one of the same name ends first and makes room for it."""
        self._requests.put((source.source_id, source))

    def remove(self, source_id: str) -> None:
        """Follow a source no longer, from any thread; its last message is the event `source_ended`."""
        self._requests.put((source_id, None))

    def run(
        self,
        on_message: Callable[[Message], None] = lambda message: None,
        on_info: Callable[[str, RunInfo], None] = lambda source, info: None,
        every_second: Callable[[], None] = lambda: None,
    ) -> None:
        """Publish until all sources have ended; every message also goes to `on_message`, in order.

        `on_info` hears of a source when it is opened. Raises WorkerError when processes keep dying.
        """
        self._on_message = on_message
        try:
            self._answer_requests()
            health_at = time.monotonic() + HEALTH_EVERY_S
            while self._open:
                with contextlib.suppress(queue.Empty):
                    self._hear(*self._news.get(timeout=_ANSWER_S), on_info)
                self._publisher.serve()
                if time.monotonic() >= health_at:
                    health_at = time.monotonic() + HEALTH_EVERY_S
                    every_second()
                    self._health()
                self._answer_requests()
        finally:
            self.stop()
            self._await_chains()
            self._aus.close()
            self._await_chains()  # who still waited for a hanging source sees that it is over, and cleans up

    def _await_chains(self) -> None:
        until = time.monotonic() + _FAREWELL_S
        for source in self._open.values():
            source.chain.join(max(until - time.monotonic(), 0))

    def _answer_requests(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                name, source = self._requests.get_nowait()
                self._next.pop(name, None)
                if self._stopping:
                    continue
                if name in self._open:
                    self._open[name].chain.stop()
                    if source is not None:
                        self._next[name] = source
                elif source is not None:
                    self._begin(source)

    def _begin(self, source: SourceConfig) -> None:
        followed = _Followed(Chain(self._config, source, self._aus, self._news), self._config.faces.memory_s)
        self._open[source.source_id] = followed
        self.counts[source.source_id] = followed.counts
        followed.chain.start()

    def _hear(self, chain: Chain, what: News, on_info: Callable[[str, RunInfo], None]) -> None:
        source = self._open[chain.source_id]
        if isinstance(what, Opened):
            on_info(chain.source_id, what.info)
            self._opened(source, what.info)
        elif isinstance(what, Arrived):
            self._frame(source, what)
        else:
            self._closed(source, what)

    def _send(self, kind: str, message: Message) -> Message:
        sent = self._publisher.send(f"{kind}.{message.source_id}", message)
        self._on_message(sent)
        return sent

    def _opened(self, source: _Followed, info: RunInfo) -> None:
        name = source.chain.source_id
        hello = describe_feed(info, name, landmarks=self._config.au.landmarks)
        self._publisher.hello(name, hello)
        self._on_message(hello)
        source.opened()
        if source.state == "lost":
            self._event(source, "source_back")
        source.state = "live"

    def _frame(self, source: _Followed, arrived: Arrived) -> None:
        frame = source.arrived(arrived.frame)
        sent = self._send("au", frame)
        source.times_ns.append([frame.t_capture_ns, *arrived.stamps[1:], sent.t_publish_ns])
        for event in source.events(frame):
            self._send("event", event)

    def _closed(self, source: _Followed, closed: Closed) -> None:
        if closed.fatal is not None and not isinstance(closed.fatal, RtauError):
            raise closed.fatal  # a defect: nothing it leaves can be called ended
        name = source.chain.source_id
        for event in source.closed(closed.captured):
            self._send("event", event)
        self._dropped(source)
        source.counts.problem = closed.problem or closed.fatal
        source.restarts += closed.kind == "worker_restarted"
        source.state = "ended" if closed.final else "lost"
        if closed.final:
            self._send("health", source.health())  # the final counts
        self._event(source, closed.kind, closed.text)
        if closed.fatal is not None:
            raise closed.fatal
        if closed.final:
            del self._open[name]
            self._publisher.forget(name)
            if name in self._next:
                self._begin(self._next.pop(name))

    def _dropped(self, source: _Followed) -> None:
        """Tell of the drops since the last time."""
        count = source.counts.dropped - source.told
        if count:
            source.told += count
            self._event(source, "frames_dropped", "busy with other frames", count)

    def _event(self, source: _Followed, kind: EventKind, text: str = "", count: int | None = None) -> None:
        now, wall = time.monotonic_ns(), time.time_ns()
        event = Event(source_id=source.chain.source_id, kind=kind, t_ns=now, wall_ns=wall, count=count, text=text)
        self._send("event", event)

    def _health(self) -> None:
        pids = [("publisher", os.getpid(), 0)]
        if self._aus.pid is not None:
            pids.append((self._aus.name, self._aus.pid, self._aus.starts - 1))
        for name, source in self._open.items():
            self._dropped(source)
            self._send("health", source.health())
            own = {stage: pid for stage, pid in source.chain.pids.items() if stage != self._aus.name}
            pids += [(f"{stage}.{name}", pid, source.restarts) for stage, pid in own.items()]
        self._usage = {pid: usage for pid, usage in self._usage.items() if pid in {pid for _, pid, _ in pids}}
        processes = [self._process(*each) for each in pids]
        run = RunHealth(
            source_id=RUN,
            processes=processes,
            cpu=sum(process.cpu for process in processes),
            memory_bytes=sum(process.memory_bytes for process in processes),
            subscribers=self._publisher.subscribers,
            overflows=self._publisher.overflows,
        )
        self._send("health", run)

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
