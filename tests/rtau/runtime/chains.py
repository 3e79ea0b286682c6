"""Small sources and stages for the runtime's tests: numbers travel, slots hold one byte of each."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial

from rtau.errors import DamagedSourceError, ModelError
from rtau.runtime.supervisor import Layout, Supervisor
from rtau.runtime.worker import Item, Slots, Source, Stage


def count(n: int, slots: Slots) -> Iterator[Item]:
    for i in range(n):
        if slots.stopped():
            return
        slot = slots.take()
        slots.ring.slot(slot)[0] = i % 256
        yield Item(str(i).encode(), slot)


def count_then_break(n: int, slots: Slots) -> Iterator[Item]:
    yield from count(n, slots)
    raise DamagedSourceError("clip.mp4: ends early")


def counting(n: int) -> Source:
    return partial(count, n)


def breaking(n: int) -> Source:
    return partial(count_then_break, n)


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


def supervisor(source: partial[Source], *stages: object, slots: int = 3, stall_timeout_s: float = 30) -> Supervisor:
    """A chain of the given builds, named `source`, `first`, `second`, ..."""
    names = ("first", "second", "third")
    table = Layout(("source", source), list(zip(names, stages, strict=False)))  # type: ignore[arg-type]
    return Supervisor(table, slots, slot_bytes=16, start_timeout_s=60, stall_timeout_s=stall_timeout_s)
