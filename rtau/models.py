"""Artifact folders: `model.onnx` beside `card.yaml`, checked before anything runs."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from rtau.errors import ModelError

Role = Literal["detector", "landmarks", "au", "identity"]


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training source."""

    name: str
    licence: str
    origin: str
    used_for: str


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user and the runtime must know of a model.

    Input is RGB, NCHW float32, `(rgb - mean) / std`, rgb in [0, 1].
    """

    role: Role
    name: str
    version: str
    sha256: str  # of model.onnx
    input_size: int  # side of the square crop in pixels; for the detector the longer side of the picture
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    outputs: dict[str, str]  # output name: shape and meaning
    aus: tuple[str, ...] = ()  # columns that the model estimates, in output order (role `au`)
    template: tuple[tuple[int, float, float], ...] = ()  # landmark index, x, y in crop pixels (roles `au`, `identity`)
    accept: float | None = None  # cosine from which two faces are taken for one person (role `identity`)
    licence: str = "Apache-2.0"
    trained_on: tuple[Provenance, ...]
    command: str  # remakes the model
    trained: str  # date, machine, wall time
    metrics: dict[str, float] = {}  # of the training's own validation, and per AU
    evaluation: dict[str, str] = {}  # what the whole pipeline reaches with it on material that no training saw
    limits: tuple[str, ...] = ()  # what it cannot do


class Artifact(msgspec.Struct, frozen=True):
    """A checked model on disk."""

    folder: Path
    card: Card
    file: str = "model.onnx"

    @property
    def onnx(self) -> Path:
        return self.folder / self.file

    @property
    def label(self) -> str:
        """Name, version and the first digits of the hash, for headers and summaries."""
        return f"{self.card.name}-{self.card.version}-{self.card.sha256[:8]}"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_artifact(model: str, role: Role) -> Artifact:
    """The artifact in folder `model`, or the one shipped with rtau when `model` is `default`.

    Raises ModelError when the folder, the card or the weights are not what they should be.
    """
    folder = Path(str(files("rtau"))) / "weights" / role if model == "default" else Path(model)
    try:
        card = msgspec.yaml.decode((folder / "card.yaml").read_bytes(), type=Card)
        digest = sha256(folder / "model.onnx")
    except OSError as error:
        raise ModelError(
            f"{error.filename}: {error.strerror}; a model folder holds model.onnx and card.yaml"
        ) from error
    except msgspec.ValidationError as error:
        raise ModelError(f"{folder / 'card.yaml'}: {error}; this is not the card of a {role} model") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{folder / 'card.yaml'}: not YAML: {error}") from error
    if card.role != role:
        raise ModelError(f"{folder}: the card says role '{card.role}', a '{role}' model was expected")
    if digest != card.sha256:
        raise ModelError(
            f"{folder / 'model.onnx'}: sha256 is {digest[:12]}…, the card says {card.sha256[:12]}…; "
            "install the weights again"
        )
    return Artifact(folder, card)
