"""`python -m train COMMAND`: one command remakes one model or one table."""

from pathlib import Path
from typing import TypeVar

import click
import msgspec

Config = TypeVar("Config", bound=msgspec.Struct)

_config = click.option(
    "--config", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="YAML recipe."
)


@click.group()
def main() -> None:
    """Train and evaluate the models that rtau runs."""


def _read(path: Path, kind: type[Config]) -> Config:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from error


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
def aunce(path: Path) -> None:
    """The AU encoder."""
    from train.methods import aunce as method

    method.run(_read(path, method.AunceConfig))


@main.command()
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def evaluate(write: Path | None) -> None:
    """The shipped weights on the evaluation material, as the pipeline runs them."""
    from train.evaluation.document import replace_figures
    from train.evaluation.pipeline import report

    text = report()
    click.echo(text)
    if write is not None:
        replace_figures(write, text)


if __name__ == "__main__":
    main(prog_name="python -m train")
