"""Live runs for the tests: what was heard of them, and nothing left behind."""

from collections.abc import Callable

from rtau.config import LiveConfig, PipelineConfig, SourceConfig
from rtau.feed.config import FeedConfig
from rtau.feed.publisher import Publisher
from rtau.live import Live
from rtau.messages import AUFrame, Event, Message

QUICK = PipelineConfig(live=LiveConfig(first_pause_s=0.05, stall_timeout_s=5.0))


def follow(
    sources: list[SourceConfig],
    hear: Callable[[Live, Message], None] = lambda live, message: None,
    config: PipelineConfig = QUICK,
) -> tuple[Live, list[Message]]:
    """Run to the end; `hear` sees every message at once."""
    heard: list[Message] = []
    with Publisher(FeedConfig(endpoints=("tcp://127.0.0.1:*",))) as publisher:
        live = Live(config, sources, publisher)

        def on_message(message: Message) -> None:
            heard.append(message)
            hear(live, message)

        live.run(on_message)
    return live, heard


def frames(heard: list[Message], source: str = "0") -> list[AUFrame]:
    return [message for message in heard if isinstance(message, AUFrame) and message.source_id == source]


def kinds(heard: list[Message], source: str = "0") -> list[str]:
    return [message.kind for message in heard if isinstance(message, Event) and message.source_id == source]
