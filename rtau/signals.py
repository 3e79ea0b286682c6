"""Ctrl-C, SIGTERM and a terminal that closes: the first one ends a run in order, the second at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from rtau.errors import Interrupted

_HANG_UP = getattr(signal, "SIGHUP", None)  # Windows has none
STOPPING = (signal.SIGINT, signal.SIGTERM, *([] if _HANG_UP is None else [_HANG_UP]))


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None], at_once: str = "stopped at once") -> Iterator[list[int]]:
    """The first signal calls `stop`, the second raises Interrupted. Yields the signals that came, as they come.

    A terminal that closes may say so twice, which counts once; under nohup it is not listened to.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            stop()
        elif number != _HANG_UP:
            raise Interrupted(at_once)

    ignored = _HANG_UP is not None and signal.getsignal(_HANG_UP) == signal.SIG_IGN
    wanted = [number for number in STOPPING if number != _HANG_UP or not ignored]
    try:
        before = {number: signal.signal(number, handle) for number in wanted}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
