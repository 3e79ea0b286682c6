"""The module that GPUs run is the network that the CPU runs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from rtau.engines.onnx_torch import OnnxNet
from rtau.engines.openvino import OpenVINOEngine
from rtau.errors import ModelError
from rtau.models import Role, load_artifact

ROLES: tuple[Role, ...] = ("detector", "landmarks", "au", "identity")


def example(net: OnnxNet, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(3, 96, 160) if not all(shape) else shape for shape in net.shapes]
    return {
        name: (rng.normal(size=(batch, *shape)) / (1 if name == "image" else 4)).astype(np.float32)
        for name, shape in zip(net.inputs, shapes, strict=True)
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_shipped_model_equals_openvino_for_any_batch(role: Role) -> None:
    artifact = load_artifact("default", role)
    net, engine = OnnxNet(artifact.onnx), OpenVINOEngine(artifact)
    for batch in (1, 3):
        inputs = example(net, batch)
        with torch.no_grad():
            ours = net(*(torch.from_numpy(inputs[name]) for name in net.inputs))
        theirs = engine(inputs)
        assert set(net.outputs) == set(theirs)
        for name, value in zip(net.outputs, ours, strict=True):
            np.testing.assert_allclose(value.numpy(), theirs[name], rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("role", ["landmarks", "au"])
def test_it_can_be_exported_with_a_free_batch_and_its_types(role: Role) -> None:
    """As torch-tensorrt takes it: convolutions in float16, results in float32."""
    net = OnnxNet(load_artifact("default", role).onnx, half=True).eval()
    inputs = [torch.zeros((2, *shape)) for shape in net.shapes]
    inputs[0] = inputs[0].half()
    batch = torch.export.Dim("batch", min=1, max=32)
    program = torch.export.export(net, tuple(inputs), dynamic_shapes=(tuple({0: batch} for _ in inputs),))
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    kinds = {node.target: values[node.name].dtype for node in program.graph.nodes if "conv2d" in str(node.target)}
    assert set(kinds.values()) == {torch.float16}
    outputs = [values[name] for name in program.graph_signature.user_outputs]
    assert all(value.dtype == torch.float32 and not isinstance(value.shape[0], int) for value in outputs)


def test_float16_convolutions_cost_little() -> None:
    artifact = load_artifact("default", "identity")
    image = torch.from_numpy(example(OnnxNet(artifact.onnx), 1)["image"])
    with torch.no_grad():
        exact, half = OnnxNet(artifact.onnx)(image)[0], OnnxNet(artifact.onnx, half=True)(image.half())[0]
    assert half.dtype == torch.float32
    assert 0 < (exact - half).abs().max() < 1e-3


def graph(path: Path, node: onnx.NodeProto) -> Path:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3, 8, 8])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [image], [out])), path)
    return path


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    path = graph(tmp_path / "model.onnx", helper.make_node("Erf", ["image"], ["out"]))
    with pytest.raises(ModelError, match=r"model\.onnx: GPU engines do not know its operator Erf .*--device cpu"):
        OnnxNet(path)


def test_an_operator_in_an_unknown_form_is_named(tmp_path: Path) -> None:
    path = graph(tmp_path / "model.onnx", helper.make_node("Conv", ["image"], ["out"], pads=[0, 0, 1, 1]))
    with pytest.raises(ModelError, match=r"operator Conv \(uneven padding\)"):
        OnnxNet(path)
