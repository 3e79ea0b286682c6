"""The body of every child process of a chain: take a message, work, pass a message on. Written once."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Protocol

import msgspec

from rtau.config import Policy
from rtau.errors import RtauError
from rtau.messages import StageTime
from rtau.runtime.flow import Begin, End, Failed, Item, Ready, decode_flow, decode_ring, encode
from rtau.runtime.ring import Ring
from rtau.runtime.waiting import Waiting
from rtau.signals import STOPPING

_LOOK_S = 1.0  # at least so often a silent source is looked at


class Slots:
    """The free slots of the ring, as a source sees them. Where `waiting` is given, the source never waits for one."""

    def __init__(self, ring: Ring, freed: Connection, stop: Connection, waiting: Waiting | None = None) -> None:
        self.ring, self._freed, self._stop, self._waiting = ring, freed, stop, waiting
        self._free = list(range(ring.address.slots))
        self.waited_s = 0.0
        self.dropped = 0
        self.heard_at = time.monotonic()  # when the source last gave a frame; never is it silent while it waits here

    def take(self) -> int | None:
        """The number of a free slot; None, and counted, where the policy gives up the frame that has just come."""
        self.heard_at = time.monotonic()
        if self._waiting is None:
            return self._wait_for_one()
        self._collect(block=False)
        if not self._free:
            self._free += self._waiting.give_up()
            self.dropped += 1
        return self._free.pop() if self._free else None

    def passed_over(self, slots: list[int]) -> None:
        """Pictures that a newer one has replaced."""
        self._free += slots
        self.dropped += len(slots)

    def stopped(self) -> bool:
        """Whether the run was asked to decode no further."""
        return self._stop.poll()

    def _wait_for_one(self) -> int:
        start, self.heard_at = time.perf_counter(), float("inf")
        self._collect(block=not self._free)
        self.waited_s += time.perf_counter() - start
        self.heard_at = time.monotonic()
        return self._free.pop()

    def _collect(self, *, block: bool) -> None:
        while block or self._freed.poll():
            self._free.append(int.from_bytes(self._freed.recv_bytes(), "little"))
            block = False


class Wiring(msgspec.Struct, frozen=True):
    """The connections of one process. A source has no inbox, the last stage frees the slots."""

    control: Connection
    outbox: Connection
    inbox: Connection | None = None
    freed: Connection | None = None
    go: Connection | None = None  # to the source: the ring, when everybody is ready
    stop: Connection | None = None
    asks: Connection | None = None  # from the first stage to the source: ready for the next picture
    policy: Policy = "wait"
    silence_s: float | None = None  # a source without a frame for so long has ended in an error; None: it may be silent


class Source(Protocol):
    """Frames from outside. It is opened when it is built."""

    slot_bytes: int  # of its largest picture
    about: bytes  # what it says of itself, for whoever started the run

    def __call__(self, slots: Slots) -> Iterator[Item]:
        """The frames, their pictures in slots."""


Stage = Callable[[bytes, memoryview | None], bytes]  # message and picture slot in, message out


def run_source(name: str, build: Callable[[], Source], wiring: Wiring) -> None:
    """Child process: messages of a source go out as slots come free. The source's own error travels as its end."""
    assert wiring.freed is not None
    assert wiring.go is not None
    assert wiring.stop is not None
    with reporting(name, wiring.control):
        source = build()
        wiring.control.send_bytes(encode(Ready(source.slot_bytes, source.about)))
        address = decode_ring(wiring.go.recv_bytes())  # the stages are ready too: a live picture does not wait for them
        with Ring.attach(address) as ring:
            wiring.outbox.send_bytes(encode(Begin(address)))
            _give(name, source, ring, wiring)


def _give(name: str, source: Source, ring: Ring, wiring: Wiring) -> None:
    """All that comes of a source, and its end."""
    assert wiring.freed is not None
    assert wiring.stop is not None
    outbox, waiting, clock = wiring.outbox, None, Clock(name)
    if wiring.policy != "wait":
        assert wiring.asks is not None
        waiting = Waiting(wiring.policy, wiring.asks, lambda item: outbox.send_bytes(encode(item)))
    slots = Slots(ring, wiring.freed, wiring.stop, waiting)
    one_end = threading.Lock()  # taken by whatever ends the source first, and never given back

    def finish(end: End) -> None:
        if one_end.acquire(blocking=False):
            if waiting is not None:
                waiting.finish()
            clock.add(-slots.waited_s, frames=0)
            outbox.send_bytes(encode(msgspec.structs.replace(end, times=[clock.time], dropped=slots.dropped)))

    if wiring.silence_s is not None:
        threading.Thread(target=_listen, args=(slots, wiring.silence_s, finish), daemon=True).start()
    end = End([])
    try:
        for item in clock.over(source(slots)):
            slots.heard_at = time.monotonic()
            item = msgspec.structs.replace(item, stamps=[time.monotonic_ns()])
            if waiting is None:
                outbox.send_bytes(encode(item))
            else:
                slots.passed_over(waiting.put(item))
    except RtauError as error:
        end = End([], error=type(error).__name__, text=str(error))
    finish(end)


def _listen(slots: Slots, silence_s: float, finish: Callable[[End], None]) -> None:
    """A camera or server that hangs cannot be interrupted: end in its place. The process is killed with its chain."""
    while (left := slots.heard_at + silence_s - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_S))
    with contextlib.suppress(OSError):
        finish(End([], error="SourceError", text=f"no frame came for {silence_s:g} s"))


def run_stage(name: str, build: Callable[[], Stage], wiring: Wiring) -> None:
    """Child process: every message of the inbox through the stage to the outbox, in order, until the end comes."""
    assert wiring.inbox is not None
    with reporting(name, wiring.control):
        stage = build()
        wiring.control.send_bytes(encode(Ready()))
        begin, clock = decode_flow(wiring.inbox.recv_bytes()), Clock(name)
        assert isinstance(begin, Begin)
        wiring.outbox.send_bytes(encode(begin))
        with Ring.attach(begin.ring) as ring:
            while True:
                if wiring.asks is not None:
                    with contextlib.suppress(BrokenPipeError):  # the source may have ended
                        wiring.asks.send_bytes(b"")
                message = decode_flow(wiring.inbox.recv_bytes())
                if not isinstance(message, Item):
                    break
                begun = time.monotonic_ns()
                payload = stage(message.payload, None if message.slot is None else ring.slot(message.slot))
                done = time.monotonic_ns()
                clock.add((done - begun) / 1e9)
                wiring.outbox.send_bytes(encode(Item(payload, message.slot, [*message.stamps, begun, done])))
                if wiring.freed is not None and message.slot is not None:
                    free(wiring.freed, message.slot)
        assert isinstance(message, End)
        wiring.outbox.send_bytes(encode(msgspec.structs.replace(message, times=[*message.times, clock.time])))


def free(freed: Connection, slot: int) -> None:
    """Give a slot back to the source, which may have ended."""
    with contextlib.suppress(BrokenPipeError):
        freed.send_bytes(slot.to_bytes(2, "little"))


class Clock:
    """How long a stage has worked, and on how many frames."""

    def __init__(self, stage: str) -> None:
        self._stage, self._frames, self._busy_s = stage, 0, 0.0

    def add(self, seconds: float, frames: int = 1) -> None:
        self._frames += frames
        self._busy_s += seconds

    def over(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, with the time spent making them."""
        while True:
            start = time.perf_counter()
            item = next(items, None)
            if item is None:
                return
            self.add(time.perf_counter() - start)
            yield item

    @property
    def time(self) -> StageTime:
        return StageTime(self._stage, self._frames, self._busy_s)


class reporting:
    """Signals are the supervisor's business; any other end of this process is told to it first."""

    def __init__(self, name: str, control: Connection) -> None:
        self._name, self._control = name, control

    def __enter__(self) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=_end_with_the_parent, daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, (EOFError, BrokenPipeError, ConnectionResetError)):
            sys.exit(0)  # a neighbour is gone; the supervisor has seen it
        failed = failure_of(self._name, error)
        with contextlib.suppress(OSError):
            self._control.send_bytes(encode(failed))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once: what libraries do at the end hangs or aborts where their device has failed


def failure_of(name: str, error: BaseException) -> Failed:
    """What to tell of an exception in a stage; the traceback of an unknown one goes to stderr, for the report."""
    if isinstance(error, RtauError):
        return Failed(type(error).__name__, str(error))
    traceback.print_exception(error)
    return Failed("WorkerError", f"{name}: {type(error).__name__}: {error}")


def _end_with_the_parent() -> None:
    """Whoever started this process was killed: nobody else would end it while it waits for a camera or a server."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
