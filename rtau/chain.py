"""One live source through its chain of processes, opened again when it is lost, started again when a process dies."""

import queue
import threading
import time
from collections import deque
from typing import NamedTuple

import msgspec

from rtau.capture import comes_back
from rtau.config import PipelineConfig, SourceConfig
from rtau.errors import DamagedSourceError, Interrupted, RtauError, SourceError, WorkerError
from rtau.messages import AUFrame, EventKind, RunInfo
from rtau.pipeline import InProcesses
from rtau.runtime.shared import SharedStage

_GRACE_S = 2.0  # a source that hangs says so itself; after this much longer one of its processes is stuck


class Opened(NamedTuple):
    info: RunInfo


class Arrived(NamedTuple):
    frame: AUFrame
    stamps: list[int]  # see InProcesses.stamped


class Closed(NamedTuple):
    """The chain has ended, for good or until it is opened again."""

    kind: EventKind
    text: str
    captured: int | None  # frames of this opening, where it could be told
    final: bool
    problem: RtauError | None = None  # what the source ended in
    fatal: Exception | None = None  # stops the whole run


News = Opened | Arrived | Closed


class Chain(threading.Thread):
    """Follows one source; all that happens goes to `news` as (the chain, what)."""

    def __init__(
        self, config: PipelineConfig, source: SourceConfig, aus: SharedStage, news: "queue.Queue[tuple[Chain, News]]"
    ) -> None:
        super().__init__(name=f"rtau-{source.source_id}", daemon=True)
        limit_s = config.live.stall_timeout_s
        runtime = msgspec.structs.replace(config.runtime, slots=config.live.slots, stall_timeout_s=limit_s + _GRACE_S)
        self._config, self._live = msgspec.structs.replace(config, runtime=runtime), config.live
        self._again = comes_back(source)
        self._source = msgspec.structs.replace(source, timeout_s=limit_s, silence_s=limit_s if self._again else None)
        self.source_id, self._aus, self._news = source.source_id, aus, news
        self._stopping = threading.Event()
        self._run: InProcesses | None = None
        self._deaths: deque[float] = deque()

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each stage; none between two openings."""
        run = self._run
        return run.pids if run is not None else {}

    def stop(self) -> None:
        """Decode no further; what is under way still comes. From any thread, also before `start`."""
        self._stopping.set()
        run = self._run
        if run is not None:
            run.stop()

    def run(self) -> None:
        try:
            self._keep_following()
        except Exception as defect:  # nobody waits for a thread that has gone without a word
            self._tell(Closed("source_ended", str(defect), None, final=True, fatal=defect))

    def _keep_following(self) -> None:
        pause_s = self._live.first_pause_s
        while True:
            begun = time.monotonic()
            closed = self._follow()
            if self._stopping.is_set():
                closed = closed._replace(kind="source_ended", text="stopped", final=True)
            self._tell(closed)
            if closed.final:
                return
            if time.monotonic() - begun > self._live.restart_window_s:
                pause_s = self._live.first_pause_s  # it had worked for a while
            if self._stopping.wait(pause_s):
                self._tell(Closed("source_ended", "stopped", 0, final=True))
                return
            pause_s = min(2 * pause_s, self._live.longest_pause_s)

    def _follow(self) -> Closed:
        """One opening of the source, from start to end."""
        self._run = run = InProcesses(self._config, self._source, self._aus)
        count = 0
        try:
            if self._stopping.is_set():  # it may have come before there was a run to stop
                run.stop()
            with run:
                self._tell(Opened(run.info))
                for frame, stamps in run.stamped():
                    self._tell(Arrived(frame, stamps))
                    count += 1
            kind: EventKind = "source_lost" if self._again else "source_ended"
            return Closed(kind, "no more frames", count + run.dropped, final=not self._again)
        except Interrupted:
            return Closed("source_ended", "stopped", 0, final=True)
        except (SourceError, DamagedSourceError) as error:
            if self._again:
                return Closed("source_lost", str(error), count + run.dropped, final=False)
            return Closed("source_ended", str(error), count + run.dropped, final=True, problem=error)
        except WorkerError as error:
            return self._died(error)
        except RtauError as error:
            return Closed("source_ended", str(error), None, final=True, problem=error)
        finally:
            self._run = None

    def _died(self, error: WorkerError) -> Closed:
        """A few deaths within a window cost a restart each; more of them stop the run."""
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - self._live.restart_window_s:
            self._deaths.popleft()
        twice = self._source.policy == "wait" and not self._again  # a second start would give a file's frames twice
        if not twice and len(self._deaths) <= self._live.max_restarts:
            return Closed("worker_restarted", str(error), None, final=False)
        often = "" if len(self._deaths) == 1 else f"processes died {len(self._deaths)} times; the last time "
        fatal = WorkerError(f"{self.source_id}: {often}{error}")
        return Closed("source_ended", str(error), None, final=True, fatal=fatal)

    def _tell(self, what: News) -> None:
        self._news.put((self, what))
