"""`rtau stream`, the live commands' entrance, and `rtau devices`."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, cast

import click
import msgspec
from rich.console import Console
from rich.live import Live as Picture

from rtau.capture import SourceEntry, SourcesFile, cameras, check_names, open_source
from rtau.command import ask_passphrase, command_line, device_option, fail, gallery_options, known_errors
from rtau.config import Policy, load_config, with_gallery
from rtau.errors import ConfigError, RtauError
from rtau.feed.config import FeedConfig
from rtau.feed.wire import DEFAULT_ENDPOINT
from rtau.messages import AUFrame, Event, Health, Hello, Message, RunHealth
from rtau.signals import stop_signals

_PICTURE_EVERY_S = 0.1


@click.command()
@click.option("--camera", "camera_names", multiple=True, metavar="N|DEVICE", help="A camera; can be repeated.")
@click.option("--source", "addresses", multiple=True, metavar="SOURCE", help="File, rtsp://…, udp://…, or `synthetic`.")
@click.option(
    "--sources",
    "file",
    type=click.Path(path_type=Path),
    help="YAML file with named sources (docs/stream.md); edits count while it runs.",
)
@click.option("--size", metavar="WxH", help="Picture size of cameras and `synthetic`.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Frame rate of cameras and `synthetic`.")
@click.option("--pixel-format", metavar="NAME", help="Pixel format of cameras, FFmpeg's name such as yuyv422 or mjpeg.")
@click.option(
    "--realtime/--fast", default=True, show_default=True, help="Files at their own pace, or every frame at once."
)
@click.option("--loop", is_flag=True, help="Files again and again.")
@click.option(
    "--policy",
    type=click.Choice(["newest", "drop_oldest", "drop_latest", "wait"]),
    help="Which frames are looked at when not all can be.  [default: newest; wait with --fast]",
)
@click.option(
    "--publish", "endpoints", multiple=True, metavar="ENDPOINT", help=f"Where.  [default: {DEFAULT_ENDPOINT}]"
)
@click.option("--encoding", type=click.Choice(["msgpack", "json"]), default="msgpack", show_default=True)
@click.option("--curve", metavar="FOLDER", help="The publisher's keys (rtau keys new); other clients are refused.")
@click.option("--insecure", is_flag=True, help="Let anybody who can reach the endpoint listen.")
@click.option("--landmarks", is_flag=True, help="Send the 478 landmarks along.")
@device_option
@click.option("--max-faces", type=click.IntRange(1, 64), help="Faces followed at once in each source.  [default: 5]")
@gallery_options
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
    policy: Policy | None,
    endpoints: tuple[str, ...],
    encoding: str,
    curve: str | None,
    insecure: bool,
    landmarks: bool,
    device: str | None,
    max_faces: int | None,
    gallery: Path | None,
    key: Path | None,
    passphrase: bool,
    config: Path | None,
    record: Path | None,
    overwrite: bool,
    log_json: bool,
    quiet: bool,
) -> None:
    """Publish the Action Units of live sources until they end or Ctrl-C comes."""
    from rtau.feed.publisher import Publisher
    from rtau.live import Live
    from rtau.sinks.by_source import SourceTables

    with known_errors():
        given = _given(camera_names, addresses, size, fps, pixel_format, realtime, loop, policy)
        watched = None if file is None else SourcesFile(file)
        entries = given if watched is None else [*given, *watched.entries]
        if not entries:
            raise click.UsageError("give a --camera, a --source or --sources; `rtau devices` lists cameras")
        check_names(entries)
        sources = [open_source(entry) for entry in entries]
        run = load_config(config)
        faces = run.faces if max_faces is None else msgspec.structs.replace(run.faces, max_faces=max_faces)
        au = msgspec.structs.replace(run.au, landmarks=landmarks or run.au.landmarks)
        persons = with_gallery(run.persons, gallery, key)
        if passphrase:
            ask_passphrase(persons.gallery, key)
        run = msgspec.structs.replace(run, device=device or run.device, faces=faces, au=au, persons=persons)
        if run.persons.baseline == "two_pass":
            raise ConfigError("persons.baseline: two_pass needs a whole file; use online or off")
        feed = FeedConfig(
            endpoints=endpoints or (DEFAULT_ENDPOINT,),
            encoding=cast(Literal["msgpack", "json"], encoding),
            curve=curve,
            insecure=insecure,
        )
        several, command = len(entries) > 1 or watched is not None, command_line()
        console = Console(stderr=True, highlight=False, markup=False)
        with SourceTables(record, several=several, command=command, overwrite=overwrite) as tables:
            for source in sources:
                tables.check(source.source_id)
            with Publisher(feed) as publisher:
                live = Live(run, sources, publisher)

                def heard(message: Message) -> None:
                    counts = live.counts.get(message.source_id)
                    tables.write(message, None if counts is None else counts.problem)
                    show(message)

                def look_for_edits() -> None:
                    try:
                        changes = None if watched is None else watched.changes(given, tables.check)
                    except RtauError as error:
                        console.print(f"Error: {error}; the sources stay as they are", soft_wrap=True)
                        return
                    if changes is not None:
                        for name in changes.gone:
                            live.remove(name)
                        for source in changes.come:
                            live.add(source)

                with stop_signals(live.stop), _shown(console, publisher.endpoints, quiet, log_json) as show:
                    live.run(heard, tables.opened, look_for_edits)
        problem: RtauError | None = None
        for name, counts in live.counts.items():
            problem = problem or counts.problem
            if not quiet:
                console.print(
                    f"{name}: {counts.captured} captured, {counts.published} published, {counts.dropped} dropped"
                )
        if not quiet:
            for path in tables.written:
                console.print(f"wrote {path}", soft_wrap=True)
    if problem is not None:
        fail(problem)


def _given(
    camera_names: tuple[str, ...],
    addresses: tuple[str, ...],
    size: str | None,
    fps: float | None,
    pixel_format: str | None,
    realtime: bool,
    loop: bool,
    policy: Policy | None,
) -> list[SourceEntry]:
    """The sources that the command line names."""
    bare = [SourceEntry(name=_camera_name(camera), camera=camera) for camera in camera_names]
    bare += [SourceEntry(name=str(number), source=address) for number, address in enumerate(addresses)]
    options = {
        "size": size,
        "fps": fps,
        "pixel_format": pixel_format,
        "fast": not realtime,
        "loop": loop,
        "policy": policy,
    }
    for option, value in options.items():
        if value and not any(option in entry.options for entry in bare):
            flag = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{flag} is for none of these sources; in a --sources file each has its own")
    return [msgspec.structs.replace(entry, **{option: options[option] for option in entry.options}) for entry in bare]


def _camera_name(camera: str) -> str:
    """`0` is camera0, a device is called as itself."""
    return f"camera{camera}" if camera.isdigit() else re.sub(r"[^A-Za-z0-9_-]", "-", Path(camera).name)[:64]


@click.command()
def devices() -> None:
    """List the cameras of this machine."""
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
        with Picture(view.render(), console=console, auto_refresh=False, transient=True) as picture:

            def draw(message: Message) -> None:
                nonlocal drawn_at
                assert isinstance(message, (AUFrame, Event, Health, Hello, RunHealth))
                view.add(message)
                if time.monotonic() - drawn_at >= _PICTURE_EVERY_S:
                    drawn_at = time.monotonic()
                    picture.update(view.render(), refresh=True)

            yield draw


COMMANDS = (stream, devices)
