"""`python -m train COMMAND`: one command remakes one model or one table."""

import os
from pathlib import Path
from typing import TypeVar, cast

import click
import msgspec

from rtau.command import known_errors

Config = TypeVar("Config", bound=msgspec.Struct)

_config = click.option(
    "--config", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="YAML recipe."
)


_write = click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced."
)

_assets = click.option("--assets", type=click.Path(path_type=Path), help="Folder with ict_face/ and makehuman_cc0/.")


@click.group()
def main() -> None:
    """Train and evaluate the models that rtau runs."""


def _read(path: Path, kind: type[Config]) -> Config:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from error


def _show(text: str, write: Path | None) -> None:
    """Print figures, and put them into a document."""
    from train.evaluation.document import replace_figures

    click.echo(text)
    if write is not None:
        replace_figures(write, text)


@main.command()
@_config
def landmarks(path: Path) -> None:
    """The landmark network."""
    from train.methods import landmarks as method

    method.run(_read(path, method.LandmarksConfig))


@main.command()
@_config
def detector(path: Path) -> None:
    """The face detector."""
    from train.methods import detector as method

    method.run(_read(path, method.DetectorConfig))


@main.command()
@_config
def au_encoder(path: Path) -> None:
    """The AU encoder that ships."""
    from train.methods import au_encoder as method

    with known_errors():
        method.run(_read(path, method.AUEncoderConfig))


@main.command()
@_config
def identity(path: Path) -> None:
    """The identity encoder that ships."""
    from train.methods import identity as method

    with known_errors():
        method.run(_read(path, method.IdentityConfig))


@main.command()
@_config
def tracing(path: Path) -> None:
    """Where the `light` backbone of the studies starts from."""
    from train.methods import tracing as method

    method.run(_read(path, method.TracingConfig))


@main.command()
@click.option("--out", required=True, help="Folder of the shards.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@click.option("--persons", type=click.IntRange(1), default=512, show_default=True)
@click.option("--pictures", type=click.IntRange(1), default=24, show_default=True, help="Of each person.")
@click.option("--size", type=click.IntRange(64, 1024), default=256, show_default=True, help="Pixels.")
@click.option("--sequences", is_flag=True, help="The pictures of a person are frames of one sequence.")
@click.option("--activities", is_flag=True, help="They are frames of a clip of each activity, 5 a second.")
@_assets
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count(), show_default="all cores")
def render(
    out: str,
    split: str,
    persons: int,
    pictures: int,
    size: int,
    sequences: bool,
    activities: bool,
    assets: Path | None,
    workers: int,
) -> None:
    """Faces with exact AU labels; goes on where an earlier run stopped."""
    from train.synthesis.assets import assets_folder
    from train.synthesis.shards import RenderConfig, Split, render_all

    config = RenderConfig(
        out=out, split=cast(Split, split), persons=persons, pictures=pictures, size=size,
        sequences=sequences, activities=activities,
    )  # fmt: skip

    def progress(done: int, count: int, rate: float) -> None:
        click.echo(f"shard {done} of {count}, {rate:.1f} pictures/s")

    try:
        render_all(config, assets or assets_folder(), workers, progress)
    except (FileNotFoundError, FileExistsError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--source", help="A mirror of the public home that git can fetch from: URL or folder.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; default: the user's cache."
)
def fetch_face_model(source: str | None, out: Path | None) -> None:
    """The ICT face model (MIT) from its public home, checked and packed. Needs git and 1 GB of scratch space."""
    from rtau.errors import RtauError
    from train.synthesis.fetch import ICT_FACEKIT, fetch, fetched_model

    path = out or fetched_model()
    try:
        fetch(path, ICT_FACEKIT._replace(url=source) if source else ICT_FACEKIT)
    except RtauError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    click.echo(f"{path}: commit {ICT_FACEKIT.commit[:12]}, sha256 of the mesh {ICT_FACEKIT.sha256[:12]}…")


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="JPEG or PNG to write.")
@click.option("--person", "persons", type=click.IntRange(0), multiple=True, default=(1, 3, 4), show_default=True)
@click.option("--au", "aus", type=click.IntRange(1), multiple=True, help="Only these Action Units.")
@click.option("--tile", type=click.IntRange(32, 512), default=72, show_default=True, help="Pixels a picture.")
@_assets
def au_sheet(out: Path, persons: tuple[int, ...], aus: tuple[int, ...], tile: int, assets: Path | None) -> None:
    """Every Action Unit alone at 0, 1, 3 and 5 on several people, to look at."""
    from train.synthesis.assets import assets_folder, load_head
    from train.synthesis.au_sheet import au_sheet as draw
    from train.synthesis.picture import Renderer

    try:
        draw(Renderer(load_head(assets or assets_folder())), out, list(persons), tile, aus)
    except OSError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(["clile", "clp", "clef"]))
@click.option("--measured", is_flag=True, help="Run nothing: show what is measured so far.")
@_write
def study(names: tuple[str, ...], measured: bool, write: Path | None) -> None:
    """CL-ILE, CLP and CLEF on rendered faces, all of them or those NAMES; goes on where it was stopped."""
    from train.studies import clef, clile, clp
    from train.studies.grid import SEEDS, when_and_where

    wanted = [{"clile": clile, "clp": clp, "clef": clef}[name] for name in names or ("clile", "clp", "clef")]
    with known_errors():
        for seed in () if measured else SEEDS:
            for each in wanted:
                each.measure(seed)
        _show("\n\n".join([when_and_where(), *(each.report() for each in wanted)]), write)


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Picture to write; .png.")
def au_correlation(folder: Path, out: Path) -> None:
    """Draw which AUs the embeddings of a finished CL-ILE run FOLDER hold alike, beside the labels."""
    from train.evaluation.au_correlation import au_correlation as measure
    from train.evaluation.au_correlation import draw

    with known_errors():
        draw(measure(folder), out)


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Table to write; .npz.")
@click.option(
    "--clip", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Local folder of a CLIP text encoder in the format of transformers; without it words are hashed.",
)  # fmt: skip
@click.option("--string", "extra", multiple=True, help="A further string; may be given several times.")
def text_table(out: Path, folder: Path | None, extra: tuple[str, ...]) -> None:
    """The text side of CLEF: vectors of the names of AUs, expressions and activities."""
    from train.data.text_table import clip, hashed, known_strings, write_text_table

    strings = list(dict.fromkeys([*known_strings(), *extra]))
    with known_errors():
        table = hashed(strings) if folder is None else clip(strings, folder)
    write_text_table(out, table)
    click.echo(f"{len(strings)} strings, vectors of {table.vectors.shape[1]}: {out}")


@main.command()
@click.argument("what", nargs=-1, required=True, metavar="CONFIG... [KEY=VALUE...]")
def run(what: tuple[str, ...]) -> None:
    """Train and evaluate what the files configure (docs/reproduce.md); goes on where it was stopped."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from train.runs.config import read_config
    from train.runs.report import lines
    from train.runs.run import run as train

    changes = [each for each in what if "=" in each]
    with known_errors():
        configs = [read_config(Path(each), changes) for each in what if each not in changes]
        for config in configs:
            train(config)
            rank_zero_only(click.echo)("\n".join(lines(Path(config.out))))


_out = click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="RUN")
_fold = click.option("--fold", default="fold1", show_default=True, help="Whose network.")


@main.command()
@_out
@_fold
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the artifact.")
def export(out: Path, fold: str, to: Path) -> None:
    """A finished run as weights for `rtau process --weights`; CL-ILE's stage 1 as an identity encoder."""
    from train.runs.export import export as write

    with known_errors():
        write(out, fold, to)


@main.command()
@_out
@_fold
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), required=True, help="PNG to write.")
@click.option("--frames", type=click.IntRange(10), default=1000, show_default=True, help="Of the test fold, drawn.")
def tsne(out: Path, fold: str, plot: Path, frames: int) -> None:
    """Features of test frames in the plane, by AU, coloured by label (as Figure 4 of AUNCE)."""
    from train.evaluation.tsne import draw

    with known_errors():
        draw(out, fold, plot, frames)


@main.command()
@click.argument("name")
@_write
@click.option("--csv", "rows", type=click.Path(dir_okay=False, path_type=Path), help="The same as CSV.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="PNG with bars.")
def table(name: str, write: Path | None, rows: Path | None, plot: Path | None) -> None:
    """Published and own figures side by side: table2 to table8 of AUNCE, clile-bp4d, clile-disfa,
    clp, clef, clef-bp4dplus, or the study `synth`."""
    from train.evaluation import study, tables

    with known_errors():
        if name == "synth":
            if rows is not None:
                raise click.BadOptionUsage("csv", "--csv is not for synth")
            _show(study.markdown(study.SYNTH), write)
            if plot is not None:
                study.write_plot(study.SYNTH, plot)
            return
        if name not in tables.names():
            raise click.BadParameter(f"expected {', '.join(tables.names())} or synth, got {name}")
        asked = tables.read_table(name)
        _show(tables.markdown(asked), write)
        if rows is not None:
            tables.write_csv(asked, rows)
        if plot is not None:
            tables.write_plot(asked, plot)


@main.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Shards.")
@click.option("--peer-python", type=click.Path(path_type=Path), required=True, help="Python that has mediapipe.")
@_write
def check_renders(folder: Path, peer_python: Path, write: Path | None) -> None:
    """How a teacher that never saw rendered faces sees them."""
    from train.evaluation.renders import report

    _show(report(folder, peer_python), write)


@main.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Shards.")
@click.option("--peer-python", type=click.Path(path_type=Path), required=True, help="Python that has mediapipe.")
def teacher_offsets(folder: Path, peer_python: Path) -> None:
    """Where the teacher places each landmark on rendered heads: rewrites train/data/teacher_offsets.npy."""
    import numpy as np

    from train.evaluation.renders import teacher_offsets as measure

    np.save(Path(__file__).with_name("data") / "teacher_offsets.npy", measure(folder, peer_python))


@main.command()
@_write
def cards(write: Path | None) -> None:
    """The shipped models: what each was trained on, reaches, and cannot do."""
    from train.evaluation.cards import report

    _show(report(), write)


@main.command()
@_write
@click.option("--update-cards", is_flag=True, help="The cards of the shipped models take over their figures.")
def evaluate(write: Path | None, update_cards: bool) -> None:
    """The shipped weights on the evaluation material, as the pipeline runs them.

    The reliability diagrams are written beside the document, as reliability.png.
    """
    from train.evaluation.pipeline import report

    diagram = write.with_name("reliability.png") if write else None
    _show(report(diagram, update_cards=update_cards), write)


@main.command()
@click.option("--persons", type=click.IntRange(2), default=14, show_default=True, help="Rendered people.")
@click.option("--folder", type=click.Path(path_type=Path), default="runs/calibration", show_default=True, help="Clips.")
@_write
def calibration_study(persons: int, folder: Path, write: Path | None) -> None:
    """What the neutral baseline and the identities are worth."""
    from train.evaluation.calibration import report

    try:
        text = report(folder, persons, lambda line: click.echo(line, err=True))
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    _show(text, write)


if __name__ == "__main__":
    main(prog_name="python -m train")
