"""The TensorRT engine with stand-ins for TensorRT and torch-tensorrt: what is built, kept, checked and called."""

import ctypes
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
import torch._dynamo  # looks at the modules whose place the stand-ins take
from onnx import TensorProto, helper, numpy_helper

from rtau.engines.cuda import CudaModel
from rtau.engines.onnx_torch import OnnxNet
from rtau.engines.tensorrt import TensorRTModel, open_model
from rtau.errors import ModelError
from rtau.models import Artifact, load_artifact, sha256


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Two inputs, two outputs, and hardly anything between them."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["conv", "space"], ["mean"], keepdims=0),
        helper.make_node("ReduceSum", ["points", "last"], ["sum"], keepdims=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("image", TensorProto.FLOAT, ["n", 3, 8, 8]), value("points", TensorProto.FLOAT, ["n", 4, 5])],
        [value("mean", TensorProto.FLOAT, ["n", 4]), value("sum", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([2, 3]), "space"),
            numpy_helper.from_array(np.array([2]), "last"),
        ],
    )
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    card = msgspec.structs.replace(load_artifact("default", "au").card, sha256=sha256(tmp_path / "model.onnx"))
    return Artifact(tmp_path, card)


class Context:
    """Runs the network on whatever lies at the addresses, as TensorRT does."""

    def __init__(self, engine: "Engine") -> None:
        self._engine, self._shapes, self._at = engine, dict[str, Any](), dict[str, int]()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self._shapes[name] = shape

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shapes["image"][0], 4)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._at[name] = address

    def _array(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(self._at[name]), dtype).reshape(shape)

    def execute_async_v3(self, stream: int) -> bool:
        image = self._array("image", self._shapes["image"], np.float16)
        points = self._array("points", self._shapes["points"], np.float32)
        results = self._engine.net(torch.from_numpy(image.copy()).float(), torch.from_numpy(points.copy()))
        for name, value in zip(self._engine.outputs, results, strict=True):
            self._array(name, tuple(value.shape), np.float32)[...] = value.numpy()
        return True


class Engine:
    def __init__(self, path: Path, outputs: tuple[str, ...]) -> None:
        self.net, self.outputs = OnnxNet(path), outputs
        self._names = ("image", "points", "output0", "output1")
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, i: int) -> str:
        return self._names[i]

    def get_tensor_mode(self, name: str) -> str:
        return "out" if name.startswith("output") else "in"

    def create_execution_context(self) -> Context:
        return Context(self)


@pytest.fixture
def built(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Installs the stand-ins; tells what was built, and which outputs the engine writes where."""
    seen: dict[str, Any] = {"builds": [], "outputs": ("output0", "output1")}

    def convert(program: Any, inputs: list[Any], device: torch.device) -> bytes:
        seen["builds"].append((program, inputs))
        return b"an engine"

    modules = {
        "tensorrt": SimpleNamespace(
            __version__="10.15",
            Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
            Runtime=lambda logger: SimpleNamespace(
                deserialize_cuda_engine=lambda payload: Engine(artifact.onnx, seen["outputs"])
            ),
            TensorIOMode=SimpleNamespace(INPUT="in"),
        ),
        "torch_tensorrt": SimpleNamespace(
            __version__="2.11",
            Input=lambda **kwargs: kwargs,
            dynamo=SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert),
        ),
        "pycuda": ModuleType("pycuda"),
        "pycuda.driver": SimpleNamespace(get_driver_version=lambda: 13000),
    }
    modules["pycuda"].driver = modules["pycuda.driver"]  # type: ignore[union-attr]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    monkeypatch.setenv("RTAU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda place: None)
    return seen


def test_it_is_built_once_for_batches_of_any_size(
    artifact: Artifact, built: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        TensorRTModel(artifact, "cpu", 16)
    ((program, (image, points)),) = built["builds"]
    assert (image["min_shape"], image["max_shape"]) == ((1, 3, 8, 8), (16, 3, 8, 8))
    assert (image["dtype"], points["dtype"]) == (torch.float16, torch.float32)
    assert points["max_shape"] == (16, 4, 5)
    assert len(program.graph_signature.user_outputs) == 2
    said = capsys.readouterr().err
    assert said.count("this takes minutes") == 1
    TensorRTModel(artifact, "cpu", 32)
    assert len(built["builds"]) == 2


@pytest.mark.usefixtures("built")
def test_each_shape_runs_by_itself_on_the_tensors_it_is_given(artifact: Artifact) -> None:
    model = TensorRTModel(artifact, "cpu", 16)
    generator = torch.Generator().manual_seed(1)
    runs = {n: model.at({"image": (n, 3, 8, 8), "points": (n, 4, 5)}) for n in (1, 5)}
    for n in (5, 1, 5):
        image, points = (torch.randn((n, *shape), generator=generator) for shape in ((3, 8, 8), (4, 5)))
        out = runs[n]({"image": image.half(), "points": points})
        mean, total = OnnxNet(artifact.onnx)(image, points)
        torch.testing.assert_close(out["mean"], mean, atol=1e-2, rtol=0)
        torch.testing.assert_close(out["sum"], total)


def test_an_engine_that_mixes_its_outputs_up_is_refused(artifact: Artifact, built: dict[str, Any]) -> None:
    built["outputs"] = ("output1", "output0")
    with pytest.raises(ModelError, match="TensorRT's output mean is off by"):
        TensorRTModel(artifact, "cpu", 16)


@pytest.mark.usefixtures("built")
def test_the_detector_whose_input_follows_the_picture_stays_with_cuda(artifact: Artifact) -> None:
    assert isinstance(open_model(artifact, "cpu", 16), TensorRTModel)
    assert isinstance(open_model(load_artifact("default", "detector"), "cpu", 1), CudaModel)
