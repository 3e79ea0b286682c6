"""Where a file may be made."""

import os
from pathlib import Path

from rtau.errors import OutputError


def check_place(path: Path, *, overwrite: bool) -> None:
    """Whether a file may lie at `path`; a link is followed.

    Raises OutputError for a folder of that name, a missing folder, and for a file that exists where `overwrite` is not
    set.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the folder {target.parent} does not exist; create it or write elsewhere")
    if target.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite to replace it")
