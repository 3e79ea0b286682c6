"""Ctrl-C and SIGTERM: the first one ends a run in order, the second at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from rtau.errors import Interrupted


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None], at_once: str = "stopped at once") -> Iterator[list[int]]:
    """The first signal calls `stop`, the second raises Interrupted. Yields the signals that came, as they come."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise Interrupted(at_once)
        stop()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
