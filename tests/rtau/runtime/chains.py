"""Small sources and stages for the runtime's tests: numbers travel, slots hold one byte of each."""

import os
import signal
import time
from collections.abc import Callable, Iterator

from rtau.errors import DamagedSourceError, LostDeviceError, ModelError
from rtau.runtime.flow import Item
from rtau.runtime.shared import BatchStage, SharedStage, Work
from rtau.runtime.supervisor import Layout, Supervisor
from rtau.runtime.worker import Slots, Source, Stage


class Counting:
    """0, 1, ... n - 1."""

    slot_bytes, about = 16, b"numbers"

    def __init__(self, n: int) -> None:
        self._n = n

    def __call__(self, slots: Slots) -> Iterator[Item]:
        for i in range(self._n):
            if slots.stopped():
                return
            slot = slots.take()
            if slot is not None:
                slots.ring.slot(slot)[0] = i % 256
                yield Item(str(i).encode(), slot)


class Breaking(Counting):
    """The same, and then the damage."""

    def __call__(self, slots: Slots) -> Iterator[Item]:
        yield from super().__call__(slots)
        raise DamagedSourceError("clip.mp4: ends early")


class Hanging(Counting):
    """The same, and then nothing more, as a camera or server that hangs."""

    def __call__(self, slots: Slots) -> Iterator[Item]:
        yield from super().__call__(slots)
        time.sleep(1000)


def never_open() -> Source:
    time.sleep(1000)
    raise AssertionError


def add_slot_byte(payload: bytes, slot: memoryview | None) -> bytes:
    assert slot is not None
    return b"%s/%d" % (payload, slot[0])


def adding() -> Stage:
    return add_slot_byte


def pass_on(payload: bytes, slot: memoryview | None) -> bytes:
    return payload


def unchanged() -> Stage:
    return pass_on


def slowly(payload: bytes, slot: memoryview | None) -> bytes:
    time.sleep(0.01)
    return payload


def slow() -> Stage:
    return slowly


def without_model() -> Stage:
    raise ModelError("weights: sha256 differs")


def raise_at_three(payload: bytes, slot: memoryview | None) -> bytes:
    if payload == b"3":
        raise ZeroDivisionError("division by zero")
    return payload


def raising() -> Stage:
    return raise_at_three


def die_at_three(payload: bytes, slot: memoryview | None) -> bytes:
    if payload == b"3":
        os.kill(os.getpid(), signal.SIGKILL)
    return payload


def dying() -> Stage:
    return die_at_three


def stop_at_three(payload: bytes, slot: memoryview | None) -> bytes:
    if payload == b"3":
        os.kill(os.getpid(), signal.SIGSTOP)
    return payload


def freezing() -> Stage:
    return stop_at_three


def supervisor(
    source: Callable[[], Source],
    *stages: Callable[[], Stage],
    slots: int = 3,
    stall_timeout_s: float = 30,
    silence_s: float | None = None,
) -> Supervisor:
    """A chain of the given builds, named `source`, `first`, `second`, ..."""
    names = ("first", "second", "third")
    table = Layout(("source", source), list(zip(names, stages, strict=False)), silence_s=silence_s)
    return Supervisor(table, slots, start_timeout_s=60, stall_timeout_s=stall_timeout_s)


# Stages that several chains share


class Adding:
    """Each message with its slot's byte, its source, and how many shared the batch."""

    def open(self, source: str) -> None:
        pass

    def close(self, source: str) -> None:
        pass

    def __call__(self, works: list[Work]) -> list[bytes]:
        return [b"%s:%s/%d" % (source.encode(), payload, len(works)) for source, payload, _ in works]


class Raising(Adding):
    """A three from source `a` is too much for it."""

    def __call__(self, works: list[Work]) -> list[bytes]:
        if any(source == "a" and payload == b"3" for source, payload, _ in works):
            raise ZeroDivisionError("division by zero")
        return super().__call__(works)


class Losing(Adding):
    """The device fails at a three from source `a`, and no batch has a second try."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, works: list[Work]) -> list[bytes]:
        assert not self._lost
        self._lost = any(source == "a" and payload == b"3" for source, payload, _ in works)
        if self._lost:
            raise LostDeviceError("NVIDIA H100 (cuda:0) failed; use --device cpu")
        return super().__call__(works)


class Telling(Adding):
    """Who has been opened and closed so far."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def open(self, source: str) -> None:
        self._told.append(f"+{source}")

    def close(self, source: str) -> None:
        self._told.append(f"-{source}")

    def __call__(self, works: list[Work]) -> list[bytes]:
        return ["".join(self._told).encode() for _ in works]


def without_weights() -> BatchStage:
    raise ModelError("weights: sha256 differs")


def joined(
    stage: SharedStage,
    source_id: str,
    source: Callable[[], Source],
    *,
    stall_timeout_s: float = 30,
    together: int = 1,
) -> Supervisor:
    """A chain of a source, a slow stage, and the shared one."""
    table = Layout(("source", source), [("first", slow)], stage, source_id, together=together)
    return Supervisor(table, slots=3, start_timeout_s=60, stall_timeout_s=stall_timeout_s)
