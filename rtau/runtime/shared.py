"""One process that serves every source: it takes what has come from any of them as one batch."""

import contextlib
import multiprocessing
import threading
import time
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, Protocol

import msgspec

from rtau.errors import LostDeviceError, RtauError, WorkerError
from rtau.runtime.flow import Begin, End, Failed, Item, Ready, decode_control, decode_flow, encode, error_of
from rtau.runtime.ring import Ring
from rtau.runtime.worker import Clock, failure_of, free, reporting

_ANSWER_S = 2.0
_END_S = 2.0  # a process whose pipes are closed has ended by then; a GPU's memory takes its time


class Work(NamedTuple):
    """A message of one source."""

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
        """Messages of some sources in, each source's in order; the messages that follow from them out."""


class Port(NamedTuple):
    """The connections of one chain to the shared process.

    `together` messages of the source are worked on at once, fewer only at its end. `asks`, where the shared process is
    the first stage and the source does not wait: see runtime.worker.Wiring.
    """

    source: str
    inbox: Connection
    outbox: Connection
    freed: Connection
    asks: Connection | None = None
    together: int = 1


class SharedStage:
    """The shared process, seen from outside; safe to use from several threads. It starts when a chain joins.

    `start_timeout_s`, where it may take longer to build than the stages of a chain.
    """

    _control: Connection
    _intake: Connection

    def __init__(
        self, name: str, build: Callable[[], BatchStage], max_wait_s: float, start_timeout_s: float = 0.0
    ) -> None:
        self.name, self._build, self._max_wait_s, self.start_timeout_s = name, build, max_wait_s, start_timeout_s
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._is_ready = False
        self._failed: weakref.WeakKeyDictionary[BaseProcess, Failed] = weakref.WeakKeyDictionary()
        self.starts = 0

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.exitcode is not None else process.pid

    def join(self, port: Port) -> BaseProcess:
        """Serve one chain more; returns the process that does. The caller closes its own copies of the connections."""
        with self._lock:
            self._listen()
            if self._process is None or self._process.exitcode is not None or self._process in self._failed:
                self._start()
            assert self._process is not None
            try:
                self._intake.send(port)
            except OSError as error:
                raise WorkerError(f"the {self.name} process ended while a source was opened") from error
            return self._process

    def is_ready(self, process: BaseProcess) -> bool:
        """Whether the stage is built. Raises what it failed with; a death is for the caller to see."""
        with self._lock:
            self._listen()
            if (failed := self._failed.get(process)) is not None:
                raise error_of(failed.error, failed.text)
            return self._process is process and self._is_ready

    def failure(self, process: BaseProcess) -> RtauError | None:
        """Why the process has ended, the same for all whom it served; None where it goes on."""
        with self._lock:
            self._listen()
            failed = self._failed.get(process)
        if failed is not None:
            return error_of(failed.error, failed.text)
        process.join(_END_S)
        return None if process.exitcode is None else WorkerError(f"the {self.name} process {how_it_ended(process)}")

    def stop_if_stuck(self) -> None:
        """Kill the process when it does not answer; the chains notice and begin anew."""
        with self._lock:
            if self._process is None or self._process.exitcode is not None or not self._is_ready:
                return
            with contextlib.suppress(OSError, EOFError):
                self._intake.send(None)
                if self._control.poll(_ANSWER_S) and self._hear():
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
            self._process.kill()  # it has ended, or says that it is about to
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

    def _listen(self) -> None:
        """Take in what the process has said so far."""
        if self._process is not None:
            with contextlib.suppress(EOFError, OSError):
                while self._control.poll():
                    self._hear()

    def _hear(self) -> bool:
        """Take in one message; whether it says that the process is well."""
        assert self._process is not None
        message = decode_control(self._control.recv_bytes())
        if isinstance(message, Failed):
            self._failed[self._process] = message
        else:
            self._is_ready = True
        return self._process not in self._failed


def how_it_ended(process: BaseProcess) -> str:
    """In words, from the exit code."""
    code = process.exitcode or 0
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


class _Served:
    """One chain, inside the shared process."""

    def __init__(self, port: Port, clock: Clock) -> None:
        self.port, self.clock = port, clock
        self.ring: Ring | None = None  # its first message tells
        self.end: End | None = None  # its last one, which waits for the answers to those before it
        self._held: list[Item] = []

    def begin(self, message: Begin) -> None:
        """Its pictures will come."""
        self.ring = Ring.attach(message.ring)
        self.pass_on(message)
        self.ask()

    def ask(self) -> None:
        """Tell a source that does not wait that its next picture can be looked at."""
        if self.port.asks is not None:
            with contextlib.suppress(OSError):  # the source may have ended
                self.port.asks.send_bytes(b"")

    def take(self, message: Item | End) -> list[Item]:
        """What is to be worked on now that this message has come."""
        if isinstance(message, End):
            self.end = message
        else:
            self._held.append(message)
        if self.end is None and len(self._held) < self.port.together:
            return []
        now, self._held = self._held, []
        return now

    def work(self, item: Item) -> Work:
        assert self.ring is not None
        return Work(self.port.source, item.payload, None if item.slot is None else self.ring.slot(item.slot))

    def finish(self) -> None:
        """Pass on the end, where it has come."""
        if self.end is not None:
            end, self.end = self.end, None
            with contextlib.suppress(OSError):  # nobody waits for it any more
                self.pass_on(msgspec.structs.replace(end, times=[*end.times, self.clock.time]))

    def pass_on(self, message: Begin | Item | End) -> None:
        self.port.outbox.send_bytes(encode(message))

    def close(self) -> None:
        if self.ring is not None:
            self.ring.close()
        for connection in (self.port.inbox, self.port.outbox, self.port.freed, self.port.asks):
            if connection is not None:
                connection.close()


def _serve(
    name: str, build: Callable[[], BatchStage], max_wait_s: float, control: Connection, intake: Connection
) -> None:
    """Child process: batches of what has come from all sources, until it is killed or its starter has gone."""
    with reporting(name, control):
        stage = build()
        control.send_bytes(encode(Ready()))
        served: dict[Connection, _Served] = {}
        while True:
            ready = _arrived(intake, list(served), max_wait_s)
            batch: list[tuple[_Served, Item]] = []
            gone: list[_Served] = []
            for chain in [served[inbox] for inbox in ready if inbox is not intake]:
                try:
                    message = decode_flow(chain.port.inbox.recv_bytes())
                    if isinstance(message, Begin):
                        chain.begin(message)
                    else:
                        batch += [(chain, item) for item in chain.take(message)]
                except (EOFError, OSError):  # that chain has ended, or died
                    gone.append(chain)
            for chain in [*gone, *_answer(name, stage, batch)]:
                stage.close(chain.port.source)
                served.pop(chain.port.inbox).close()
            for chain in served.values():
                chain.finish()
            if intake in ready:  # after those that have gone: one of them may begin again, under the same name
                port = intake.recv()  # from the process that started this one; connections travel no other way
                if port is None:
                    control.send_bytes(encode(Ready()))
                else:
                    stage.open(port.source)
                    served[port.inbox] = _Served(port, Clock(name))


def _arrived(intake: Connection, inboxes: list[Connection], max_wait_s: float) -> list[Connection]:
    """The connections with a message; the first one waits a moment for those of other sources."""
    ready = wait([intake, *inboxes])
    if max_wait_s > 0:
        deadline = time.monotonic() + max_wait_s
        while intake not in ready and len(ready) < len(inboxes) and (left := deadline - time.monotonic()) > 0:
            others = wait([intake, *(inbox for inbox in inboxes if inbox not in ready)], left)
            ready = [*ready, *others]
    return [connection for connection in (intake, *inboxes) if connection in ready]


def _answer(name: str, stage: BatchStage, batch: list[tuple[_Served, Item]]) -> list[_Served]:
    """Work on a batch and send what comes of it; returns the chains that cannot go on."""
    if not batch:
        return []
    begun = time.monotonic_ns()
    try:
        payloads = stage([chain.work(item) for chain, item in batch])
    except LostDeviceError:  # no source's fault, and nothing else will go better: the process ends
        raise
    except Exception as error:  # whatever it is, it must cost no more than the source that it comes from
        if len(batch) > 1:
            failed: list[_Served] = []
            for chain, item in batch:
                if chain not in failed:
                    failed += _answer(name, stage, [(chain, item)])
            return failed
        cause = failure_of(name, error)
        ((chain, _),) = batch
        with contextlib.suppress(OSError):
            chain.pass_on(End([], error=cause.error, text=cause.text))
        return [chain]
    done = time.monotonic_ns()
    gone: list[_Served] = []
    for (chain, item), payload in zip(batch, payloads, strict=True):
        if chain in gone:
            continue
        chain.clock.add((done - begun) / 1e9 / len(batch))
        try:
            chain.pass_on(Item(payload, item.slot, [*item.stamps, begun, done]))
            if item.slot is not None:
                free(chain.port.freed, item.slot)
            chain.ask()
        except OSError:
            gone.append(chain)
    return gone
