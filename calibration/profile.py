"""What is kept of a person: name, embeddings, resting face. As bytes in a gallery, as JSON when it is exported."""

import secrets
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Float32 = NDArray[np.float32]

NAME_PATTERN = r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?$"
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]  # up to 64 characters, no control characters


class Neutral(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resting face in the scale of one AU model: what it says of each AU when the person does nothing."""

    au_model: str  # sha256 of the weights whose scale this is
    aus: tuple[str, ...]
    left: tuple[float, ...]  # (A,) resting level 0-5, the subject's left
    right: tuple[float, ...]
    spread_left: tuple[float, ...]  # (A,) standard deviation of the estimates at rest
    spread_right: tuple[float, ...]
    evidence: float  # independent calm looks behind it

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (self.left, self.right, self.spread_left, self.spread_right)}
        if lengths != {len(self.aus)}:
            raise ValueError(f"a baseline of {len(self.aus)} AUs has lists of {sorted(lengths)} numbers")

    def levels(self) -> tuple[Float32, Float32]:
        """(2, A) resting levels and spreads; left, then right."""
        levels = np.array([self.left, self.right], np.float32)
        return levels, np.array([self.spread_left, self.spread_right], np.float32)

    def merged(self, other: "Neutral") -> "Neutral":
        """Both, each weighing as much as its evidence; of two models the one with more evidence."""
        if (self.au_model, self.aus) != (other.au_model, other.aus):
            return max(self, other, key=lambda each: each.evidence)
        total = self.evidence + other.evidence
        share = self.evidence / total if total > 0 else 0.5

        def mixed(mine: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(share * a + (1 - share) * b for a, b in zip(mine, theirs, strict=True))

        sides = ("left", "right", "spread_left", "spread_right")
        both = {side: mixed(getattr(self, side), getattr(other, side)) for side in sides}
        return msgspec.structs.replace(self, evidence=total, **both)


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person of a gallery."""

    uid: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))  # stays when the name changes
    name: Name
    embeddings: tuple[bytes, ...]  # float32, little-endian, unit length; one for each clip that was enrolled
    enrolled: tuple[str, ...]  # ISO day of each
    neutral: Neutral | None = None

    def matrix(self) -> Float32:
        """(E, D) the embeddings."""
        return np.stack([np.frombuffer(each, "<f4") for each in self.embeddings])

    def with_clip(self, embedding: Float32, day: str, neutral: Neutral | None) -> "Profile":
        """The person after one clip more."""
        both = neutral if self.neutral is None or neutral is None else self.neutral.merged(neutral)
        return msgspec.structs.replace(
            self,
            embeddings=(*self.embeddings, to_bytes(embedding)),
            enrolled=(*self.enrolled, day),
            neutral=both or self.neutral,
        )

    def merged(self, other: "Profile") -> "Profile":
        """This person with what was kept of another, who was the same."""
        both = self.neutral or other.neutral
        if self.neutral is not None and other.neutral is not None:
            both = self.neutral.merged(other.neutral)
        return msgspec.structs.replace(
            self,
            embeddings=(*self.embeddings, *other.embeddings),
            enrolled=(*self.enrolled, *other.enrolled),
            neutral=both,
        )


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Persons on their way to another gallery: readable JSON, not sealed."""

    format: Annotated[str, Meta(pattern=r"^rtau-persons-1$")] = "rtau-persons-1"
    identity_model: str  # sha256 of the weights that made the embeddings
    persons: list[Profile]


def check_name(name: str) -> str:
    """A name that can be kept and printed. Raises CalibrationError."""
    try:
        return msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        raise CalibrationError(f"{name!r} is no name: use 1 to 64 characters, no line breaks") from error


def to_bytes(embedding: Float32) -> bytes:
    """Of unit length, as it is kept."""
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0:
        raise ValueError("an embedding must have a direction")
    return (embedding / length).astype("<f4").tobytes()


def encode(profile: Profile) -> bytes:
    """A person as the bytes that a gallery seals."""
    return msgspec.msgpack.encode(profile)


def decode(data: bytes) -> Profile:
    """Raises CalibrationError for anything else than the bytes of a person."""
    try:
        return _checked(msgspec.msgpack.decode(data, type=Profile))
    except (msgspec.MsgspecError, ValueError) as error:
        raise CalibrationError(f"the record of a person is damaged: {error}") from error


def to_json(export: Export) -> bytes:
    """Indented, as people read it."""
    return msgspec.json.format(msgspec.json.encode(export), indent=2) + b"\n"


def from_json(data: bytes) -> Export:
    """Raises CalibrationError."""
    try:
        export = msgspec.json.decode(data, type=Export)
        for person in export.persons:
            _checked(person)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CalibrationError(f"not an export of persons: {error}") from error
    return export


def _checked(profile: Profile) -> Profile:
    sizes = {len(each) for each in profile.embeddings}
    if len(sizes) != 1 or sizes & {0} or any(size % 4 for size in sizes):
        raise ValueError(f"{profile.name}: embeddings of {sorted(sizes)} bytes")
    if len(profile.embeddings) != len(profile.enrolled):
        raise ValueError(f"{profile.name}: {len(profile.embeddings)} embeddings of {len(profile.enrolled)} clips")
    if not np.isfinite(profile.matrix()).all():
        raise ValueError(f"{profile.name}: embeddings must be finite")
    return profile
