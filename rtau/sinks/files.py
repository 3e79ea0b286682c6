"""Files that appear under their name only when they are complete."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rtau.errors import OutputError


def check_target(path: Path, suffixes: tuple[str, ...], *, overwrite: bool, source: str) -> None:
    """Raise OutputError, before any work is done, when `path` cannot become the output."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: unknown kind of file; the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise OutputError(f"{path}: is the input; name another file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite to replace it")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to")


def temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, with its suffix."""
    with disk_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    return Path(name)


def publish(temporary: Path, path: Path) -> None:
    """Give a complete file its name; safe against a loss of power."""
    with disk_errors(path):
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A failure of the file system as one line."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        cure = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}{cure}; nothing was left behind"
        ) from error
