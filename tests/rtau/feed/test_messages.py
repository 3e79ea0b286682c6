"""The schema: golden bytes, what readers tolerate, and what the documentation says of it."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from rtau import messages
from rtau.errors import FeedError
from rtau.feed import wire
from rtau.feed.wire import check_source_id, decode, encoder, topic_of
from tests.rtau.feed import made_up

ROOT = Path(__file__).parents[3]
TOPICS = {
    "au": "au.cam",
    "event": "event.cam",
    "health": "health.cam",
    "run_health": "health.rtau",
    "hello": "hello.cam",
}


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("name", sorted(TOPICS))
def test_golden_bytes_decode_and_encode_identically(name: str, encoding: wire.Encoding) -> None:
    golden = (made_up.GOLDEN_NOW / f"{name}.{encoding}").read_bytes()
    message = decode(TOPICS[name], golden)
    assert message == made_up.examples_now()[name]
    assert encoder(encoding)(message) == golden
    assert topic_of(message) == TOPICS[name]


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("name", sorted(TOPICS))
def test_bytes_from_before_a_field_came_decode_with_its_default(name: str, encoding: wire.Encoding) -> None:
    golden = (made_up.GOLDEN / "schema_1" / f"{name}.{encoding}").read_bytes()
    assert decode(TOPICS[name], golden) == made_up.examples()[name]


def test_names_on_the_wire_are_those_of_the_schema() -> None:
    content = msgspec.msgpack.decode(encoder("msgpack")(made_up.examples()["au"]))
    assert list(content)[:5] == ["schema", "source_id", "seq", "t_publish_ns", "frame_index"]
    assert content["schema"] == messages.SCHEMA_VERSION == 1
    assert dict(zip(content["aus"], content["faces"][0]["occurrence"], strict=True))["AU12"] == 0.91
    assert content["faces"][0]["landmarks"] is None


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_readers_pass_over_fields_they_do_not_know(encoding: wire.Encoding) -> None:
    message = made_up.frame(1, made_up.face())
    content = msgspec.to_builtins(message) | {"new": {"deep": [1, {"er": None}]}}
    content["faces"][0]["newer"] = "x"
    assert decode("au.cam", encoder(encoding)(content)) == message


def test_an_event_of_an_unknown_kind_is_still_an_event() -> None:
    event = made_up.event(kind="person_yawned")
    assert decode("event.cam", encoder("msgpack")(event)) == event


DEEP = 100_000


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("au.cam", b""),
        ("au.cam", b"{"),
        ("au.cam", b"\xc1"),
        ("au.cam", b"\x80"),
        ("au.cam", b"\x80\x80"),
        ("au.cam", b"\xdf\xff\xff\xff\xff"),
        ("au.cam", b"\x81\xa5faces\xdd\xff\xff\xff\xff"),
        ("au.cam", b"\x81\xa9source_id\xa2\xff\xff"),
        ("au.cam", b"\x81\xa1x" + b"\x91" * DEEP),
        ("au.cam", b'{"x":' + b"[" * DEEP),
        ("au.cam", encoder("msgpack")(made_up.hello())),
        ("health.cam", encoder("msgpack")(made_up.run_health())),
        ("hallo.cam", encoder("msgpack")(made_up.hello())),
        ("", b"\x80"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_kind_of_error(topic: str, payload: bytes) -> None:
    with pytest.raises(FeedError):
        decode(topic, payload)


@pytest.mark.parametrize("fits", [True, False])
def test_a_newer_schema_is_named(fits: bool) -> None:
    content: dict[str, Any] = msgspec.to_builtins(made_up.event()) | {"schema": 2}
    if not fits:
        content["t_ns"] = "now"
    with pytest.raises(FeedError, match="schema 2, this rtau reads 1"):
        decode("event.cam", encoder("msgpack")(content))


@pytest.mark.parametrize("name", ["rtau", "", "a.b", "a b", "a\n", "x" * 65, "ä"])
def test_a_source_cannot_have_a_name_that_breaks_topics(name: str) -> None:
    with pytest.raises(FeedError, match="cannot name a source"):
        check_source_id(name)
    assert check_source_id("front-door_2") == "front-door_2"


def structs() -> list[type[msgspec.Struct]]:
    """Everything that can be in the feed."""
    kinds = [kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return [kind for kind in kinds if kind not in (msgspec.Struct, messages.RunInfo, messages.StageTime)]


@pytest.mark.parametrize("kind", structs(), ids=lambda kind: kind.__name__)
def test_the_documentation_names_every_field(kind: type[msgspec.Struct]) -> None:
    text = (ROOT / "docs" / "feed.md").read_text()
    section = re.search(rf"^### {kind.__name__}\b.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"no section for {kind.__name__}"
    documented = re.findall(r"^\| `(\w+)` \|", section[0], re.MULTILINE)
    inherited = messages.Message.__struct_fields__ if kind in messages.Message.__subclasses__() else ()
    assert documented == [name for name in kind.__struct_fields__ if name not in inherited]


def test_the_documentation_names_every_kind_of_event() -> None:
    text = (ROOT / "docs" / "feed.md").read_text()
    for kind in get_args(messages.EventKind):
        assert f"| `{kind}` |" in text
