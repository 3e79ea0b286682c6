"""`rtau stream`, the live commands' entrance, and `rtau devices`."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal, cast

import click
import msgspec
from rich.console import Console
from rich.live import Live as Picture

from rtau.command import device_option, fail, known_errors
from rtau.errors import ConfigError, RtauError
from rtau.feed.config import FeedConfig
from rtau.feed.wire import DEFAULT_ENDPOINT, check_source_id
from rtau.messages import AUFrame, Event, Health, Hello, Message, RunHealth, RunInfo

_PICTURE_EVERY_S = 0.1


@click.command()
@click.option("--camera", "camera_names", multiple=True, metavar="N|DEVICE", help="A camera; can be repeated.")
@click.option("--source", "addresses", multiple=True, metavar="SOURCE", help="File, rtsp://…, udp://…, or `synthetic`.")
@click.option(
    "--sources", "file", type=click.Path(path_type=Path), help="YAML file with named sources (docs/stream.md)."
)
@click.option("--size", metavar="WxH", help="Picture size of cameras and `synthetic`.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Frame rate of cameras and `synthetic`.")
@click.option("--pixel-format", metavar="NAME", help="Pixel format of cameras, FFmpeg's name such as yuyv422 or mjpeg.")
@click.option(
    "--realtime/--fast", default=True, show_default=True, help="Files at their own pace, or every frame at once."
)
@click.option("--loop", is_flag=True, help="Files again and again.")
@click.option(
    "--publish", "endpoints", multiple=True, metavar="ENDPOINT", help=f"Where.  [default: {DEFAULT_ENDPOINT}]"
)
@click.option("--encoding", type=click.Choice(["msgpack", "json"]), default="msgpack", show_default=True)
@click.option("--curve", metavar="FOLDER", help="The publisher's keys (rtau keys new); other clients are refused.")
@click.option("--insecure", is_flag=True, help="Let anybody who can reach the endpoint listen.")
@click.option("--landmarks", is_flag=True, help="Send the 478 landmarks along.")
@device_option
@click.option("--max-faces", type=click.IntRange(1, 64), help="Faces followed at once in each source.  [default: 5]")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of the pipeline.")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="FILE", help="Also write the rows: .csv or .parquet."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing table.")
@click.option("--log-json", is_flag=True, help="Events and health as lines of JSON on stdout.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def stream(
    camera_names: tuple[str, ...],
    addresses: tuple[str, ...],
    file: Path | None,
    size: str | None,
    fps: float | None,
    pixel_format: str | None,
    realtime: bool,
    loop: bool,
    endpoints: tuple[str, ...],
    encoding: str,
    curve: str | None,
    insecure: bool,
    landmarks: bool,
    device: str | None,
    max_faces: int | None,
    config: Path | None,
    record: Path | None,
    overwrite: bool,
    log_json: bool,
    quiet: bool,
) -> None:
    """Publish the Action Units of live sources until they end or Ctrl-C comes."""
    from rtau.capture import SourceEntry, open_source, read_sources
    from rtau.config import load_config
    from rtau.feed.publisher import Publisher
    from rtau.live import Live

    with known_errors():
        entries = [] if file is None else read_sources(file)
        for number, camera in enumerate(camera_names):
            name = f"camera{camera}" if camera.isdigit() else f"camera{number}"
            entries.append(SourceEntry(name=name, camera=camera, size=size, fps=fps, pixel_format=pixel_format))
        for number, address in enumerate(addresses):
            entries.append(
                SourceEntry(
                    name=str(number),
                    source=address,
                    size=size if address == "synthetic" else None,
                    fps=fps if address == "synthetic" else None,
                    fast=not realtime,
                    loop=loop,
                )
            )
        if not entries:
            raise click.UsageError("give a --camera, a --source or --sources; `rtau devices` lists cameras")
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise ConfigError(f"two sources have one name: {', '.join(sorted(names))}")
        for name in names:
            check_source_id(name)
        sources = [open_source(entry) for entry in entries]
        run = load_config(config)
        faces = run.faces if max_faces is None else msgspec.structs.replace(run.faces, max_faces=max_faces)
        au = msgspec.structs.replace(run.au, landmarks=landmarks or run.au.landmarks)
        run = msgspec.structs.replace(run, device=device or run.device, faces=faces, au=au)
        feed = FeedConfig(
            endpoints=endpoints or (DEFAULT_ENDPOINT,),
            encoding=cast(Literal["msgpack", "json"], encoding),
            curve=curve,
            insecure=insecure,
        )
        command = " ".join(["rtau", *sys.argv[1:]])
        with _Tables(record, names, command, overwrite) as tables, Publisher(feed) as publisher:
            live = Live(run, sources, publisher)
            console = Console(stderr=True, highlight=False)
            with _stopping(live.stop), _shown(console, publisher.endpoints, quiet, log_json) as show:

                def heard(message: Message) -> None:
                    tables.write(message)
                    show(message)

                live.run(heard, tables.opened)
            written = tables.finish()
        problem: RtauError | None = None
        for name, counts in live.counts.items():
            problem = problem or counts.problem
            if not quiet:
                console.print(
                    f"{name}: {counts.captured} captured, {counts.published} published, {counts.dropped} dropped"
                )
        if not quiet:
            for path in written:
                console.print(f"wrote {path}", soft_wrap=True)
    if problem is not None:
        fail(problem)


@click.command()
def devices() -> None:
    """List the cameras of this machine."""
    from rtau.capture import cameras

    found = cameras()
    for camera in found:
        click.echo(f"{camera.device}  {camera.name}")
    if not found:
        click.echo(
            "No camera is listed."
            if sys.platform == "linux"
            else "This system does not list its cameras; try --camera 0 (macOS) or the camera's name (Windows).",
            err=True,
        )


class _Tables:
    """The rows of every source, if they are to be recorded."""

    def __init__(self, record: Path | None, names: list[str], command: str, overwrite: bool) -> None:
        from rtau.live import table_of
        from rtau.sinks.table import TableWriter, check_table

        self._stack = contextlib.ExitStack()
        self._command, self._overwrite = command, overwrite
        self._paths = {} if record is None else {name: table_of(record, name, len(names)) for name in names}
        self._open: dict[str, TableWriter] = {}
        for name, path in self._paths.items():
            check_table(path, name, overwrite=overwrite)

    def __enter__(self) -> "_Tables":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def opened(self, name: str, info: RunInfo) -> None:
        from rtau.sinks.table import open_table

        if name in self._paths and name not in self._open:
            path = self._paths[name]
            table = open_table(path, "rtau", info, source=name, command=self._command, overwrite=self._overwrite)
            self._open[name] = self._stack.enter_context(table)

    def write(self, message: Message) -> None:
        if isinstance(message, AUFrame) and message.source_id in self._open:
            self._open[message.source_id].write(message)

    def finish(self) -> list[Path]:
        """Close the tables; returns those that were written."""
        for table in self._open.values():
            table.finish("complete", None)
        return [self._paths[name] for name in self._open]


@contextlib.contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run in order, the second at once."""
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _shown(
    console: Console, endpoints: tuple[str, ...], quiet: bool, log_json: bool
) -> Iterator[Callable[[Message], None]]:
    """What a run says of itself: a picture in a terminal, lines elsewhere, JSON on request."""
    from rtau.feed.watch import View, lines

    def log(message: Message) -> None:
        if not isinstance(message, AUFrame):
            click.echo(msgspec.json.encode({"type": type(message).__name__} | msgspec.to_builtins(message)).decode())

    def say(message: Message) -> None:
        if isinstance(message, (Event, Hello)):
            for line in lines(message):
                click.echo(line, err=True)

    if log_json:
        yield log
    elif quiet:
        yield lambda message: None
    elif not console.is_terminal:
        click.echo(f"publishing on {', '.join(endpoints)}", err=True)
        yield say
    else:
        view, drawn_at = View(", ".join(endpoints)), 0.0
        with Picture(view.render(0, 0), console=console, auto_refresh=False, transient=True) as picture:

            def draw(message: Message) -> None:
                nonlocal drawn_at
                assert isinstance(message, (AUFrame, Event, Health, Hello, RunHealth))
                view.add(message)
                if time.monotonic() - drawn_at >= _PICTURE_EVERY_S:
                    drawn_at = time.monotonic()
                    picture.update(view.render(0, 0), refresh=True)

            yield draw


COMMANDS = (stream, devices)
