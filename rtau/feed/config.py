"""How a feed is offered."""

from typing import Annotated

import msgspec
from msgspec import Meta

from rtau.feed.wire import DEFAULT_ENDPOINT, Encoding


class FeedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the feed is published, for whom, and in which encoding."""

    endpoints: tuple[str, ...] = (DEFAULT_ENDPOINT,)  # tcp://HOST:PORT (* is a free port) or ipc://PATH
    encoding: Encoding = "msgpack"
    curve: str | None = None  # the publisher's key folder (rtau keys new); clients without a key are refused
    insecure: bool = False  # let anybody who can reach the endpoints listen
    high_water_mark: Annotated[int, Meta(ge=1)] = 200  # messages that may wait for one subscriber
