"""Messages to bytes and back: topic, then one payload in MessagePack or JSON."""

import json
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from rtau.errors import FeedError
from rtau.messages import RUN, SCHEMA_VERSION, AUFrame, Event, Health, Hello, Message, RunHealth

Encoding = Literal["msgpack", "json"]
AnyMessage = AUFrame | Event | Health | RunHealth | Hello

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5570"

_KINDS: dict[type[Message], str] = {
    AUFrame: "au",
    Event: "event",
    Health: "health",
    RunHealth: "health",
    Hello: "hello",
}
_TYPES: dict[str, type[Message]] = {kind: type_ for type_, kind in _KINDS.items() if type_ is not RunHealth}
_SOURCE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def topic_of(message: Message) -> str:
    """`au.<source>`, `event.<source>`, `health.<source>`, `health.rtau` or `hello.<source>`."""
    return f"{_KINDS[type(message)]}.{message.source_id}"


def check_source_id(source_id: str) -> str:
    """The id, if it can be part of a topic. Raises FeedError."""
    if source_id == RUN or not _SOURCE_ID.fullmatch(source_id):
        raise FeedError(
            f"{source_id!r} cannot name a source: use up to 64 letters, digits, - and _, but not the word {RUN}"
        )
    return source_id


def printable(text: str) -> str:
    """Text from the network, unable to command the terminal."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)


def encoder(encoding: Encoding) -> Callable[[Any], bytes]:
    """Message -> payload."""
    return msgspec.json.Encoder().encode if encoding == "json" else msgspec.msgpack.Encoder().encode


def decode(topic: str, payload: bytes) -> AnyMessage:
    """The message in a payload of either encoding.

    Raises FeedError for an unknown topic, for bytes that do not fit it, and for a newer schema.
    """
    kind, _, source_id = topic.partition(".")
    type_ = RunHealth if (kind, source_id) == ("health", RUN) else _TYPES.get(kind)
    if type_ is None:
        raise FeedError(f"topic {topic!r} is not known")
    try:
        message: AnyMessage = _decoder(type_, payload)(payload)
        schema = message.schema
    except _BAD as error:
        if (schema := _schema(payload)) == SCHEMA_VERSION:
            raise FeedError(f"a message on topic {topic!r} does not fit its schema: {error}") from error
    if schema != SCHEMA_VERSION:
        raise FeedError(f"the feed has schema {schema}, this rtau reads {SCHEMA_VERSION}; install the same version")
    return message


def to_json(topic: str, payload: bytes) -> str:
    """A message of either encoding as one line of JSON, unable to command the terminal.

    Raises FeedError for bytes that cannot be decoded, and for what JSON does not have, such as a null key.
    """
    try:
        content = (msgspec.json if payload[:1] == b"{" else msgspec.msgpack).decode(payload)
        text = msgspec.json.encode({"topic": topic, "message": content}).decode()
    except (*_BAD, TypeError) as error:
        raise FeedError(f"a message cannot be shown as JSON: {error}") from error
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else json.dumps(mark)[1:-1] for mark in text)


class _Schema(msgspec.Struct):
    schema: int = SCHEMA_VERSION


_BAD = (msgspec.MsgspecError, ValueError, RecursionError)  # ValueError: text that is not UTF-8
_TYPED: tuple[type[Any], ...] = (*_KINDS, _Schema)
_DECODERS = {type_: (msgspec.msgpack.Decoder(type_).decode, msgspec.json.Decoder(type_).decode) for type_ in _TYPED}


def _schema(payload: bytes) -> int:
    """The schema that a damaged or foreign message claims."""
    try:
        return int(_decoder(_Schema, payload)(payload).schema)
    except _BAD:
        return SCHEMA_VERSION


def _decoder(type_: type[Any], payload: bytes) -> Callable[[bytes], Any]:
    return _DECODERS[type_][payload[:1] == b"{"]  # no map of MessagePack begins with this byte
