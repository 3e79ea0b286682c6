"""What travels between the processes of a run."""

import msgspec

from rtau import errors
from rtau.errors import RtauError
from rtau.messages import StageTime
from rtau.runtime.ring import RingAddress


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The first message: where the pictures will be."""

    ring: RingAddress


class Item(msgspec.Struct, frozen=True, tag="item"):
    """One message of the journey. The slot with its picture goes back to the source after the last stage."""

    payload: bytes
    slot: int | None  # None: there is no picture
    stamps: list[int] = []  # monotonic ns: left the source, then taken up and done by each stage


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last message. `error` names a class of rtau.errors when the source ended in one."""

    times: list[StageTime]
    dropped: int = 0  # frames that the source's policy gave up
    error: str = ""
    text: str = ""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """On the control connection: the stage is built, the source is open."""

    slot_bytes: int = 0  # of a source: what its pictures need
    about: bytes = b""  # of a source: what it says of itself


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """On the control connection: why this process is about to end."""

    error: str
    text: str


encode = msgspec.msgpack.Encoder().encode
decode_flow = msgspec.msgpack.Decoder(Begin | Item | End).decode
decode_control = msgspec.msgpack.Decoder(Ready | Failed).decode
decode_ring = msgspec.msgpack.Decoder(RingAddress).decode


def error_of(name: str, text: str) -> RtauError:
    """The exception of rtau.errors that a message names."""
    kind = getattr(errors, name, errors.WorkerError)
    error = kind(text)
    return error if isinstance(error, RtauError) else errors.WorkerError(text)
