import stat
from pathlib import Path

import pytest

from calibration.errors import CalibrationError
from calibration.sealing import Seal, key_from_passphrase, make_key, read_key


def test_a_record_opens_with_its_key_in_its_place_and_nowhere_else() -> None:
    seal = Seal(bytes(32))
    sealed = seal.close(b"alice smiles", b"row 1")
    assert b"alice" not in sealed
    assert seal.open(sealed, b"row 1") == b"alice smiles"
    for other, record, place in (
        (Seal(bytes(31) + b"1"), sealed, b"row 1"),
        (seal, sealed, b"row 2"),
        (seal, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"row 1"),
        (seal, b"", b"row 1"),
    ):
        with pytest.raises(CalibrationError, match="does not open"):
            other.open(record, place)


def test_the_same_record_is_never_sealed_alike() -> None:
    seal = Seal(bytes(32))
    assert seal.close(b"x", b"") != seal.close(b"x", b"")


def test_a_passphrase_gives_one_key_for_one_salt() -> None:
    one = key_from_passphrase("correct horse", b"salt" * 4)
    assert len(one) == 32
    assert one == key_from_passphrase("correct horse", b"salt" * 4)
    assert one != key_from_passphrase("correct horse", b"tlas" * 4)


def test_a_key_file_is_private_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "gallery.key"
    key = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make_key(path) == read_key(path) == key
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", ["", "secret", "rtau-gallery-key-1 c2hvcnQ=", "rtau-gallery-key-2 " + "A" * 43 + "="]
)
def test_another_file_is_no_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "k").write_text(content)
    with pytest.raises(CalibrationError, match="is not a key file"):
        read_key(tmp_path / "k")
    with pytest.raises(CalibrationError, match="No such file"):
        read_key(tmp_path / "none")
