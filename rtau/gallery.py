"""The gallery as the commands and the pipeline open it: which key belongs to it, and errors as rtau's own."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from calibration.errors import CalibrationError
from calibration.gallery import Gallery, Secret, needs_passphrase
from calibration.sealing import make_key, read_key
from rtau.errors import GalleryError

# In the environment: processes of a run inherit it, and of other users only root can read it, unlike an argument.
PASSPHRASE = "RTAU_GALLERY_PASSPHRASE"


def own_key() -> Path:
    """The user's key file, for all galleries that name no other."""
    return Path(click.get_app_dir("rtau")) / "gallery.key"


def open_gallery(path: Path, key: Path | None, identity_model: str | None, *, create: bool = False) -> Gallery:
    """An open gallery. A new one gets the passphrase of the environment where there is one, else a key file.

    Raises GalleryError.
    """
    with gallery_errors():
        return Gallery(path, _secret(path, key, create=create), identity_model, create=create)


@contextlib.contextmanager
def gallery_errors() -> Iterator[None]:
    """Around whatever works with what is kept of persons."""
    try:
        yield
    except CalibrationError as error:
        raise GalleryError(str(error)) from error


def _secret(path: Path, key: Path | None, *, create: bool) -> Secret:
    passphrase, asked = os.environ.get(PASSPHRASE), needs_passphrase(path)
    if asked or (asked is None and key is None and passphrase):
        return Secret(passphrase=passphrase)
    chosen = key or own_key()
    if asked is None:
        return Secret(key=make_key(chosen)) if create else Secret()  # there is nothing to open
    return Secret(key=read_key(chosen))
