"""Who a face looks like: embeddings of single views, from our encoder or from an insightface recognition model."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rtau.align import crop_transform
from rtau.config import PipelineConfig
from rtau.crop import CropBuffer, crop
from rtau.engines import open_engine
from rtau.errors import ModelError
from rtau.models import Artifact, Card, load_artifact, sha256
from rtau.structures import Float32, Picture

_ARCFACE = 0.45  # cosine from which two faces are one person; users of insightface's models report 0.35 to 0.5
_STRICT = 0.75  # the same for a model of `python -m train export` that states none
_SIDE = 112
_TEMPLATE = (  # insightface's five points of a 112 px crop, at the mesh points: irises, nose tip, corners of the mouth
    (468, 38.7946, 52.1963),
    (473, 74.0318, 52.0014),
    (1, 56.5252, 72.2366),
    (61, 42.0493, 92.8655),
    (291, 71.2299, 92.7041),
)


class IdentityModel(NamedTuple):
    """A checked identity model, not loaded yet."""

    artifact: Artifact
    input: str  # names of the network's input and output
    output: str
    accept: float  # cosine from which two faces are taken for one person


def load_identity(model: str) -> IdentityModel:
    """The identity model in folder `model`, ours or insightface's, or the one shipped with rtau (`default`).

    Raises ModelError when there is none.
    """
    if model == "default" or (Path(model) / "card.yaml").exists():
        artifact = load_artifact(model, "identity")
        accept = _STRICT if artifact.card.accept is None else artifact.card.accept
        return IdentityModel(artifact, "image", "embedding", accept)
    return _insightface(Path(model))


class Identities:
    """The identity model, loaded: one view of a face in, an embedding out."""

    def __init__(self, model: IdentityModel, config: PipelineConfig) -> None:
        self._model, self.card = model, model.artifact.card
        self._engine = open_engine(model.artifact, config)
        self._template = np.array(self.card.template)
        self._crops = CropBuffer(self.card.input_size)

    def crop(self, picture: Picture, landmarks: Float32) -> Float32:
        """(3, S, S) the aligned face of landmarks (478, 3), valid until the next call."""
        side, out = self.card.input_size, self._crops.take(1)
        crop(picture, crop_transform(landmarks[None], self._template), (side, side), self.card.mean, self.card.std, out)
        aligned: Float32 = out[0]
        return aligned

    def __call__(self, aligned: Float32) -> Float32:
        """(3, S, S) -> (D,) of unit length; the cosine of two says how alike two faces are."""
        found = self._engine({self._model.input: aligned[None]})[self._model.output][0]
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9), dtype=np.float32)


def _insightface(folder: Path) -> IdentityModel:
    """The recognition model among the ONNX files of one of insightface's packs."""
    import openvino as ov

    core, found = ov.Core(), list[tuple[Path, str, str, bool]]()
    for path in sorted(folder.glob("*.onnx")) if folder.is_dir() else []:
        try:
            network = core.read_model(str(path))
        except RuntimeError:
            continue
        shapes = [port.partial_shape for port in (*network.inputs, *network.outputs)]
        if len(shapes) == 2 and _is_recognition(shapes[0], shapes[1]):
            names = (network.inputs[0].get_any_name(), network.outputs[0].get_any_name())
            found.append((path, *names, _normalises(network)))
    if len(found) != 1:
        some = ", ".join(path.name for path, *_ in found) or "none"
        raise ModelError(
            f"{folder}: needs one identity model, either model.onnx with card.yaml or insightface's recognition model "
            f"(112 px in, one embedding out); found {some}"
        )
    path, given, taken, inside = found[0]
    card = Card(
        role="identity",
        name=f"insightface-{path.stem}",
        version="",
        sha256=sha256(path),
        input_size=_SIDE,
        mean=(0.0, 0.0, 0.0) if inside else (0.5, 0.5, 0.5),
        std=(1 / 255, 1 / 255, 1 / 255) if inside else (0.5, 0.5, 0.5),
        outputs={taken: "an embedding"},
        template=_TEMPLATE,
        licence="see insightface; its models are for non-commercial research",
        trained_on=(),
        command="",
        trained="",
    )
    return IdentityModel(Artifact(folder, card, path.name), given, taken, _ARCFACE)


def _is_recognition(given: object, taken: object) -> bool:
    """(N, 3, 112, 112) in, (N, D) out; other models of a pack have other sizes or several outputs."""
    sizes, out = _lengths(given), _lengths(taken)
    return len(sizes) == 4 and sizes[1:] == [3, _SIDE, _SIDE] and len(out) == 2 and out[1] >= 64


def _lengths(shape: object) -> list[int]:
    return [axis.get_length() if axis.is_static else -1 for axis in shape]  # type: ignore[attr-defined]


def _normalises(network: object) -> bool:
    """Whether the network itself subtracts and scales, as those do that came from MXNet (insightface's own test)."""
    names = [op.get_friendly_name() for op in network.get_ordered_ops()]  # type: ignore[attr-defined]
    kinds = [op.get_type_name() for op in network.get_ordered_ops()]  # type: ignore[attr-defined]
    layers = [name for name, kind in zip(names, kinds, strict=True) if kind not in ("Parameter", "Constant")][:8]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in layers)
    return subtracts and any(name.startswith(("Mul", "_mul")) for name in layers)
