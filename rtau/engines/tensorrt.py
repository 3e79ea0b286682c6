"""The engine `tensorrt`: the module of engine `cuda` through torch-tensorrt, built once, kept as TensorRT's own bytes.

The types are those of the module: convolutions in float16, the rest in float32.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rtau.engines.cuda import CudaModel
from rtau.engines.onnx_torch import OnnxNet
from rtau.engines.store import kept
from rtau.errors import ModelError
from rtau.models import Artifact

_TOLERANCE = 0.02  # of the largest value of an output: what float16 may cost, and no mix-up of outputs passes
_CHECKED = 4  # samples


class TensorRTModel:
    """An engine for batches of 1 to `max_batch` inputs of fixed size. Raises ModelError when it computes wrong."""

    def __init__(self, artifact: Artifact, place: str, max_batch: int) -> None:
        import tensorrt
        import torch_tensorrt

        self._trt, self._place = tensorrt, place
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._runtime = tensorrt.Runtime(self._logger)
        self._net = OnnxNet(artifact.onnx, half=True).to(place).eval()
        max_batch = max(max_batch, 2)  # torch.export takes a batch that is always 1 for a constant
        made_for = {
            "weights": artifact.card.sha256,
            "gpu": torch.cuda.get_device_name(place),
            "capability": str(torch.cuda.get_device_capability(place)),
            "driver": _driver_version(),
            "tensorrt": tensorrt.__version__,
            "torch_tensorrt": torch_tensorrt.__version__,
            "torch": str(torch.__version__),
            "max_batch": str(max_batch),
        }
        self._engine = kept(artifact.label, made_for, lambda: self._build(max_batch), self._load, _say)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = [self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names]
        self._inputs = [name for name, given in zip(names, is_input, strict=True) if given]
        self._outputs = [name for name, given in zip(names, is_input, strict=True) if not given]
        self._check(artifact, min(_CHECKED, max_batch))

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """Each shape has a context of its own, as a recorded graph needs it."""
        context = self._engine.create_execution_context()
        outputs: dict[str, Tensor] = {}
        for ours, theirs in zip(self._net.inputs, self._inputs, strict=True):
            context.set_input_shape(theirs, shapes[ours])
        for ours, theirs in zip(self._net.outputs, self._outputs, strict=True):
            shape = tuple(context.get_tensor_shape(theirs))
            outputs[ours] = torch.empty(shape, dtype=torch.float32, device=self._place)
            context.set_tensor_address(theirs, outputs[ours].data_ptr())

        def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            for ours, theirs in zip(self._net.inputs, self._inputs, strict=True):
                context.set_tensor_address(theirs, inputs[ours].data_ptr())
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise RuntimeError("TensorRT could not enqueue the network")
            return outputs

        return run

    def _build(self, max_batch: int) -> bytes:
        import torch_tensorrt

        types = [torch.float16 if name == "image" else torch.float32 for name in self._net.inputs]
        example = tuple(
            torch.zeros((2, *shape), dtype=dtype, device=self._place)
            for shape, dtype in zip(self._net.shapes, types, strict=True)
        )
        batch = torch.export.Dim("batch", min=1, max=max_batch)
        program = torch.export.export(self._net, example, dynamic_shapes=(tuple({0: batch} for _ in example),))
        specified = [
            torch_tensorrt.Input(
                min_shape=(1, *shape), opt_shape=(max_batch, *shape), max_shape=(max_batch, *shape), dtype=dtype
            )
            for shape, dtype in zip(self._net.shapes, types, strict=True)
        ]
        convert = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine
        return bytes(convert(program, inputs=specified, device=torch.device(self._place)))

    def _load(self, payload: bytes) -> Any | None:
        return self._runtime.deserialize_cuda_engine(payload)

    def _check(self, artifact: Artifact, count: int) -> None:
        """On a random batch the engine must give what the module gives."""
        generator = torch.Generator(self._place).manual_seed(0)
        inputs = {
            name: torch.randn((count, *shape), device=self._place, generator=generator)
            for name, shape in zip(self._net.inputs, self._net.shapes, strict=True)
        }
        inputs["image"] = inputs["image"].half()
        run = self.at({name: tuple(value.shape) for name, value in inputs.items()})
        theirs = {name: value.clone() for name, value in run(inputs).items()}
        with torch.no_grad():
            ours = dict(zip(self._net.outputs, self._net(*(inputs[name] for name in self._net.inputs)), strict=True))
        torch.cuda.synchronize(self._place)
        for name, value in ours.items():
            wrong = float((value - theirs[name]).abs().max() / value.abs().max().clamp(min=1e-6))
            if not wrong < _TOLERANCE:
                raise ModelError(f"{artifact.folder}: TensorRT's output {name} is off by {wrong:.2g} of its range")


def open_model(artifact: Artifact, place: str, max_batch: int) -> CudaModel | TensorRTModel:
    """TensorRT where the inputs have one size; the detector, whose input follows the picture, stays with `cuda`."""
    model = CudaModel(artifact, place)
    return TensorRTModel(artifact, place, max_batch) if all(map(all, model.net.shapes)) else model


def _driver_version() -> str:
    import pycuda.driver

    return str(pycuda.driver.get_driver_version())


def _say(line: str) -> None:
    """A process of the pipeline has no other way to say that it is busy for minutes."""
    print(f"rtau: {line}", file=sys.stderr, flush=True)
