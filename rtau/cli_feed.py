"""The commands around the feed: watch it, record it, play it again, make keys for it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.live import Live

from rtau.command import known_errors
from rtau.errors import FeedError
from rtau.feed.client import FeedTimeout, Raw, Subscription, subscribe
from rtau.feed.config import FeedConfig
from rtau.feed.keys import new_keys
from rtau.feed.recording import Recorder, replay
from rtau.feed.watch import View, lines
from rtau.feed.wire import DEFAULT_ENDPOINT, AnyMessage, printable, to_json
from rtau.signals import stop_signals

_MOMENT_S = 0.1  # between two pictures of the terminal view

T = TypeVar("T")

_topics = click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC",
    help="Only this topic, or with a dot at its end all that begin so: au.  Can be repeated.  [default: all]",
)
_client_keys = click.option(
    "--curve", type=click.Path(path_type=Path), metavar="FOLDER", help="Keys of this client (rtau keys new)."
)
_timeout = click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Fail when nothing comes for so long."
)
_count = click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after N messages.")


@click.command()
@click.argument("endpoint", default=DEFAULT_ENDPOINT, metavar="[ENDPOINT]")
@_topics
@_client_keys
@click.option("--json", "as_json", is_flag=True, help="Every message as one line of JSON.")
@_count
@_timeout
def watch(
    endpoint: str, topics: tuple[str, ...], curve: Path | None, as_json: bool, count: int | None, timeout: float | None
) -> None:
    """Show the feed at ENDPOINT: a live picture in a terminal, lines elsewhere."""
    console = Console(highlight=False)
    with known_errors(), subscribe(endpoint, topics or ("",), timeout_s=_MOMENT_S, curve=curve) as feed, _stoppable():
        if as_json:
            _print_json(_incoming(feed, feed.receive, count, timeout))
        elif console.is_terminal:
            _show(_incoming(feed, feed.__next__, count, timeout), feed, View(endpoint), console)
        else:
            for message in _incoming(feed, feed.__next__, count, timeout):
                if message is not None:
                    for line in lines(message):
                        click.echo(line)


@click.command()
@click.argument("endpoint")
@click.argument("file", type=click.Path(path_type=Path))
@_topics
@_client_keys
@_count
@_timeout
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def record(
    endpoint: str,
    file: Path,
    topics: tuple[str, ...],
    curve: Path | None,
    count: int | None,
    timeout: float | None,
    overwrite: bool,
) -> None:
    """Write the feed at ENDPOINT to FILE, byte for byte, until Ctrl-C."""
    with known_errors(), subscribe(endpoint, topics or ("",), timeout_s=_MOMENT_S, curve=curve) as feed:
        with Recorder(file, overwrite=overwrite) as recorder, _stoppable():
            for raw in _incoming(feed, feed.receive, count, timeout):
                if raw is not None:
                    recorder.write(raw.topic.encode(), raw.payload, time.monotonic_ns())
        kept = f"{recorder.messages} messages in {file}" if recorder.messages else "no message came, nothing is written"
        click.echo(kept, err=True)


@click.command(name="replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--publish", multiple=True, metavar="ENDPOINT", help=f"Can be repeated.  [default: {DEFAULT_ENDPOINT}]")
@click.option("--speed", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Times the pace.")
@click.option("--loop", is_flag=True, help="Begin again at the end.")
@click.option("--wait", is_flag=True, help="Begin when the first subscriber has come.")
@click.option("--curve", type=click.Path(), metavar="FOLDER", help="Keys of the publisher (rtau keys new).")
@click.option("--insecure", is_flag=True, help="Let other machines listen without keys.")
def replay_(
    file: Path, publish: tuple[str, ...], speed: float, loop: bool, wait: bool, curve: str | None, insecure: bool
) -> None:
    """Publish the recording FILE as it was published then: same bytes, same pace."""
    config = FeedConfig(endpoints=publish or (DEFAULT_ENDPOINT,), curve=curve, insecure=insecure)
    with known_errors(), _stoppable():
        sent = replay(file, config, speed=speed, loop=loop, wait=wait, started=_publishing)
        click.echo(f"{sent} messages", err=True)


@click.group()
def keys() -> None:
    """Keys for a feed that other machines may read."""


@keys.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--client", "clients", multiple=True, default=("client",), metavar="NAME", help="Can be repeated.")
def new(folder: Path, clients: tuple[str, ...]) -> None:
    """Make keys in FOLDER: for the publisher, unless it has some, and for each client."""
    with known_errors():
        for made in new_keys(folder, clients):
            click.echo(made)


def _incoming(
    feed: Subscription, receive: Callable[[], T], count: int | None, timeout_s: float | None
) -> Iterator[T | None]:
    """`count` messages as they come, and None when none came for a moment. Raises FeedTimeout after `timeout_s`."""
    last, given = time.monotonic(), 0
    while count is None or given < count:
        try:
            message = receive()
        except FeedTimeout:
            if timeout_s is not None and time.monotonic() - last > timeout_s:
                raise feed.late(timeout_s) from None
            yield None
            continue
        last, given = time.monotonic(), given + 1
        yield message


def _print_json(messages: Iterator[Raw | None]) -> None:
    for raw in messages:
        if raw is not None:
            try:
                click.echo(to_json(raw.topic, raw.payload))
            except FeedError as error:
                click.echo(printable(f"{raw.topic}: skipped: {error}"), err=True)


def _show(messages: Iterator[AnyMessage | None], feed: Subscription, view: View, console: Console) -> None:
    shown = 0.0
    with Live(view.render(), console=console, auto_refresh=False) as live:
        for message in messages:
            if message is not None:
                view.add(message)
            if (now := time.monotonic()) - shown >= _MOMENT_S:
                shown = now
                live.update(view.render(*_lost(feed)), refresh=True)
        live.update(view.render(*_lost(feed)), refresh=True)


def _lost(feed: Subscription) -> list[str]:
    return [f"missed {feed.missed}", *([f"malformed {feed.malformed}"] if feed.malformed else [])]


def _publishing(endpoints: tuple[str, ...]) -> None:
    click.echo(f"publishing on {', '.join(endpoints)}", err=True)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, as is usual for commands that would go on for ever."""

    def leave() -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), stop_signals(leave):
        yield


COMMANDS: tuple[click.Command, ...] = (watch, record, replay_, keys)
