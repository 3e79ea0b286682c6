"""A feed in a file, and played again: topics and payloads byte for byte, with the time of their arrival.

    header    8 bytes "rtaufeed", uint32 version (1), uint32 zero, int64 monotonic and int64 wall time of the start
    message   uint32 bytes of the topic, uint32 bytes of the payload, int64 monotonic time of arrival, topic, payload

All numbers are little-endian, all times nanoseconds. A recording that breaks off is good up to its last whole message.
"""

import contextlib
import io
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from rtau.errors import DamagedSourceError, OutputError, SourceError
from rtau.feed.broadcast import Broadcast
from rtau.feed.config import FeedConfig
from rtau.place import check_place

_MAGIC, _VERSION = b"rtaufeed", 1
_HEADER = struct.Struct("<8sIIqq")
_MESSAGE = struct.Struct("<IIq")
_LONGEST_TOPIC, _LONGEST_PAYLOAD = 1 << 10, 1 << 24  # more is not a message

_MORE_TOPICS_S = 0.1  # a subscriber's topics come one after another


class Recorded(NamedTuple):
    t_ns: int  # arrival, on the monotonic clock of the machine that recorded
    topic: bytes
    payload: bytes


class Recorder:
    """Writes a new recording; every message is in the file when `write` returns. Raises OutputError.

    The file is made, or replaced, by the first message: when none comes, nothing has changed.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._path, self._overwrite = path, overwrite
        self.messages = 0
        self._file: io.FileIO | None = None
        self._end = 0  # of the last whole message
        self._header = _HEADER.pack(_MAGIC, _VERSION, 0, time.monotonic_ns(), time.time_ns())
        check_place(path, overwrite=overwrite)
        if not os.access(path if path.exists() else path.parent, os.W_OK):  # it is written in place, also into a pipe
            raise OutputError(f"{path}: is write-protected; write elsewhere")

    def write(self, topic: bytes, payload: bytes, t_ns: int) -> None:
        """Add one message that arrived at `t_ns`."""
        if self._file is None:
            self._file = self._open()
            self._append(self._file, self._header)
        self._append(self._file, _MESSAGE.pack(len(topic), len(payload), t_ns) + topic + payload)
        self.messages += 1

    def close(self) -> None:
        """Also when a write was broken off: only whole messages stay."""
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end)
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> io.FileIO:
        try:
            return io.FileIO(self._path, "w" if self._overwrite else "x")
        except OSError as error:  # the check was before the first message, and much may have happened since
            raise OutputError(f"{self._path}: cannot be written ({error.strerror}); write elsewhere") from error

    def _append(self, file: io.FileIO, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self._path}: cannot be written ({error.strerror}); {self.messages} messages are kept"
            ) from error
        self._end += len(data)


def read_recording(path: Path) -> Iterator[Recorded]:
    """The messages of a recording.

    Raises SourceError when it is none, and DamagedSourceError after the last whole message when it breaks off.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    with file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise SourceError(f"{path}: is not a recording of a feed; make one with rtau record")
        if (version := _HEADER.unpack(head)[1]) != _VERSION:
            raise SourceError(f"{path}: has version {version} of the format, this rtau reads {_VERSION}; update rtau")
        number = 0
        while message := _read_message(file):
            yield message
            number += 1
        if message is None:
            raise DamagedSourceError(f"{path}: breaks off after {number} messages")


def _read_message(file: BinaryIO) -> Recorded | tuple[()] | None:
    """The next message; () at the end, None where the recording breaks off."""
    head = file.read(_MESSAGE.size)
    if not head:
        return ()
    if len(head) < _MESSAGE.size:
        return None
    topic_bytes, payload_bytes, t_ns = _MESSAGE.unpack(head)
    if topic_bytes > _LONGEST_TOPIC or payload_bytes > _LONGEST_PAYLOAD:
        return None
    data = file.read(topic_bytes + payload_bytes)
    if len(data) < topic_bytes + payload_bytes:
        return None
    return Recorded(t_ns, data[:topic_bytes], data[topic_bytes:])


def replay(
    path: Path,
    config: FeedConfig,
    *,
    speed: float = 1.0,
    loop: bool = False,
    wait: bool = False,
    started: Callable[[tuple[str, ...]], None] = lambda endpoints: None,
) -> int:
    """Publish a recording at its own pace times `speed`; returns the number of messages.

    Who subscribes late still gets the last hello of each source. With `wait` the first message waits for the first
    subscriber. `started` is told the endpoints. Raises SourceError, DamagedSourceError after the last whole message
    (not with `loop`), and FeedError as Broadcast does.
    """
    sent = 0
    next(read_recording(path), None)  # a file that is no recording is refused before anything is published
    with Broadcast(config) as broadcast:
        started(broadcast.endpoints)
        while wait and not broadcast.serve():
            broadcast.wait(1.0)
        if wait:
            broadcast.wait(_MORE_TOPICS_S)
        while True:
            before = sent
            with contextlib.suppress(*([DamagedSourceError] if loop else [])):
                for message in _paced(read_recording(path), speed, broadcast):
                    (broadcast.keep if message.topic.startswith(b"hello.") else broadcast.send)(*message[1:])
                    sent += 1
            if sent == before:
                raise SourceError(f"{path}: holds no message")
            if not loop:
                return sent


def _paced(messages: Iterator[Recorded], speed: float, broadcast: Broadcast) -> Iterator[Recorded]:
    """Each message when it is due; meanwhile new subscribers are served."""
    begin = time.monotonic()
    first_ns: int | None = None
    for message in messages:
        first_ns = message.t_ns if first_ns is None else first_ns
        due = begin + (message.t_ns - first_ns) / 1e9 / speed
        broadcast.serve()
        while (left := due - time.monotonic()) > 0:
            broadcast.wait(left)
            broadcast.serve()
        yield message
