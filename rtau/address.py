"""Addresses of cameras and streams as other people may see them: without passwords, and without what may hold one."""

import re

_ADDRESS = re.compile(r"\b(?!file:|ipc:)([a-z][a-z0-9+.-]*://)([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def without_passwords(text: str) -> str:
    """`rtsp://anna:secret@10.0.0.7:554/main?token=x` becomes `rtsp://10.0.0.7:554`; text without an address stays.

    Of an address only scheme, host and port are left, since cameras have passwords in paths and queries too. Where an @
    comes later than the host, it may end a password with a slash in it, and the host is hidden as well.
    """
    return _ADDRESS.sub(_shortened, text)


def _shortened(address: re.Match[str]) -> str:
    scheme, authority, rest = address.groups()
    return scheme + ("…" if "@" in rest else authority.rpartition("@")[2])
