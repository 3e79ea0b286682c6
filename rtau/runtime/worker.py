"""The body of every child process of a chain: take a message, work, pass a message on. Written once."""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import msgspec

from rtau.config import Policy
from rtau.errors import RtauError
from rtau.messages import StageTime
from rtau.runtime.flow import End, Failed, Item, Ready, decode_flow, encode
from rtau.runtime.ring import Ring, RingAddress
from rtau.runtime.waiting import Waiting


class Slots:
    """The free slots of the ring, as a source sees them. Where `waiting` is given, the source never waits for one."""

    def __init__(self, ring: Ring, freed: Connection, stop: Connection, waiting: Waiting | None = None) -> None:
        self.ring, self._freed, self._stop, self._waiting = ring, freed, stop, waiting
        self._free = list(range(ring.address.slots))
        self.waited_s = 0.0
        self.dropped = 0

    def take(self) -> int | None:
        """The number of a free slot; None, and counted, where the policy gives up the frame that has just come."""
        if self._waiting is None:
            start = time.perf_counter()
            self._collect(block=not self._free)
            self.waited_s += time.perf_counter() - start
            return self._free.pop()
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

    def _collect(self, *, block: bool) -> None:
        while block or self._freed.poll():
            self._free.append(int.from_bytes(self._freed.recv_bytes(), "little"))
            block = False


class Wiring(msgspec.Struct, frozen=True):
    """The connections of one process. A source has no inbox, the last stage frees the slots."""

    ring: RingAddress
    control: Connection
    outbox: Connection
    inbox: Connection | None = None
    freed: Connection | None = None
    stop: Connection | None = None
    asks: Connection | None = None  # from the first stage to the source: ready for the next picture
    policy: Policy = "wait"


Source = Callable[[Slots], Iterator[Item]]
Stage = Callable[[bytes, memoryview | None], bytes]  # message and picture slot in, message out


def run_source(name: str, build: Callable[[], Source], wiring: Wiring) -> None:
    """Child process: messages of a source go out as slots come free. The source's own error travels as its end."""
    assert wiring.freed is not None
    assert wiring.stop is not None
    with reporting(name, wiring.control), Ring.attach(wiring.ring) as ring:
        source = build()
        waiting = None
        if wiring.policy != "wait":
            assert wiring.asks is not None
            waiting = Waiting(wiring.policy, wiring.asks, lambda item: wiring.outbox.send_bytes(encode(item)))
        slots = Slots(ring, wiring.freed, wiring.stop, waiting)
        wiring.control.send_bytes(encode(Ready()))
        wiring.stop.recv_bytes()  # until the stages are ready too: a live picture does not wait for them
        clock, end = Clock(name), End([])
        try:
            for item in clock.over(source(slots)):
                item = msgspec.structs.replace(item, stamps=[time.monotonic_ns()])
                if waiting is None:
                    wiring.outbox.send_bytes(encode(item))
                else:
                    slots.passed_over(waiting.put(item))
        except RtauError as error:
            end = End([], error=type(error).__name__, text=str(error))
        if waiting is not None:
            waiting.finish()
        clock.add(-slots.waited_s, frames=0)
        wiring.outbox.send_bytes(encode(msgspec.structs.replace(end, times=[clock.time], dropped=slots.dropped)))


def run_stage(name: str, build: Callable[[], Stage], wiring: Wiring) -> None:
    """Child process: every message of the inbox through the stage to the outbox, in order, until the end comes."""
    assert wiring.inbox is not None
    with reporting(name, wiring.control), Ring.attach(wiring.ring) as ring:
        stage = build()
        wiring.control.send_bytes(encode(Ready()))
        clock = Clock(name)
        while True:
            if wiring.asks is not None:
                with contextlib.suppress(BrokenPipeError):  # the source may have ended; its last words are in the inbox
                    wiring.asks.send_bytes(b"")
            message = decode_flow(wiring.inbox.recv_bytes())
            if isinstance(message, End):
                break
            begun = time.monotonic_ns()
            payload = stage(message.payload, None if message.slot is None else ring.slot(message.slot))
            done = time.monotonic_ns()
            clock.add((done - begun) / 1e9)
            wiring.outbox.send_bytes(encode(Item(payload, message.slot, [*message.stamps, begun, done])))
            if wiring.freed is not None and message.slot is not None:
                free(wiring.freed, message.slot)
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
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, (EOFError, BrokenPipeError, ConnectionResetError)):
            sys.exit(0)  # a neighbour is gone; the supervisor has seen it
        if isinstance(error, RtauError):
            failed = Failed(type(error).__name__, str(error))
        else:
            traceback.print_exception(error)
            failed = Failed("WorkerError", f"{self._name}: {type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            self._control.send_bytes(encode(failed))
        sys.exit(1)
