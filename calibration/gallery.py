"""The persons that are known: a sealed SQLite file, and the search among their embeddings.

The file shows how many persons there are and nothing else of them: every record is sealed as a whole. SQLite keeps it
whole when a process is killed and orders the writes of several; what is forgotten is overwritten in the file.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.profile import Profile, decode, encode
from calibration.sealing import SALT_BYTES, Seal, key_from_passphrase

Float32 = NDArray[np.float32]

_FORMAT = 1
_WAIT_S = 10.0  # for another process that writes
_SCHEMA = """
create table gallery (salt blob not null, passphrase integer not null, head blob not null);
create table person (id integer primary key, record blob not null);
"""


class _Head(msgspec.Struct, frozen=True):
    """Sealed with the persons' key, so that a wrong key is noticed at once."""

    identity_model: str  # sha256 of the weights that made the embeddings


class Secret(NamedTuple):
    """What opens a gallery: the bytes of a key file, or a passphrase."""

    key: bytes | None = None
    passphrase: str | None = None


def needs_passphrase(path: Path) -> bool | None:
    """Whether an existing gallery was made with a passphrase; None where there is none yet."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with _sqlite(path), contextlib.closing(_connect(path)) as connection:
        row = connection.execute("select passphrase from gallery").fetchone() if _version(connection) else None
        return None if row is None else bool(row[0])


class Gallery:
    """An open gallery; use it in a `with` block. Raises CalibrationError for all that the world can do to it.

    `identity_model` is the sha256 of the identity weights of this run; None where no embedding is compared. `create`
    makes the file, with mode 0600, where there is none.
    """

    def __init__(self, path: Path, secret: Secret, identity_model: str | None, *, create: bool = False) -> None:
        self.path = path
        with _sqlite(path):
            if create:
                _touch(path)
            elif not path.exists():
                raise CalibrationError(f"{path}: no such gallery; `rtau gallery enroll NAME CLIP` makes one")
            self._connection = _connect(path)
        try:
            with _sqlite(path):
                self._open(secret, identity_model, create=create)
            self._version = self._data_version()
        except BaseException:
            self._connection.close()
            raise

    identity_model: str  # sha256 of the weights that made the embeddings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def persons(self) -> list[Profile]:
        """Everybody, by name."""
        with _sqlite(self.path):
            return sorted((person for _, person in self._rows()), key=lambda person: person.name)

    def changed(self) -> bool:
        """Whether another process has written since the last question. Never waits: while it is writing, not yet."""
        self._connection.execute("pragma busy_timeout = 0")
        try:
            now = self._data_version()
        except CalibrationError:
            return False
        finally:
            self._connection.execute(f"pragma busy_timeout = {round(1000 * _WAIT_S)}")
        changed, self._version = now != self._version, now
        return changed

    def update(self, name: str, change: Callable[[Profile | None], Profile]) -> Profile:
        """Replace a person, or put a new one in, by what `change` makes of the present record."""
        with self._writing():
            row, person = next(((i, p) for i, p in self._rows() if p.name == name), (None, None))
            new = change(person)
            self._put(row, new)
        return new

    def add(self, persons: Sequence[Profile]) -> None:
        """Put new persons in, all or none. Raises CalibrationError for a name that is there."""
        with self._writing():
            names = {person.name for _, person in self._rows()}
            for person in persons:
                if person.name in names:
                    raise CalibrationError(f"{self.path}: {person.name} is there already; rename or forget that one")
                names.add(person.name)
                self._put(None, msgspec.structs.replace(person, uid=secrets.token_hex(8)))

    def rename(self, name: str, new: str) -> None:
        """Call a person otherwise."""
        with self._writing():
            if any(person.name == new for _, person in self._rows()):
                raise CalibrationError(f"{self.path}: {new} is there already; `rtau gallery merge` joins two")
            row, person = self._find(name)
            self._put(row, msgspec.structs.replace(person, name=new))

    def merge(self, name: str, other: str) -> Profile:
        """Add what is kept of `other` to `name`, and forget `other`."""
        if name == other:
            raise CalibrationError(f"{name} cannot be merged with itself; name two persons")
        with self._writing():
            row, person = self._find(name)
            gone, joined = self._find(other)
            both = person.merged(joined)
            self._put(row, both)
            self._connection.execute("delete from person where id = ?", (gone,))
        self._shrink()
        return both

    def forget(self, name: str) -> None:
        """Delete a person, so that nothing of the record is left in the file."""
        with self._writing():
            row, _ = self._find(name)
            self._connection.execute("delete from person where id = ?", (row,))
        self._shrink()

    def _open(self, secret: Secret, identity_model: str | None, *, create: bool) -> None:
        if _version(self._connection) == 0:
            if not create or identity_model is None:
                raise CalibrationError(f"{self.path}: is not a gallery; `rtau gallery enroll NAME CLIP` makes one")
            with self._writing():
                if _version(self._connection) == 0:  # nobody else was quicker
                    self._create(secret, identity_model)
        if _version(self._connection) != _FORMAT:
            raise CalibrationError(f"{self.path}: was made by another version of rtau; export and import its persons")
        salt, by_passphrase, head = self._connection.execute("select salt, passphrase, head from gallery").fetchone()
        with contextlib.suppress(PermissionError):
            self.path.chmod(0o600)  # also where a copy lost it
        self._seal, self._salt = _unlock(self.path, secret, salt, bool(by_passphrase)), bytes(salt)
        try:
            plain = self._seal.open(head, b"head" + self._salt)
        except CalibrationError as error:
            what = "passphrase" if by_passphrase else "key file"
            raise CalibrationError(
                f"{self.path}: this {what} does not open it; give the one it was made with"
            ) from error
        self.identity_model = msgspec.msgpack.decode(plain, type=_Head).identity_model
        if identity_model not in (None, self.identity_model):
            raise CalibrationError(
                f"{self.path}: its embeddings are of identity model {self.identity_model[:8]}, this run uses "
                f"{identity_model[:8]}, and they cannot be compared; use that model or enrol the persons again"
            )

    def _create(self, secret: Secret, identity_model: str) -> None:
        salt, by_passphrase = os.urandom(SALT_BYTES), secret.key is None
        seal = _unlock(self.path, secret, salt, by_passphrase)
        head = seal.close(msgspec.msgpack.encode(_Head(identity_model)), b"head" + salt)
        for statement in _SCHEMA.strip().split("\n"):
            self._connection.execute(statement)
        self._connection.execute("insert into gallery values (?, ?, ?)", (salt, by_passphrase, head))
        self._connection.execute(f"pragma user_version = {_FORMAT}")

    def _rows(self) -> Iterator[tuple[int, Profile]]:
        for row, record in self._connection.execute("select id, record from person"):
            try:
                yield row, decode(self._seal.open(record, self._context(row)))
            except CalibrationError as error:
                raise CalibrationError(f"{self.path}: {error}; restore it from a copy") from error

    def _find(self, name: str) -> tuple[int, Profile]:
        for row, person in self._rows():
            if person.name == name:
                return row, person
        raise CalibrationError(f"{self.path}: {name} is not in it; `rtau gallery list` says who is")

    def _put(self, row: int | None, person: Profile) -> None:
        """A record opens in its own row only, so that nobody can swap two."""
        if row is None:
            (row,) = self._connection.execute("select coalesce(max(id), 0) + 1 from person").fetchone()
        sealed = self._seal.close(encode(person), self._context(row))
        self._connection.execute("insert or replace into person values (?, ?)", (row, sealed))

    def _context(self, row: int) -> bytes:
        return b"person" + self._salt + row.to_bytes(8, "little")

    def _shrink(self) -> None:
        """Give the space back. What was deleted is overwritten already, so a reader in the way does no harm."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("vacuum")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction: all of it or nothing, and nobody else in between."""
        with _sqlite(self.path):
            self._connection.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def _data_version(self) -> int:
        with _sqlite(self.path):
            return int(self._connection.execute("pragma data_version").fetchone()[0])


class Index:
    """Search among the persons of a gallery, exact. Every person has at least one embedding."""

    def __init__(self, persons: Sequence[Profile]) -> None:
        self.persons = tuple(persons)
        matrices = [person.matrix() for person in persons]
        self._all = np.ascontiguousarray(np.concatenate(matrices)) if matrices else np.zeros((0, 0), np.float32)
        self._starts = np.cumsum([0, *(len(each) for each in matrices)])[:-1]

    def cosines(self, embedding: Float32) -> Float32:
        """(D,) of unit length -> (P,) the cosine to the nearest embedding of each person."""
        if not self.persons:
            return np.zeros(0, np.float32)
        if embedding.shape != self._all.shape[1:]:
            raise ValueError(f"embedding must be {self._all.shape[1:]}, got {embedding.shape}")
        cosines: Float32 = self._all @ embedding
        if len(self._all) > len(self.persons):
            cosines = np.maximum.reduceat(cosines, self._starts)
        return cosines


def _unlock(path: Path, secret: Secret, salt: bytes, by_passphrase: bool) -> Seal:
    if by_passphrase:
        if not secret.passphrase:
            raise CalibrationError(f"{path}: needs its passphrase; set RTAU_GALLERY_PASSPHRASE or use --passphrase")
        return Seal(key_from_passphrase(secret.passphrase, salt))
    if secret.key is None:
        raise CalibrationError(f"{path}: was made with a key file, not with a passphrase; give it with --key")
    return Seal(secret.key)


def _touch(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Readers and writers alike may have to undo what a killed process left half-done, so all open for writing."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT_S, isolation_level=None)
    connection.execute("pragma secure_delete = on")
    connection.execute("pragma temp_store = memory")
    return connection


def _version(connection: sqlite3.Connection) -> int:
    """Of the gallery; 0 where nothing is in the file yet. A database of somebody else is none."""
    tables = {name for (name,) in connection.execute("select name from sqlite_master")}
    if tables and not {"gallery", "person"} <= tables:
        raise sqlite3.DatabaseError("another program's database")
    return int(connection.execute("pragma user_version").fetchone()[0]) if tables else 0


@contextlib.contextmanager
def _sqlite(path: Path) -> Iterator[None]:
    """What SQLite says as one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise CalibrationError(
                f"{path}: another process has been writing for {_WAIT_S:.0f} s; try again"
            ) from error
        raise CalibrationError(f"{path}: cannot be used ({error}); is it writable, and its folder too?") from error
    except sqlite3.DatabaseError as error:
        raise CalibrationError(f"{path}: is not a gallery, or damaged ({error})") from error
