"""What all commands share: known errors become one line and an exit code."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from rtau.errors import RtauError


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
