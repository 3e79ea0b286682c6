"""Index a corpus for training: `python -m tools.index_corpus NAME ROOT --out FOLDER` (docs/corpora.md).

Reads the corpus as it is delivered, cuts out the faces, and writes aligned pictures, the index and `report.md` with
counts, rates and every problem by name. It goes on where it was stopped.
"""

import os
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rtau.command import known_errors
from train.data.corpora import (
    affectnet,
    affwild2,
    bp4d,
    bp4dplus,
    checks,
    clips,
    disfa,
    disfaplus,
    ferplus,
    gft,
    lists,
    rafdb,
    rendered,
)
from train.data.corpora.build import Reading, build, finish
from train.data.corpora.index import Corpus, CorpusError, read_header

READERS: dict[str, Callable[..., Reading]] = {
    "bp4d": bp4d.read,
    "bp4d-lists": lists.read_bp4d,
    "bp4dplus": bp4dplus.read,
    "disfa": disfa.read,
    "disfa-lists": lists.read_disfa,
    "disfaplus": disfaplus.read,
    "gft": gft.read,
    "affwild2": affwild2.read,
    "rafdb": rafdb.read,
    "affectnet": affectnet.read,
    "ferplus": ferplus.read,
    "rendered": rendered.read,
    "tracks": clips.read,
}
VIDEOS = "clips"  # whose faces are followed before there is a frame to name
_SHOWN = 20  # problems on the terminal; report.md has all of them


@click.command()
@click.argument("name", type=click.Choice([*READERS, VIDEOS]))
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the index.")
@click.option(
    "--faces",
    metavar="found|whole|FILE.npz",
    help="Cut out what rtau finds, take pictures as they are, or use landmarks: paths (F,), points (F, P, 2).",
)
@click.option("--frame-offset", type=int, help="bp4d, bp4dplus: picture number of a coded frame minus its own.")
@click.option("--layout", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="gft: YAML, see the docs.")
@click.option("--shortest", type=click.IntRange(1), help="clips, tracks: frames of a track that is kept.  [default: 8]")
@click.option("--allow-missing", is_flag=True, help="Index what is there in spite of problems.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count(), show_default="all cores")
def main(
    name: str,
    root: Path,
    out: Path,
    faces: str | None,
    frame_offset: int | None,
    layout: Path | None,
    shortest: int | None,
    allow_missing: bool,
    workers: int,
) -> None:
    """Index the corpus NAME that lies in ROOT. Problems end it with exit code 1, unless --allow-missing is given."""
    given = {"frame_offset": frame_offset, "layout": layout, "shortest": shortest, "faces": faces}
    for option, value in given.items():
        if value is not None and name not in _TAKES[option]:
            raise click.BadOptionUsage(option, f"--{option.replace('_', '-')} is not for {name}")
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with known_errors(), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)

        def progress(done: int, count: int) -> None:
            bar.update(task, completed=done, total=count)

        if name == VIDEOS:
            reading, corpus = clips.track(root, out, workers, progress, shortest or clips.SHORTEST)
            _stop_at(reading.problems, reading, corpus, out, allow_missing)
        else:
            options: dict[str, object] = {
                key: value for key, value in given.items() if value is not None and key != "faces"
            }
            if layout is not None:
                options["layout"] = gft.read_layout(layout)
            reading = READERS[name](root, **options)
            if faces is not None:
                reading = _faced(reading, faces)
            _stop_at(reading.problems, reading, reading.corpus, out, allow_missing)
            corpus, lost = build(reading, out, workers, progress)
            _stop_at(reading.problems + lost, reading, corpus, out, allow_missing)
            reading = reading._replace(problems=reading.problems + lost)
        finish(reading, corpus, out)
    text = checks.report(corpus, reading.problems, reading.notes, read_header(out).alignment)
    (out / "report.md").write_text(text, encoding="utf-8")
    click.echo(text.partition("## Problems")[0].rstrip())
    click.echo(f"\n{len(reading.problems)} problems; {out / 'report.md'} names them" if reading.problems else "")


_TAKES = {
    "frame_offset": ("bp4d", "bp4dplus"),
    "layout": ("gft",),
    "shortest": ("clips", "tracks"),
    "faces": tuple(name for name in READERS if not name.endswith("-lists")),
}


def _faced(reading: Reading, faces: str) -> Reading:
    """The reading with another source of faces."""
    if faces == "found":
        return reading._replace(cut="found", points=None)
    if faces == "whole":
        return reading._replace(cut="whole", points=None)
    try:
        with np.load(faces, allow_pickle=False) as data:
            points = dict(zip(data["paths"].tolist(), data["points"].astype(np.float32), strict=True))
    except (OSError, KeyError, ValueError) as error:
        raise CorpusError(f"{faces}: expected found, whole or an npz with `paths` and `points`: {error}") from error
    return reading._replace(cut="given", points=points)


def _stop_at(problems: list[str], reading: Reading, corpus: Corpus, out: Path, allow_missing: bool) -> None:
    """Report problems and end, where they are not allowed."""
    if not problems or allow_missing:
        return
    text = checks.report(corpus, problems, reading.notes, "not indexed")
    (out / "report.md").write_text(text, encoding="utf-8")
    for problem in problems[:_SHOWN]:
        click.echo(problem, err=True)
    raise CorpusError(
        f"{len(problems)} problems, all named in {out / 'report.md'}; mend them, or index the rest with --allow-missing"
    )


if __name__ == "__main__":
    main()
