"""A ZeroMQ socket that tells everybody everything and waits for nobody."""

import errno
import ipaddress
import re
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
from zmq.auth import load_certificate
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import parse_monitor_message

from rtau.errors import FeedError
from rtau.feed.config import FeedConfig
from rtau.feed.keys import server_keys

_LINGER_MS = 200  # the last messages of a run may take this long to leave
_KEPT_PAUSE_S = 0.05  # a subscriber that asks again and again gets kept messages at this pace
_SUBSCRIPTIONS_AT_ONCE = 1000
_LONGEST_REQUEST = 4096  # bytes that a subscriber may send: subscriptions and handshakes are shorter
_SEND_BUFFER = 1 << 18  # bytes in the kernel for one subscriber; more would only make a slow one's frames older
_TCP = re.compile(r"tcp://(?:\[(?P<six>[^]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\*|\d{1,5})")


class Broadcast:
    """Topics and payloads for all who subscribed; a subscriber that does not read loses messages, nobody else.

    Not for use from several threads. Raises FeedError when an endpoint is malformed, in use, or can be reached from
    other machines without keys or `insecure`.
    """

    def __init__(self, config: FeedConfig) -> None:
        for endpoint in config.endpoints:
            _check(endpoint, guarded=config.curve is not None or config.insecure)
        if not config.endpoints:
            raise FeedError("no endpoint to publish on; give one, such as tcp://127.0.0.1:5570")
        self.overflows = 0  # how often the queue of a subscriber that does not read became full
        self._kept: dict[bytes, bytes] = {}
        self._asked: set[bytes] = set()  # kept topics that a new subscriber waits for
        self._not_before = 0.0  # when they may be sent
        self._connections: set[int] = set()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard: ThreadAuthenticator | None = None
        self.endpoints: tuple[str, ...] = ()  # where subscribers connect, with the ports that were free
        try:
            self._socket = self._open(config)
            self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
            for endpoint in config.endpoints:
                self.endpoints += (self._bind(endpoint),)
        except BaseException:
            self.close()
            raise

    def send(self, topic: bytes, payload: bytes) -> None:
        """Never blocks."""
        try:
            self._socket.send_multipart((topic, payload), zmq.NOBLOCK)
        except zmq.Again:
            # Somebody's queue is full. Told to drop, ZeroMQ serves the others and passes over this one until it has
            # read half of its queue; only then can it overflow, and be noticed, again.
            self.overflows += 1
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)
            self._socket.send_multipart((topic, payload), zmq.NOBLOCK)
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def keep(self, topic: bytes, payload: bytes) -> None:
        """Send now, and again to everybody who subscribes later; replaces what was kept on this topic."""
        self._kept[topic] = payload
        self.send(topic, payload)

    def forget(self, topic: bytes) -> None:
        """Keep the topic's message no longer."""
        self._kept.pop(topic, None)
        self._asked.discard(topic)

    def repeat(self) -> None:
        """Send all kept messages again."""
        self._asked.update(self._kept)

    def serve(self) -> int:
        """Give new subscribers the kept messages; cheap, to be called often. Returns how many subscriptions came."""
        came = 0
        for _ in range(_SUBSCRIPTIONS_AT_ONCE):
            if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                break
            request = self._socket.recv()
            if request[:1] == b"\x01":
                came += 1
                self._asked.update(topic for topic in self._kept if topic.startswith(request[1:]))
        now = time.monotonic()
        if self._asked and now >= self._not_before:
            self._not_before = now + _KEPT_PAUSE_S
            for topic in self._asked:
                self.send(topic, self._kept[topic])
            self._asked.clear()
        return came

    def wait(self, timeout_s: float) -> None:
        """Until there is something to `serve`, or the time is over."""
        if self._asked:
            timeout_s = min(timeout_s, max(self._not_before - time.monotonic(), 0.0))
        if timeout_s >= 1e-3:
            self._socket.poll(int(1000 * timeout_s))
        else:
            time.sleep(timeout_s)  # shorter than ZeroMQ can wait

    @property
    def subscribers(self) -> int:
        """Open connections."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._connections.add(event["value"])
            else:
                self._connections.discard(event["value"])
        return len(self._connections)

    def close(self) -> None:
        """Send what is under way, for a moment, and free the endpoints."""
        if self._guard is not None:
            self._guard.stop()
        for endpoint in self.endpoints:
            path = endpoint.removeprefix("ipc://")
            if path != endpoint and not path.startswith("@"):  # ZeroMQ leaves the file; while bound, it is ours
                Path(path).unlink(missing_ok=True)
        self.endpoints = ()
        self._context.destroy(linger=_LINGER_MS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, config: FeedConfig) -> "zmq.Socket[bytes]":
        publisher = self._context.socket(zmq.XPUB)
        publisher.setsockopt(zmq.XPUB_VERBOSE, 1)  # report every subscriber, not only the first of a topic
        publisher.setsockopt(zmq.XPUB_NODROP, 1)  # report a full queue, see `send`
        publisher.setsockopt(zmq.SNDHWM, config.high_water_mark)
        publisher.setsockopt(zmq.SNDBUF, _SEND_BUFFER)
        publisher.setsockopt(zmq.MAXMSGSIZE, _LONGEST_REQUEST)
        publisher.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
        publisher.setsockopt(zmq.HEARTBEAT_IVL, 5_000)  # whose cable was pulled is gone after a while
        publisher.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
        publisher.setsockopt(zmq.IPV6, any("[" in endpoint for endpoint in config.endpoints))
        if config.curve is not None:
            keys = server_keys(Path(config.curve))
            self._guard = ThreadAuthenticator(self._context)
            self._guard.configure_curve_callback(credentials_provider=_AllowList(Path(config.curve) / "clients"))
            self._guard.start()
            publisher.setsockopt(zmq.CURVE_SERVER, 1)
            publisher.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        return publisher

    def _bind(self, endpoint: str) -> str:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            cure = "stop the other publisher or choose another address" if error.errno == errno.EADDRINUSE else ""
            reason = zmq.strerror(error.errno or 0).lower()
            raise FeedError(f"{endpoint}: {reason}; {cure or 'publish on an address of this machine'}") from error
        return self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")


class _AllowList:
    """The clients of a folder; read at every handshake, so that clients can be added and removed at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the client with this public key (Z85) may connect."""
        for path in self._folder.glob("*.key"):
            try:
                if load_certificate(path)[0] == key:
                    return True
            except (OSError, ValueError):
                continue  # a damaged file lets nobody in
        return False


def _check(endpoint: str, *, guarded: bool) -> None:
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        _check_path(endpoint, Path(endpoint.removeprefix("ipc://")))
        return
    parts = _TCP.fullmatch(endpoint)
    if parts is None or (parts["port"] != "*" and int(parts["port"]) >= 1 << 16):
        raise FeedError(f"{endpoint!r} is not an address to publish on; use tcp://HOST:PORT or ipc://PATH")
    if not (guarded or _is_loopback(parts["six"] or parts["host"])):
        raise FeedError(
            f"{endpoint}: other machines can reach this address; give keys with --curve FOLDER (rtau keys new makes "
            "them), or let anybody listen with --insecure"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_path(endpoint: str, path: Path) -> None:
    """ZeroMQ would delete whatever lies at the path, even another publisher's socket."""
    if str(path).startswith("@") or not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FeedError(f"{endpoint}: a file of this name exists; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # left behind by a publisher that was killed
    raise FeedError(f"{endpoint}: address already in use; stop the other publisher or choose another address")
