"""Starts the processes of a run, passes on what comes out, notices at once when one dies, and cleans up."""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import NamedTuple, Self

from rtau.config import Policy
from rtau.errors import Interrupted, RtauError, WorkerError
from rtau.messages import StageTime
from rtau.runtime.flow import End, Failed, Item, decode_control, decode_flow, encode, error_of
from rtau.runtime.ring import Ring
from rtau.runtime.shared import Port, SharedStage, how_it_ended
from rtau.runtime.worker import Source, Stage, Wiring, run_source, run_stage

_LOOK_S = 0.1  # at least so often a start looks whether it is still wanted


class Layout(NamedTuple):
    """One source and the stages behind it, in order; each becomes a process. `build` runs in that process.

    The last stage is one that other chains may share, where there is such a one; it may be the only one.
    """

    source: tuple[str, Callable[[], Source]]
    stages: list[tuple[str, Callable[[], Stage]]]
    shared: SharedStage | None = None
    source_id: str = "0"  # what the shared stage calls this chain
    policy: Policy = "wait"
    silence_s: float | None = None  # a source without a frame for so long has ended in an error
    together: int = 1  # messages that the shared stage works on at once


class Supervisor:
    """A chain of processes around a ring. Iterate it for what the last stage gives, in order."""

    def __init__(self, layout: Layout, slots: int, start_timeout_s: float, stall_timeout_s: float) -> None:
        self._layout, self._slots = layout, slots
        self._start_timeout_s, self._stall_timeout_s = start_timeout_s, stall_timeout_s
        self._processes: dict[str, BaseProcess] = {}
        self._last: BaseProcess | None = None  # the shared stage's
        self._controls: dict[str, Connection] = {}
        self._stopped = threading.Event()
        self._ring: Ring | None = None
        self._results: Connection | None = None
        context = multiprocessing.get_context("spawn")
        self._stop_there, self._stop = context.Pipe(duplex=False)
        self._go_there, self._go = context.Pipe(duplex=False)
        self.about = b""  # what the source says of itself, once it is open
        self.times: list[StageTime] = []  # known when the run has ended
        self.dropped = 0  # frames, likewise

    def __enter__(self) -> Self:
        """Returns when the source is open and all stages are built. Raises Interrupted when stopped before."""
        try:
            self._start()
            slot_bytes = self._await_ready()
            self._ring = self._allocate(slot_bytes)
            self._go.send_bytes(encode(self._ring.address))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each stage; from any thread."""
        pids = {name: process.pid for name, process in list(self._processes.items()) if process.pid}
        if self._layout.shared is not None and self._last is not None and self._last.pid is not None:
            pids[self._layout.shared.name] = self._last.pid
        return pids

    def stop(self) -> None:
        """Decode no further; what is under way still comes out. From any thread."""
        self._stopped.set()
        with contextlib.suppress(OSError):  # the source may have ended already
            self._stop.send_bytes(b"stop")

    def __iter__(self) -> Iterator[Item]:
        """What the last stage gives. Raises what the source ended in, or WorkerError when a process died."""
        results = self._results
        assert results is not None  # it was entered
        while True:
            if not self._wait(self._stall_timeout_s, [results]):
                if self._layout.shared is not None:
                    self._layout.shared.stop_if_stuck()
                raise WorkerError(f"no frame came for {self._stall_timeout_s:.0f} s: a process is stuck")
            try:
                message = decode_flow(results.recv_bytes())
            except EOFError:
                raise self._death() from None
            if isinstance(message, End):
                self.times, self.dropped = message.times, message.dropped
                if message.error:
                    raise error_of(message.error, message.text)
                return
            if isinstance(message, Item):
                yield message

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        freed_here, freed_there = context.Pipe(duplex=False)
        asks_here, asks_there = context.Pipe(duplex=False)
        inbox: Connection | None = None
        given: list[Connection] = [self._stop_there, self._go_there, freed_here, freed_there, asks_here, asks_there]
        steps, shared = [self._layout.source, *self._layout.stages], self._layout.shared
        unasked = self._layout.policy == "wait"
        for position, (name, build) in enumerate(steps):
            control_here, control_there = context.Pipe(duplex=False)
            next_inbox, outbox = context.Pipe(duplex=False)
            first, last = position == 0, position == len(steps) - 1
            wiring = Wiring(
                control=control_there,
                outbox=outbox,
                inbox=inbox,
                freed=freed_here if first else freed_there if last and shared is None else None,
                go=self._go_there if first else None,
                stop=self._stop_there if first else None,
                asks=None if unasked else asks_here if first else asks_there if position == 1 else None,
                policy=self._layout.policy,
                silence_s=self._layout.silence_s,
            )
            process = context.Process(
                target=run_source if first else run_stage, args=(name, build, wiring), name=f"rtau-{name}", daemon=True
            )
            process.start()
            given += [control_there, outbox, *([inbox] if inbox else [])]
            self._processes[name], self._controls[name] = process, control_here
            inbox = next_inbox
        assert inbox is not None
        if shared is not None:
            results, outbox = context.Pipe(duplex=False)
            given += [inbox, outbox]
            asks = asks_there if len(steps) == 1 and not unasked else None
            port = Port(self._layout.source_id, inbox, outbox, freed_there, asks, self._layout.together)
            self._last, inbox = shared.join(port), results
        self._results = inbox
        for connection in given:  # a neighbour's death is seen as the end of a pipe only if nobody else holds it
            connection.close()

    def _await_ready(self) -> int:
        """Until everything is built; returns what a slot needs."""
        begun, shared = time.monotonic(), self._layout.shared
        waiting, slot_bytes = set(self._processes), 0
        while waiting or not self._last_is_ready():
            if self._stopped.is_set():
                raise Interrupted("stopped before the first frame")
            limit_s = self._start_timeout_s
            if not waiting and shared is not None:
                limit_s = max(limit_s, shared.start_timeout_s)
            if time.monotonic() > begun + limit_s:
                late = ", ".join(sorted(waiting)) or "the last stage"
                raise WorkerError(f"{late}: not ready after {limit_s:.0f} s")
            ready = self._wait(_LOOK_S, [self._controls[name] for name in waiting])
            for name in [name for name in waiting if self._controls[name] in ready]:
                try:
                    message = decode_control(self._controls[name].recv_bytes())
                except EOFError:
                    raise self._death() from None
                if isinstance(message, Failed):
                    raise error_of(message.error, message.text)
                waiting.discard(name)
                if name == self._layout.source[0]:
                    slot_bytes, self.about = message.slot_bytes, message.about
        return slot_bytes

    def _last_is_ready(self) -> bool:
        shared = self._layout.shared
        return shared is None or self._last is None or shared.is_ready(self._last)

    def _allocate(self, slot_bytes: int) -> Ring:
        try:
            return Ring.create(self._slots, slot_bytes)
        except OSError as error:
            needed = self._slots * slot_bytes / 2**20
            raise WorkerError(
                f"no shared memory for {needed:.0f} MB of pictures ({error.strerror}); use fewer runtime.slots"
            ) from error

    def _wait(self, timeout_s: float, connections: list[Connection]) -> list[object]:
        """What is ready of the connections; raises as soon as a process has died badly."""
        deadline = time.monotonic() + timeout_s
        while True:
            everybody = [*self._processes.values(), *([self._last] if self._last is not None else [])]
            sentinels = [process.sentinel for process in everybody if process.exitcode is None]
            ready = wait([*connections, *sentinels], max(deadline - time.monotonic(), 0))
            if any(process.exitcode not in (None, 0) for process in everybody):
                raise self._death()
            found: list[object] = [connection for connection in connections if connection in ready]
            if found or time.monotonic() >= deadline:
                return found

    def _death(self) -> RtauError:
        """The first cause that a dead process told, or what the system says of its end."""
        for control in self._controls.values():
            try:
                while control.poll():
                    message = decode_control(control.recv_bytes())
                    if isinstance(message, Failed):
                        return error_of(message.error, message.text)
            except EOFError:
                continue
        for name, process in self._processes.items():
            process.join(0.2)
            if process.exitcode not in (None, 0):
                return WorkerError(f"the {name} process {how_it_ended(process)}")
        failure = None
        if self._layout.shared is not None and self._last is not None:
            failure = self._layout.shared.failure(self._last)
        return failure or WorkerError("a process ended before its work was done")

    def close(self) -> None:
        """End every process and remove the shared memory; safe to call twice."""
        for process in self._processes.values():
            if process.is_alive():
                process.kill()  # it holds nothing but memory, also when its work is done
            process.join()
        ours = (self._stop, self._stop_there, self._go, self._go_there, *self._controls.values())
        for connection in (*ours, *([self._results] if self._results is not None else [])):
            connection.close()  # a shared stage that is writing its last messages sees that nobody reads them
        if self._ring is not None:
            self._ring.close()
