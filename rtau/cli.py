"""The commands. They parse, call one function and print; known errors become one line and an exit code."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rtau import __version__, cli_feed, cli_gallery, cli_live
from rtau.command import ask_passphrase, command_line, device_option, fail, gallery_options, known_errors
from rtau.config import load_config


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rtau")
def main() -> None:
    """Facial Action Units from video: per frame, per person."""


@main.command()
@click.argument("source", metavar="INPUT")
@click.option("--out", required=True, metavar="FILE", help="Table to write: .csv or .parquet; - is CSV on stdout.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of the run (configs/pipeline/default.yaml).")
@device_option
@click.option("--max-faces", type=click.IntRange(1, 64), help="Faces followed at once.  [default: 5]")
@click.option("--weights", metavar="FOLDER", help="AU encoder: a folder with model.onnx and card.yaml.")
@click.option("--start", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Begin here.")
@click.option("--end", type=click.FloatRange(0), metavar="SECONDS", help="Stop before here.")
@click.option(
    "--layout", type=click.Choice(["rtau", "openface"]), default="rtau", show_default=True, help="Columns of the table."
)
@gallery_options
@click.option("--two-pass", is_flag=True, help="Calibrate by resting faces read from the whole clip, later frames too.")
@click.option("--overlay", type=click.Path(path_type=Path), help="Also draw the result: .mp4, or .png of one frame.")
@click.option("--overwrite", is_flag=True, help="Replace existing output.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def process(
    source: str,
    out: str,
    config: Path | None,
    device: str | None,
    max_faces: int | None,
    weights: str | None,
    start: float,
    end: float | None,
    layout: str,
    gallery: Path | None,
    key: Path | None,
    passphrase: bool,
    two_pass: bool,
    overlay: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write the Action Units of every face in every frame of INPUT, a video or an image."""
    from rtau.process import Job, run_job

    if end is not None and end <= start:
        raise click.BadParameter(f"{end:g} is not after --start {start:g}", param_hint="--end")
    with known_errors():
        configured = load_config(config)
        if passphrase:
            ask_passphrase(gallery or configured.persons.gallery, key)
    job = Job(
        source=source,
        out=None if out == "-" else Path(out),
        config=configured,
        device=device,
        max_faces=max_faces,
        weights=weights,
        start_s=start,
        end_s=end,
        layout="openface" if layout == "openface" else "rtau",
        overlay=overlay,
        gallery=gallery,
        key=key,
        two_pass=two_pass,
        overwrite=overwrite,
        command=command_line(),
    )
    console = Console(stderr=True, quiet=quiet, highlight=False)
    with known_errors(), _progress(console) as progress:
        summary = run_job(job, progress)
    for line in summary.lines():
        console.print(line, soft_wrap=True)
    if summary.problem is not None:
        fail(summary.problem)


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar with frames, frames per second and time left; yields `progress(what, done, total)`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.0f} fps"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
        refresh_per_second=5,
    )
    tasks: dict[str, int] = {}

    def update(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total, fps=0.0)
        task = bar.tasks[tasks[what]]
        bar.update(task.id, completed=done, fps=done / max(task.elapsed or 0, 1e-3))

    with bar:
        yield update


for command in (*cli_live.COMMANDS, *cli_gallery.COMMANDS, *cli_feed.COMMANDS):
    main.add_command(command)
