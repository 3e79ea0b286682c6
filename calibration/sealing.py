"""Sealed records: AES-256-GCM under a key from a file, or from a passphrase through scrypt (RFC 7914)."""

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from calibration.errors import CalibrationError

KEY_BYTES = 32
SALT_BYTES = 16
_NONCE_BYTES = 12
_SCRYPT_COST, _SCRYPT_BLOCK = 2**17, 8  # 128 MB and some tenths of a second for each guess
_HEAD = "rtau-gallery-key-1"


class Seal:
    """Seals and opens records. `context` is bound to a record: moved to another place it does not open."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, plain: bytes, context: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The record. Raises CalibrationError when key, context or content are not what they were."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise CalibrationError("a record does not open: another key sealed it, or it was changed") from error


def key_from_passphrase(passphrase: str, salt: bytes) -> bytes:
    """(32,) bytes; slow on purpose."""
    return Scrypt(salt=salt, length=KEY_BYTES, n=_SCRYPT_COST, r=_SCRYPT_BLOCK, p=1).derive(passphrase.encode())


def read_key(path: Path) -> bytes:
    """The key in a file. Raises CalibrationError."""
    try:
        head, _, text = path.read_text(encoding="ascii").strip().partition(" ")
        key = base64.b64decode(text, validate=True)
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}; name the gallery's key file") from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise CalibrationError(f"{path}: is not a key file of rtau") from error
    if head != _HEAD or len(key) != KEY_BYTES:
        raise CalibrationError(f"{path}: is not a key file of rtau")
    return key


def make_key(path: Path) -> bytes:
    """A new key in a file that nobody else may read, whole or not there at all; an existing one is read instead."""
    key = os.urandom(KEY_BYTES)
    temporary = path.with_name(f".{path.name}-{os.getpid()}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{_HEAD} {base64.b64encode(key).decode()}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename it never replaces the key of another process
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        return read_key(path)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror}); name another key file") from error
    return key
