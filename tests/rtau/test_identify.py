"""The identity model: ours, or insightface's where its folder is named."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calibration.quality import identity_weight, sharpness_weight
from rtau.config import PipelineConfig, SourceConfig
from rtau.decode import Decode
from rtau.errors import ModelError
from rtau.faces import Faces
from rtau.identify import Identities, load_identity
from tests.rtau import film


def network(path: Path, *, normalises: bool, side: int = 112, outputs: int = 1) -> None:
    """Averages of 16 x 16 places and 3 colours, shaped like an ArcFace model."""
    nodes = []
    given = "data"
    if normalises:
        nodes.append(helper.make_node("Sub", [given, "shift"], ["minus"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["minus", "scale"], ["scaled"], name="_mulscalar0"))
        given = "scaled"
    nodes.append(helper.make_node("AveragePool", [given], ["pooled"], name="pool", kernel_shape=[7, 7], strides=[7, 7]))
    nodes += [helper.make_node("Flatten", ["pooled"], [f"fc{i}"], name=f"flat{i}") for i in range(outputs)]
    size = 3 * (side // 7) ** 2
    values = [helper.make_tensor_value_info(f"fc{i}", TensorProto.FLOAT, ["n", size]) for i in range(outputs)]
    constants = [
        helper.make_tensor("shift", TensorProto.FLOAT, [1], [127.5]),
        helper.make_tensor("scale", TensorProto.FLOAT, [1], [0.0078125]),
    ]
    graph = helper.make_graph(
        nodes,
        "made up",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, side, side])],
        values,
        constants if normalises else [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """What a pack holds: several models, one of which recognises."""
    network(tmp_path / "w600k_made_up.onnx", normalises=False)
    network(tmp_path / "det_10g.onnx", normalises=False, outputs=3)
    network(tmp_path / "2d106det.onnx", normalises=False, side=192)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    return tmp_path


def test_the_recognition_model_of_a_pack_is_found(pack: Path) -> None:
    model = load_identity(str(pack))
    assert model.artifact.onnx.name == "w600k_made_up.onnx"
    assert (model.input, model.output) == ("data", "fc0")
    assert model.artifact.card.name == "insightface-w600k_made_up"
    assert len(model.artifact.card.sha256) == 64


def test_both_kinds_of_normalisation_give_the_same_embedding(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    network(tmp_path / "other" / "r100.onnx", normalises=True)
    found = []
    with Decode(SourceConfig(path=str(photo(tmp_path)))) as decode:
        frame = next(iter(decode))
        seen = Faces(PipelineConfig())(frame)
        assert frame.picture is not None
        for folder in (pack, tmp_path / "other"):
            identities = Identities(load_identity(str(folder)), PipelineConfig())
            found.append(identities(identities.crop(frame.picture, seen.landmarks[0])))
    assert np.linalg.norm(found[0]) == pytest.approx(1)
    np.testing.assert_allclose(found[0], found[1], atol=0.02)  # 127.5 or 128


def test_a_pack_is_aligned_to_its_own_template(pack: Path, tmp_path: Path) -> None:
    identities = Identities(load_identity(str(pack)), PipelineConfig())
    with Decode(SourceConfig(path=str(photo(tmp_path)))) as decode:
        frame = next(iter(decode))
        seen = Faces(PipelineConfig())(frame)
        assert frame.picture is not None
        aligned = identities.crop(frame.picture, seen.landmarks[0])
    grey = aligned.mean(axis=0)
    eyes, cheek = grey[46:58, [33, 34, 38, 42, 43]], grey[66:78, 30:42]
    assert eyes.mean() < cheek.mean() - 0.1  # dark, 51.7 px from the top in insightface's template


def test_a_folder_without_one_model_is_refused(tmp_path: Path, pack: Path) -> None:
    network(pack / "second.onnx", normalises=False)
    with pytest.raises(ModelError, match=r"found second\.onnx, w600k_made_up\.onnx"):
        load_identity(str(pack))
    with pytest.raises(ModelError, match="found none"):
        load_identity(str(tmp_path / "nowhere"))


def test_a_view_weighs_less_when_it_is_small_turned_or_blurred(tmp_path: Path) -> None:
    straight = np.zeros(3, np.float32)
    assert identity_weight(60, straight, 0.99) == pytest.approx(1)
    assert 0 < identity_weight(20, straight, 0.99) < 0.5
    assert identity_weight(60, np.array([0, 50, 0], np.float32), 0.99) == 0
    assert identity_weight(60, straight, 0.5) == 0
    with Decode(SourceConfig(path=str(photo(tmp_path)))) as decode:
        frame = next(iter(decode))
        seen = Faces(PipelineConfig())(frame)
        assert frame.picture is not None
        identities = Identities(load_identity("default"), PipelineConfig())
        aligned = identities.crop(frame.picture, seen.landmarks[0]).copy()
    blurred = np.stack([cv2.GaussianBlur(channel, (0, 0), 2.0) for channel in aligned])
    assert sharpness_weight(blurred) < 0.5 < sharpness_weight(aligned)


def photo(folder: Path) -> Path:
    path = folder / "face.png"
    cv2.imwrite(str(path), film.picture((480, 360), [(240.0, 180.0, 120.0, 0.0)])[..., ::-1])
    return path
