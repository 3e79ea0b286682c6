"""CURVE keys: who may listen to a feed that leaves the machine. The files are ZeroMQ certificates (ZPL text).

FOLDER/server/server.key_secret   stays with the publisher: `rtau stream --curve FOLDER/server`
FOLDER/server/clients/NAME.key    the clients that may connect
FOLDER/NAME/client.key_secret     goes to the client, with
FOLDER/NAME/server.key            whom it will talk to: `rtau watch --curve FOLDER/NAME`
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.auth import load_certificate

from rtau.errors import FeedError

SERVER = "server"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Keys(NamedTuple):
    """One side of a connection, in the Z85 text of ZeroMQ."""

    public: bytes
    secret: bytes


def new_keys(folder: Path, clients: tuple[str, ...] = ("client",)) -> list[Path]:
    """Make the publisher's keys, unless they are there, and those of each client; returns the folders that were made.

    All files have mode 600. Raises FeedError for a client that exists, a bad name or a folder that cannot be written.
    """
    for name in clients:
        if name == SERVER or not _NAME.fullmatch(name):
            raise FeedError(f"{name!r} cannot name a client: use letters, digits, - and _, but not the word {SERVER}")
        if (folder / name).exists():
            raise FeedError(f"{folder / name}: exists already; choose another name with --client")
    _check_curve()
    made = []
    try:
        server = folder / SERVER
        if not (server / "server.key_secret").exists():
            (server / "clients").mkdir(mode=0o700, parents=True)
            public, secret = _make()
            _write(server / "server.key", public)
            _write(server / "server.key_secret", public, secret)
            made.append(server)
        public_server, _ = load_certificate(server / "server.key")
        for name in clients:
            (folder / name).mkdir(mode=0o700)
            public, secret = _make()
            _write(folder / name / "server.key", public_server)
            _write(folder / name / "client.key_secret", public, secret)
            _write(server / "clients" / f"{name}.key", public)
            made.append(folder / name)
    except OSError as error:
        raise FeedError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    return made


def server_keys(folder: Path) -> Keys:
    """What `FOLDER/server` holds. Raises FeedError, also without any client that may connect."""
    keys = _load(folder / "server.key_secret")
    if not list((folder / "clients").glob("*.key")):
        raise FeedError(f"{folder / 'clients'}: no client may connect; add one with rtau keys new --client NAME")
    return keys


def client_keys(folder: Path) -> tuple[Keys, bytes]:
    """What a client's folder holds: its keys and the publisher's public key. Raises FeedError."""
    return _load(folder / "client.key_secret"), _load(folder / "server.key", secret=False).public


def _load(path: Path, *, secret: bool = True) -> Keys:
    _check_curve()
    try:
        public, private = load_certificate(path)
    except (OSError, ValueError) as error:
        raise FeedError(f"{path}: is not a key file; make one with rtau keys new") from error
    if any(key is not None and len(key) != 40 for key in (public, private)) or (secret and private is None):
        raise FeedError(f"{path}: is damaged; make new keys with rtau keys new")
    return Keys(public, private or b"")


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise FeedError("this build of ZeroMQ has no CURVE; install the pyzmq of the Python Package Index")


def _make() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _write(path: Path, public: str | bytes, secret: str = "") -> None:
    """A certificate that nobody else may read, not even for a moment."""
    public = public if isinstance(public, str) else public.decode()
    lines = ["metadata", "    name = rtau", "curve", f'    public-key = "{public}"']
    if secret:
        lines.append(f'    secret-key = "{secret}"')
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
