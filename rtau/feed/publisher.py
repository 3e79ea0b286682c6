"""The feed of one run: messages in, bytes on their topics out."""

import secrets
import time
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from rtau.feed.broadcast import Broadcast
from rtau.feed.config import FeedConfig
from rtau.feed.wire import check_source_id, encoder, topic_of
from rtau.messages import Hello, Message

__all__ = ["FeedConfig", "Publisher"]

_HELLO_EVERY_S = 5.0

Sent = TypeVar("Sent", bound=Message)


class Publisher:
    """Publishes at once and never blocks; what a slow subscriber loses, it can count by the gaps in `seq`.

    Not for use from several threads. Raises FeedError when an endpoint is malformed, in use, or can be reached from
    other machines without keys or `insecure`.
    """

    def __init__(self, config: FeedConfig | None = None) -> None:
        self._config = config or FeedConfig()
        self._broadcast = Broadcast(self._config)
        self._encode = encoder(self._config.encoding)
        self._run_id = secrets.token_hex(8)
        self._next: dict[str, int] = {}  # topic: seq
        self._hello_at = time.monotonic() + _HELLO_EVERY_S

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where subscribers connect, with the ports that were free."""
        return self._broadcast.endpoints

    @property
    def subscribers(self) -> int:
        """Open connections."""
        return self._broadcast.subscribers

    @property
    def overflows(self) -> int:
        """How often the queue of a subscriber that does not read became full.

        From then until it has read half of its queue it loses everything; ZeroMQ does not tell how much.
        """
        return self._broadcast.overflows

    def send(self, topic: str, message: Sent) -> Sent:
        """Number the message within its topic, stamp it with the time, and send it. Returns it as it was sent."""
        stamped = self._stamped(topic, message)
        self._broadcast.send(topic.encode(), self._encode(stamped))
        return stamped

    def hello(self, source: str, hello: Hello) -> None:
        """Introduce a source now, every few seconds, and to who subscribes. Raises FeedError for a bad name."""
        check_source_id(source)
        hello = msgspec.structs.replace(hello, run_id=self._run_id, encoding=self._config.encoding)
        topic = topic_of(hello)
        self._broadcast.keep(topic.encode(), self._encode(self._stamped(topic, hello)))

    def forget(self, source: str) -> None:
        """The source was removed: introduce it no longer."""
        self._broadcast.forget(f"hello.{source}".encode())
        for kind in ("au", "event", "health", "hello"):
            self._next.pop(f"{kind}.{source}", None)

    def serve(self) -> int:
        """Attend to new subscribers; cheap, to be called often. Returns how many subscriptions came."""
        if time.monotonic() >= self._hello_at:
            self._hello_at = time.monotonic() + _HELLO_EVERY_S
            self._broadcast.repeat()
        return self._broadcast.serve()

    def wait(self, timeout_s: float) -> None:
        """Until there is something to `serve`, or the time is over."""
        self._broadcast.wait(timeout_s)

    def close(self) -> None:
        """Send what is under way, for a moment, and free the endpoints."""
        self._broadcast.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stamped(self, topic: str, message: Sent) -> Sent:
        seq = self._next.get(topic, 0)
        self._next[topic] = seq + 1
        return msgspec.structs.replace(message, seq=seq, t_publish_ns=time.monotonic_ns())
