"""What all commands share: known errors become one line and an exit code."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from rtau.config import DEVICE_PATTERN
from rtau.errors import RtauError


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
