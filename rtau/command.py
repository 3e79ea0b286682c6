"""What commands share: known errors become one line and an exit code; how a gallery is named."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from rtau.address import without_passwords
from rtau.config import DEVICE_PATTERN
from rtau.errors import GalleryError, RtauError


def device_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--device`, the same for every command that runs models."""

    def check(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(DEVICE_PATTERN, value):
            raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:0, cuda:1 …")
        return value

    return click.option(
        "--device", metavar="auto|cpu|cuda[:N]", callback=check, help="Where the models run.  [default: auto]"
    )(command)


def fail(error: RtauError) -> NoReturn:
    """A known error: its line on stderr, its exit code to the shell."""
    click.echo(f"Error: {error}", err=True)
    raise SystemExit(error.exit_code) from error


@contextlib.contextmanager
def known_errors() -> Iterator[None]:
    """Around the body of a command."""
    try:
        yield
    except RtauError as error:
        fail(error)
    except BrokenPipeError:  # the reader of stdout has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def command_line() -> str:
    """What was typed, as tables keep it: without passwords."""
    return " ".join(["rtau", *map(without_passwords, sys.argv[1:])])


def gallery_options(command: Callable[..., None]) -> Callable[..., None]:
    """--gallery, --key and --passphrase of the commands that recognise persons."""
    path: Any = click.Path(path_type=Path)
    for option in (
        click.option("--passphrase", is_flag=True, help="Ask for the gallery's passphrase."),
        click.option(
            "--key",
            type=path,
            metavar="FILE",
            envvar="RTAU_GALLERY_KEY",
            help="Its key file.  [default: the user's own]",
        ),
        click.option("--gallery", type=path, metavar="FILE", help="Recognise these persons (rtau gallery)."),
    ):
        command = option(command)
    return command


def ask_passphrase(gallery: str | Path | None, key: Path | None) -> None:
    """Into the environment of this process and of its children, where the gallery looks for it.

    Raises UsageError where no passphrase can count, and GalleryError for a gallery that has a key file.
    """
    from calibration.gallery import needs_passphrase
    from rtau.gallery import PASSPHRASE, gallery_errors

    if key is not None:
        raise click.UsageError("--passphrase and --key (or $RTAU_GALLERY_KEY) exclude each other")
    if gallery is None:
        raise click.UsageError("--passphrase opens a gallery; name it with --gallery")
    with gallery_errors():
        needed = needs_passphrase(Path(gallery))
    if needed is False:
        raise GalleryError(f"{gallery}: was made with a key file, not with a passphrase; leave out --passphrase")
    os.environ[PASSPHRASE] = click.prompt("Passphrase", hide_input=True, confirmation_prompt=needed is None, err=True)
