"""The body of every child process: take a message, work, pass a message on. Written once."""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import msgspec

from rtau import errors
from rtau.errors import RtauError
from rtau.messages import StageTime
from rtau.runtime.ring import Ring, RingAddress


class Item(msgspec.Struct, frozen=True, tag="item"):
    """One message of the journey. The slot with its picture goes back to the source after the last stage."""

    payload: bytes
    slot: int | None  # None: there is no picture


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last message. `error` names a class of rtau.errors when the source ended in one."""

    times: list[StageTime]
    dropped: int = 0  # frames that the source dropped because no slot was free
    error: str = ""
    text: str = ""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """On the control connection: the stage is built."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """On the control connection: why this process is about to end."""

    error: str
    text: str


_encode = msgspec.msgpack.Encoder().encode
decode_flow = msgspec.msgpack.Decoder(Item | End).decode
decode_control = msgspec.msgpack.Decoder(Ready | Failed).decode


def error_of(name: str, text: str) -> RtauError:
    """The exception of rtau.errors that a message names."""
    kind = getattr(errors, name, errors.WorkerError)
    error = kind(text)
    return error if isinstance(error, RtauError) else errors.WorkerError(text)


class Slots:
    """The free slots of the ring, as a source sees them: waits for one, so that nothing is ever lost."""

    def __init__(self, ring: Ring, freed: Connection, stop: Connection) -> None:
        self.ring, self._freed, self._stop = ring, freed, stop
        self._free = list(range(ring.address.slots))
        self.waited_s = 0.0
        self.dropped = 0

    def take(self) -> int:
        """The number of a free slot."""
        start = time.perf_counter()
        while not self._free or self._freed.poll():
            self._free.append(int.from_bytes(self._freed.recv_bytes(), "little"))
        self.waited_s += time.perf_counter() - start
        return self._free.pop()

    def take_now(self) -> int | None:
        """The number of a free slot; None, and counted, when there is none."""
        while self._freed.poll():
            self._free.append(int.from_bytes(self._freed.recv_bytes(), "little"))
        if self._free:
            return self._free.pop()
        self.dropped += 1
        return None

    def stopped(self) -> bool:
        """Whether the run was asked to decode no further."""
        return self._stop.poll()


class Wiring(msgspec.Struct, frozen=True):
    """The connections of one process. A source has no inbox, the last stage frees the slots."""

    ring: RingAddress
    control: Connection
    outbox: Connection
    inbox: Connection | None = None
    freed: Connection | None = None
    stop: Connection | None = None


Source = Callable[[Slots], Iterator[Item]]
Stage = Callable[[bytes, memoryview | None], bytes]  # message and picture slot in, message out


def run_source(name: str, build: Callable[[], Source], wiring: Wiring) -> None:
    """Child process: messages of a source go out as slots come free. The source's own error travels as its end."""
    assert wiring.freed is not None
    assert wiring.stop is not None
    with _reporting(name, wiring.control), Ring.attach(wiring.ring) as ring:
        source = build()
        slots = Slots(ring, wiring.freed, wiring.stop)
        wiring.control.send_bytes(_encode(Ready()))
        wiring.stop.recv_bytes()  # until the stages are ready too: a live picture does not wait for them
        clock, end = _Clock(name), End([])
        try:
            for item in clock.over(source(slots)):
                wiring.outbox.send_bytes(_encode(item))
        except RtauError as error:
            end = End([], error=type(error).__name__, text=str(error))
        clock.add(-slots.waited_s, frames=0)
        wiring.outbox.send_bytes(_encode(msgspec.structs.replace(end, times=[clock.time], dropped=slots.dropped)))


def run_stage(name: str, build: Callable[[], Stage], wiring: Wiring) -> None:
    """Child process: every message of the inbox through the stage to the outbox, in order, until the end comes."""
    assert wiring.inbox is not None
    with _reporting(name, wiring.control), Ring.attach(wiring.ring) as ring:
        stage = build()
        wiring.control.send_bytes(_encode(Ready()))
        clock = _Clock(name)
        while isinstance(message := decode_flow(wiring.inbox.recv_bytes()), Item):
            start = time.perf_counter()
            payload = stage(message.payload, None if message.slot is None else ring.slot(message.slot))
            clock.add(time.perf_counter() - start)
            wiring.outbox.send_bytes(_encode(Item(payload, message.slot)))
            if wiring.freed is not None and message.slot is not None:
                with contextlib.suppress(BrokenPipeError):  # the source may have ended
                    wiring.freed.send_bytes(message.slot.to_bytes(2, "little"))
        wiring.outbox.send_bytes(_encode(msgspec.structs.replace(message, times=[*message.times, clock.time])))


class _Clock:
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


class _reporting:
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
            self._control.send_bytes(_encode(failed))
        sys.exit(1)
