"""One process that serves every source: it takes what has come from any of them as one batch."""

import contextlib
import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, Protocol

import msgspec

from rtau.errors import RtauError, WorkerError
from rtau.runtime.flow import End, Failed, Item, Ready, decode_control, decode_flow, encode, error_of
from rtau.runtime.ring import Ring, RingAddress
from rtau.runtime.worker import Clock, free, reporting

_ANSWER_S = 2.0


class Work(NamedTuple):
    """One message of one source."""

    source: str
    payload: bytes
    slot: memoryview | None


class BatchStage(Protocol):
    """What runs in the shared process."""

    def open(self, source: str) -> None:
        """A source begins, or begins again: nothing is known of it."""

    def close(self, source: str) -> None:
        """A source has ended."""

    def __call__(self, works: list[Work]) -> list[bytes]:
        """One message of each of some sources in, the messages that follow from them out."""


class Port(NamedTuple):
    """The connections of one chain to the shared process.

    `asks`, where the shared process is the first stage and the source does not wait: see runtime.worker.Wiring.
    """

    source: str
    ring: RingAddress
    inbox: Connection
    outbox: Connection
    freed: Connection
    asks: Connection | None = None


class SharedStage:
    """The shared process, seen from outside; safe to use from several threads. It starts when a chain joins."""

    _control: Connection
    _intake: Connection

    def __init__(self, name: str, build: Callable[[], BatchStage], max_wait_s: float, start_timeout_s: float) -> None:
        self.name, self._build, self._max_wait_s = name, build, max_wait_s
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._is_ready = False
        self.starts = 0

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.exitcode is not None else process.pid

    def join(self, port: Port) -> BaseProcess:
        """Serve one chain more; returns the process that does. The caller closes its own copies of the connections."""
        with self._lock:
            if self._process is None or self._process.exitcode is not None:
                self._start()
            assert self._process is not None
            try:
                self._intake.send(port)
            except OSError as error:
                raise WorkerError(f"the {self.name} process ended while a source was opened") from error
            return self._process

    def await_ready(self, process: BaseProcess) -> None:
        """Until the stage is built. Raises what it failed with, or WorkerError when it takes too long."""
        deadline = time.monotonic() + self._start_timeout_s
        with self._lock:
            if self._process is not process or self._is_ready:
                return
            while not self._control.poll(0.05):
                if process.exitcode is not None or time.monotonic() > deadline:
                    raise self._failure(process)
            self._hear()
            self._is_ready = True

    def failure(self, process: BaseProcess) -> RtauError:
        """Why the process has ended."""
        with self._lock:
            return self._failure(process)

    def stop_if_stuck(self) -> None:
        """Kill the process when it does not answer; the chains notice and begin anew."""
        with self._lock:
            if self._process is None or self._process.exitcode is not None or not self._is_ready:
                return
            with contextlib.suppress(OSError, EOFError):
                self._intake.send(None)
                if self._control.poll(_ANSWER_S):
                    self._hear()
                    return
            self._process.kill()

    def close(self) -> None:
        """End the process; safe to call twice."""
        with self._lock:
            if self._process is not None:
                self._process.kill()  # it holds nothing but memory
                self._process.join()
                self._control.close()
                self._intake.close()
                self._process = None

    def _start(self) -> None:
        if self._process is not None:
            self._control.close()
            self._intake.close()
        context = multiprocessing.get_context("spawn")
        self._control, control_there = context.Pipe(duplex=False)
        intake_there, self._intake = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_serve,
            args=(self.name, self._build, self._max_wait_s, control_there, intake_there),
            name=f"rtau-{self.name}",
            daemon=True,
        )
        self._process.start()
        self._is_ready = False
        self.starts += 1
        control_there.close()
        intake_there.close()

    def _hear(self) -> None:
        """Raises what the process says it failed with."""
        try:
            message = decode_control(self._control.recv_bytes())
        except (EOFError, OSError):
            raise self._failure(self._process) from None
        if isinstance(message, Failed):
            raise error_of(message.error, message.text)

    def _failure(self, process: BaseProcess | None) -> RtauError:
        if process is None or process.exitcode is None:
            return WorkerError(f"{self.name}: not ready after {self._start_timeout_s:.0f} s")
        if process is self._process:
            with contextlib.suppress(EOFError, OSError):
                while self._control.poll():
                    message = decode_control(self._control.recv_bytes())
                    if isinstance(message, Failed):
                        return error_of(message.error, message.text)
        return WorkerError(f"the {self.name} process {how_it_ended(process)}")


def how_it_ended(process: BaseProcess) -> str:
    """In words, from the exit code."""
    code = process.exitcode or 0
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


class _Served:
    """One chain, inside the shared process."""

    def __init__(self, port: Port, clock: Clock) -> None:
        self.port, self.ring, self.clock = port, Ring.attach(port.ring), clock
        self.ask()

    def ask(self) -> None:
        """Tell a source that does not wait that its next picture can be looked at."""
        if self.port.asks is not None:
            with contextlib.suppress(OSError):  # the source may have ended
                self.port.asks.send_bytes(b"")

    def close(self) -> None:
        self.ring.close()
        for connection in (self.port.inbox, self.port.outbox, self.port.freed, self.port.asks):
            if connection is not None:
                connection.close()


def _serve(
    name: str, build: Callable[[], BatchStage], max_wait_s: float, control: Connection, intake: Connection
) -> None:
    """Child process: batches of at most one message of each source, until nobody is left to be served."""
    with reporting(name, control):
        stage = build()
        control.send_bytes(encode(Ready()))
        served: dict[Connection, _Served] = {}

        def leave(connection: Connection) -> None:
            stage.close(served[connection].port.source)
            served.pop(connection).close()

        while True:
            ready = _arrived(intake, list(served), max_wait_s)
            if intake in ready:
                port = intake.recv()  # from the process that started this one; connections travel no other way
                if port is None:
                    control.send_bytes(encode(Ready()))
                else:
                    stage.open(port.source)
                    served[port.inbox] = _Served(port, Clock(name))
            batch: list[tuple[Connection, Item]] = []
            for connection in ready:
                if connection is intake:
                    continue
                try:
                    message = decode_flow(connection.recv_bytes())
                    if isinstance(message, Item):
                        batch.append((connection, message))
                    else:
                        times = [*message.times, served[connection].clock.time]
                        served[connection].port.outbox.send_bytes(encode(msgspec.structs.replace(message, times=times)))
                except (EOFError, OSError):  # that chain has ended, or died
                    leave(connection)
            for connection in _answer(stage, served, batch):
                leave(connection)


def _arrived(intake: Connection, inboxes: list[Connection], max_wait_s: float) -> list[Connection]:
    """The connections with a message; the first one waits a moment for those of other sources."""
    ready = wait([intake, *inboxes])
    if max_wait_s > 0:
        deadline = time.monotonic() + max_wait_s
        while intake not in ready and len(ready) < len(inboxes) and (left := deadline - time.monotonic()) > 0:
            others = wait([intake, *(inbox for inbox in inboxes if inbox not in ready)], left)
            ready = [*ready, *others]
    return [connection for connection in (intake, *inboxes) if connection in ready]


def _answer(
    stage: BatchStage, served: dict[Connection, _Served], batch: list[tuple[Connection, Item]]
) -> list[Connection]:
    """Work on a batch and send what comes of it; returns the chains that cannot go on."""
    if not batch:
        return []
    begun = time.monotonic_ns()
    works = [
        Work(served[inbox].port.source, item.payload, None if item.slot is None else served[inbox].ring.slot(item.slot))
        for inbox, item in batch
    ]
    broken: dict[Connection, Failed] = {}
    payloads: list[bytes] = []
    try:
        payloads = stage(works)
    except Exception as error:  # whatever it is, it must cost no more than the source that it comes from
        if len(batch) > 1:
            return [gone for one in batch for gone in _answer(stage, served, [one])]
        traceback.print_exception(error)
        name, stage_name = type(error).__name__, served[batch[0][0]].clock.time.stage
        known = isinstance(error, RtauError)
        broken[batch[0][0]] = (
            Failed(name, str(error)) if known else Failed("WorkerError", f"{stage_name}: {name}: {error}")
        )
        payloads = [b""]
    done = time.monotonic_ns()
    del works  # views of the rings
    gone = []
    for (inbox, item), payload in zip(batch, payloads, strict=True):
        chain = served[inbox]
        chain.clock.add((done - begun) / 1e9 / len(batch))
        try:
            if inbox in broken:
                failed = broken[inbox]
                chain.port.outbox.send_bytes(encode(End([], error=failed.error, text=failed.text)))
                gone.append(inbox)
                continue
            chain.port.outbox.send_bytes(encode(Item(payload, item.slot, [*item.stamps, begun, done])))
            if item.slot is not None:
                free(chain.port.freed, item.slot)
            chain.ask()
        except OSError:
            gone.append(inbox)
    return gone
