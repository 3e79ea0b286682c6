"""Read a feed: `for frame in rtau.subscribe(): ...`, and the same for asyncio."""

import asyncio
import logging
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import zmq
import zmq.asyncio

from rtau.errors import FeedError
from rtau.feed.keys import client_keys
from rtau.feed.wire import DEFAULT_ENDPOINT, AnyMessage, decode, printable

_LONGEST = 1 << 24  # bytes of a message; 64 faces with landmarks have 1 MiB
_LOG = logging.getLogger("rtau.feed")


class FeedTimeout(FeedError):
    """No message came in time. The subscription goes on: the next one may be asked for."""


def subscribe(
    endpoint: str = DEFAULT_ENDPOINT,
    topics: Sequence[str] = ("au.",),
    *,
    timeout_s: float | None = None,
    newest: bool = False,
    queue: int = 200,
    curve: str | Path | None = None,
) -> "Subscription":
    """The messages of a feed, as they come: AUFrame, Event, Health, RunHealth and Hello (rtau.messages).

    A topic that ends in a dot means all that begin with it, "" all there are. The publisher may start later and come
    back: ZeroMQ connects again. With `timeout_s`, waiting longer raises FeedTimeout. At most `queue` messages wait
    here for a slow reader; with `newest`, what was overtaken by a newer message of its topic is passed over (events
    never are). `curve` is the client's key folder. Raises FeedError for a bad endpoint or bad keys.
    """
    return Subscription(endpoint, topics, timeout_s=timeout_s, newest=newest, queue=queue, curve=curve)


def subscribe_async(
    endpoint: str = DEFAULT_ENDPOINT,
    topics: Sequence[str] = ("au.",),
    *,
    timeout_s: float | None = None,
    newest: bool = False,
    queue: int = 200,
    curve: str | Path | None = None,
) -> "AsyncSubscription":
    """As `subscribe`, for `async for`."""
    return AsyncSubscription(endpoint, topics, timeout_s=timeout_s, newest=newest, queue=queue, curve=curve)


class Raw(NamedTuple):
    """A message as it came."""

    topic: str
    payload: bytes


class _Subscription:
    """What both kinds share: the socket's settings, the queue and the counts."""

    _new_context: Callable[[], Any]

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str],
        *,
        timeout_s: float | None,
        newest: bool,
        queue: int,
        curve: str | Path | None,
    ) -> None:
        if isinstance(topics, str):
            raise TypeError(f"topics must be a sequence of strings, got the string {topics!r}")
        self.missed = 0  # messages between the given ones: lost on the way, or passed over
        self.malformed = 0  # messages that no reader of this schema understands
        self._endpoint, self._topics = endpoint, tuple(topics)
        self._newest, self._queue, self._keys = newest, queue, curve is not None
        self._timeout_s = timeout_s or 0.0
        self._timeout_ms = None if timeout_s is None else round(1000 * timeout_s)
        self._waiting: dict[object, Raw] = {}  # oldest first; by topic where a newer message replaces an older one
        self._last_seq: dict[str, int] = {}
        context = self._new_context()
        self._close = weakref.finalize(self, context.destroy, 0)
        try:
            self._socket = context.socket(zmq.SUB)
            self._socket.setsockopt(zmq.RCVHWM, queue)
            self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
            self._socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)  # notice a publisher whose machine is gone
            self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
            self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
            if curve is not None:
                keys, server = client_keys(Path(curve))
                self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
                self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
                self._socket.setsockopt(zmq.CURVE_SERVERKEY, server)
            for topic in self._topics:
                self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._close()
            reason = zmq.strerror(error.errno or 0).lower()
            raise FeedError(f"{endpoint}: {reason}; subscribe to tcp://HOST:PORT or ipc://PATH") from error
        except BaseException:
            self._close()
            raise

    def close(self) -> None:
        """Leave the feed; iteration ends."""
        self._close()

    def _wanted(self, topic: str) -> bool:
        """ZeroMQ compares beginnings only: `au.1` would bring `au.10` too."""
        return any(
            topic == wanted or (wanted[-1:] in ("", ".") and topic.startswith(wanted)) for wanted in self._topics
        )

    def _take(self, parts: list[bytes]) -> None:
        """Put one multipart message into the queue."""
        try:
            topic, payload = parts[0].decode(), parts[1]
            if len(parts) != 2:
                raise ValueError
        except (IndexError, ValueError):
            self._refuse(f"{len(parts)} parts where a topic and a payload were expected")
            return
        if self._wanted(topic):
            replaceable = self._newest and not topic.startswith("event.")
            self._waiting[topic if replaceable else object()] = Raw(topic, payload)

    def _room(self) -> bool:
        """Whether to look for more before the next message is given out."""
        return len(self._waiting) < self._queue if self._newest else not self._waiting

    def _pop(self) -> Raw:
        return self._waiting.pop(next(iter(self._waiting)))

    def _understood(self, raw: Raw) -> AnyMessage | None:
        try:
            message = decode(*raw)
        except FeedError as error:
            self._refuse(str(error))
            return None
        last = self._last_seq.get(raw.topic, message.seq)
        self.missed += max(message.seq - last - 1, 0)  # a publisher that starts anew counts from 0
        self._last_seq[raw.topic] = message.seq
        return message

    def _refuse(self, why: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            _LOG.warning("%s: a message was skipped: %s; further ones are only counted", self._endpoint, printable(why))

    def late(self, timeout_s: float) -> FeedTimeout:
        """What to raise when nothing came for so long."""
        keys = " and does it know these keys" if self._keys else ""
        return FeedTimeout(f"{self._endpoint}: no message in {timeout_s:g} s; is the publisher running{keys}?")


class Subscription(_Subscription):
    """Iterate for messages; a `with` block closes it. Not for use from several threads."""

    _socket: "zmq.Socket[bytes]"
    _new_context = zmq.Context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AnyMessage:
        while True:
            raw = self._next_raw()
            if raw is None:
                raise StopIteration
            if (message := self._understood(raw)) is not None:
                return message

    def receive(self) -> Raw:
        """The next message as it came, understood or not. Raises FeedTimeout, and FeedError once closed."""
        raw = self._next_raw()
        if raw is None:
            raise FeedError(f"{self._endpoint}: the subscription is closed")
        return raw

    def _next_raw(self) -> Raw | None:
        while not self._socket.closed:
            while self._room() and self._socket.poll(0):
                self._take(self._socket.recv_multipart())
            if self._waiting:
                return self._pop()
            if not self._socket.poll(self._timeout_ms):
                raise self.late(self._timeout_s)
        return None


class AsyncSubscription(_Subscription):
    """Iterate with `async for`; an `async with` block closes it."""

    _socket: zmq.asyncio.Socket
    _new_context = zmq.asyncio.Context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyMessage:
        while True:
            raw = await self._next_raw()
            if raw is None:
                raise StopAsyncIteration
            if (message := self._understood(raw)) is not None:
                return message

    async def _next_raw(self) -> Raw | None:
        try:
            while not self._socket.closed:
                while self._room() and await self._socket.poll(0):
                    self._take(await self._socket.recv_multipart())
                if self._waiting:
                    return self._pop()
                if not await self._socket.poll(self._timeout_ms):
                    raise self.late(self._timeout_s)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._socket.closed or (task is not None and task.cancelling()):
                raise  # not the effect of `close` in another task
        return None
