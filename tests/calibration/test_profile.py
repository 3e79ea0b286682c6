import msgspec
import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.profile import Export, decode, encode, from_json, to_bytes, to_json
from tests.calibration.made_up import MODEL, direction, neutral, person


def test_bytes_and_json_keep_everything() -> None:
    alice = person("Alice Ñ", direction(1), direction(2), neutral=neutral())
    assert decode(encode(alice)) == alice
    export = Export(identity_model=MODEL, persons=[alice])
    assert from_json(to_json(export)) == export


def test_a_clip_more_adds_an_embedding_and_weighs_the_baselines_by_evidence() -> None:
    alice = person("alice", neutral=neutral(0.4, evidence=10))
    more = alice.with_clip(direction(3), "2026-12-01", neutral(1.0, evidence=30))
    assert (len(more.embeddings), more.enrolled[-1], more.uid) == (2, "2026-12-01", alice.uid)
    assert more.neutral is not None
    assert more.neutral.left == pytest.approx((0.25 * 0.4 + 0.75 * 1.0, 2 * (0.25 * 0.4 + 0.75 * 1.0)))
    assert more.neutral.evidence == 40
    assert alice.with_clip(direction(3), "2026-12-01", None).neutral == alice.neutral


def test_baselines_of_two_au_models_are_not_mixed() -> None:
    new = msgspec.structs.replace(neutral(1.0, evidence=5), au_model="ef" * 32)
    assert neutral(0.5, evidence=20).merged(new) == neutral(0.5, evidence=20)


@pytest.mark.parametrize("name", ["", " alice", "al\nice", "a" * 65, "\x1b[2J"])
def test_a_name_must_be_printable(name: str) -> None:
    with pytest.raises(CalibrationError, match="damaged"):
        decode(encode(person(name, direction(1))))


def test_what_is_no_person_is_refused() -> None:
    alice = person("alice")
    for bad in (
        msgspec.structs.replace(alice, embeddings=()),
        msgspec.structs.replace(alice, embeddings=(b"123",)),
        msgspec.structs.replace(alice, enrolled=()),
        msgspec.structs.replace(alice, embeddings=(np.full(4, np.nan, "<f4").tobytes(),)),
    ):
        with pytest.raises(CalibrationError, match="damaged"):
            decode(encode(bad))
    for text in (b"", b"[]", b'{"format": "other", "identity_model": "", "persons": []}'):
        with pytest.raises(CalibrationError, match="not an export"):
            from_json(text)
    with pytest.raises(ValueError, match="lists of"):
        neutral(left=(0.1,))


def test_an_embedding_is_kept_at_unit_length() -> None:
    kept = np.frombuffer(to_bytes(3 * direction(1)), "<f4")
    np.testing.assert_allclose(kept, direction(1), atol=1e-6)
    with pytest.raises(ValueError, match="direction"):
        to_bytes(np.zeros(8, np.float32))
