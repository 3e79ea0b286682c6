"""A file that appears under its name only when it is whole."""

import contextlib
import errno
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rtau.errors import OutputError
from rtau.place import check_place


def check_output(path: Path, suffixes: tuple[str, ...], source: str, *, overwrite: bool) -> None:
    """Whether `path` can be written, asked before a run starts.

    Raises OutputError for an unknown extension, a missing or protected folder, a folder of that name, the input
    itself, and for a file that exists where `overwrite` is not set.
    """
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: the name must end in {' or '.join(suffixes)}")
    target = _real(path)
    if target.exists() and not target.is_dir():
        if os.path.exists(source) and target.samefile(source):
            raise OutputError(f"{path}: is the input; write to another name")
        if not target.is_file():
            raise OutputError(f"{path}: is not a regular file; write to another name")
    check_place(path, overwrite=overwrite)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {target.parent} is write-protected; write elsewhere")


class OutputFile:
    """Written under a temporary name in the folder of `path`, then renamed. A link is followed, not replaced.

    Raises OutputError when the temporary file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = _real(path)
        self.temporary = self._target.with_name(f".{self._target.stem[:40]}-{secrets.token_hex(4)}.part")
        with self.writing():
            self.temporary.touch(exist_ok=False)

    def open(self) -> BinaryIO:
        """The temporary file, for writing."""
        with self.writing():
            return io.BufferedWriter(io.FileIO(self.temporary, "w"))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure of the disk into an OutputError; nothing stays behind."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise OutputError(f"{self.path}: {write_problem(error)}") from error

    def seal(self) -> None:
        """Wait until the disk has everything."""
        with self.writing():
            descriptor = os.open(self.temporary, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def publish(self) -> None:
        """Give the file its name."""
        with self.writing():
            os.replace(self.temporary, self._target)

    def discard(self) -> None:
        """Remove the temporary file, if there is one."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()


def write_problem(error: OSError) -> str:
    """What went wrong and the cure, for the line after the file's name."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full, nothing was kept; free some space or write elsewhere"
    return f"cannot be written ({error.strerror or error}); write elsewhere"


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
