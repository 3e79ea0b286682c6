"""What took long to build, kept in the user's cache directory for one GPU, one set of versions, one file of weights."""

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

Built = TypeVar("Built")


class _Head(msgspec.Struct, frozen=True):
    """First line of a file: what it was built for, and the hash of the rest."""

    made_for: dict[str, str]
    sha256: str


def cache_folder() -> Path:
    """`RTAU_CACHE`, or rtau's folder in the user's cache directory."""
    if own := os.environ.get("RTAU_CACHE"):
        return Path(own)
    home = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "rtau"


def kept(
    name: str,
    made_for: dict[str, str],
    build: Callable[[], bytes],
    load: Callable[[bytes], Built | None],
    say: Callable[[str], None],
) -> Built:
    """What `load` makes of the bytes kept for `name`, built where there are none.

    A file that was made for something else, is damaged, or that `load` gives None for, is built again; `say` hears of
    it. Where the folder cannot be written, the bytes are used and not kept.
    """
    key = hashlib.sha256(msgspec.json.encode(sorted(made_for.items()))).hexdigest()[:16]
    path = cache_folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{key}.engine"
    try:
        head, payload = _read(path)
        why = "was made for something else" if head.made_for != made_for else ""
        if not why and hashlib.sha256(payload).hexdigest() != head.sha256:
            why = "is damaged"
        if not why:
            built = load(payload)
            if built is not None:
                return built
            why = "cannot be loaded"
        say(f"{path} {why}; building it again")
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError):
        say(f"{path} cannot be read; building it again")
    say(f"building {name}, once for this GPU and these versions; this takes minutes")
    payload = build()
    try:
        _write(path, _Head(made_for, hashlib.sha256(payload).hexdigest()), payload)
        say(f"built {name}, kept in {path}")
    except OSError as error:
        say(f"built {name}; {path} cannot be written ({error.strerror}), so the next run builds it again")
    built = load(payload)
    if built is None:
        raise RuntimeError(f"{name} was built and cannot be loaded")
    return built


def _read(path: Path) -> tuple[_Head, bytes]:
    head, _, payload = path.read_bytes().partition(b"\n")
    return msgspec.json.decode(head, type=_Head), payload


def _write(path: Path, head: _Head, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(msgspec.json.encode(head) + b"\n" + payload)
    os.replace(file.name, path)
