"""Pictures of a live source that its first stage has not asked for yet."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

from rtau.config import Policy
from rtau.runtime.flow import Item


class _Rule(NamedTuple):
    kept: int | None  # so many pictures wait at most; None: as many as there are slots
    yields: bool  # the oldest one makes room for a new one


_RULES: dict[Policy, _Rule] = {
    "newest": _Rule(1, True),
    "drop_oldest": _Rule(None, True),
    "drop_latest": _Rule(None, False),
}


class Waiting:
    """Holds what has been decoded; a thread passes one item on for every time that the stage asks."""

    def __init__(self, policy: Policy, asks: Connection, send: Callable[[Item], None]) -> None:
        self._rule, self._asks, self._send = _RULES[policy], asks, send
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished, self._gone = False, False
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> list[int]:
        """Add the newest item; returns the slots of those that it replaces. Raises EOFError when the stage is gone."""
        with self._changed:
            if self._gone:
                raise EOFError
            self._items.append(item)
            pictures = sum(waiting.slot is not None for waiting in self._items)
            passed = self._oldest() if self._rule.kept is not None and pictures > self._rule.kept else []
            self._changed.notify()
        return passed

    def give_up(self) -> list[int]:
        """The slot of the oldest picture that waits, which is dropped; none where the policy keeps it."""
        with self._changed:
            return self._oldest() if self._rule.yields else []

    def finish(self) -> None:
        """Wait until everything has been passed on."""
        with self._changed:
            self._finished = True
            self._changed.notify()
        self._thread.join()

    def _oldest(self) -> list[int]:
        for item in self._items:
            if item.slot is not None:  # places where decoding failed cost nothing and stay
                self._items.remove(item)
                return [item.slot]
        return []

    def _pass_on(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._asks.recv_bytes()
                with self._changed:
                    self._changed.wait_for(lambda: self._items or self._finished)
                    if not self._items:
                        return
                    item = self._items.popleft()
                self._send(item)
        with self._changed:
            self._gone = True
