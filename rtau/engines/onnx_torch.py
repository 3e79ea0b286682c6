"""model.onnx as a PyTorch module: what the GPU engines run, made from the one file that an artifact has.

An artifact does not hold the weights a second time as a `torch.export` archive: loading one unpickles, and the wheel
would double. The networks of rtau and of the papers use few operators; each is one line here. Batch stays free.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from rtau.errors import ModelError

Value = Any  # Tensor, or what ONNX computes from whole numbers: int, list[int]
_DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


class OnnxNet(nn.Module):
    """The graph of an ONNX file; tensors in and out in the order of `inputs` and `outputs`.

    With `half` the convolutions, nearly all of the work, compute in float16 and everything else in float32: landmarks
    in pixels are too coarse in float16. Raises ModelError naming the operator that it does not know.
    """

    def __init__(self, path: Path, *, half: bool = False) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
        indices = {node.input[1] for node in graph.node if node.op_type in ("Gather", "GatherND")}
        known: dict[str, Value] = {}  # what does not depend on the inputs
        for i, tensor in enumerate(graph.initializer):
            array = numpy_helper.to_array(tensor)
            kept = tensor.name in indices and array.ndim > 0  # on the device: a recorded graph copies no lists there
            if (array.dtype.kind == "i" and not kept) or tensor.name in scales:
                known[tensor.name] = array.tolist()
            else:
                self.register_buffer(f"weight_{i}", torch.from_numpy(array.copy()))
                known[tensor.name] = f"weight_{i}"
        self._known = known
        self._steps: list[tuple[Callable[..., Value], tuple[str, ...], tuple[str, ...]]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            try:
                run = _OPERATORS[node.op_type](attributes)
            except (KeyError, ValueError) as error:
                raise ModelError(
                    f"{path}: GPU engines do not know its operator {node.op_type} ({error}); use --device cpu"
                ) from error
            self._steps.append((run, tuple(node.input), tuple(node.output)))
            if half and node.op_type == "Conv":
                for name in node.input[1:]:
                    weight = getattr(self, known[name])
                    setattr(self, known[name], weight.half().contiguous(memory_format=_format_of(weight)))
        self.inputs = [value.name for value in graph.input]
        self.shapes = [  # of one sample of each input; 0 where an axis is free
            tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]) for value in graph.input
        ]
        self.outputs = [value.name for value in graph.output]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Value] = dict(zip(self.inputs, inputs, strict=True))
        for name, value in self._known.items():
            values[name] = getattr(self, value) if isinstance(value, str) else value
        for run, sources, targets in self._steps:
            results = run(*(values[name] if name else None for name in sources))
            values.update(zip(targets, results if isinstance(results, tuple) else (results,), strict=False))
        return tuple(values[name].float() for name in self.outputs)


def _format_of(weight: Tensor) -> torch.memory_format:
    return torch.channels_last if weight.dim() == 4 else torch.contiguous_format


# Each line: attributes -> function of the inputs. Convolution follows the type of its weights, ReLU, Add and Resize
# that of their inputs, everything else is computed in float32.
_Maker = Callable[[dict[str, Any]], Callable[..., Value]]


def _float(value: Value) -> Value:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _plain(function: Callable[..., Value]) -> _Maker:
    return lambda attributes: lambda *values: function(*map(_float, values))


def _conv(a: dict[str, Any]) -> Callable[..., Tensor]:
    pads = a.get("pads", [0, 0, 0, 0])
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:2] != pads[2:]:
        raise ValueError("uneven padding")

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x = x.to(weight.dtype)
        return F.conv2d(x, weight, bias, a.get("strides", 1), pads[:2], a.get("dilations", 1), a.get("group", 1))

    return run


def _max_pool(a: dict[str, Any]) -> Callable[..., Tensor]:
    pads = a.get("pads", [0, 0, 0, 0])
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:2] != pads[2:]:
        raise ValueError("uneven padding")
    strides, dilations, ceil = a.get("strides", 1), a.get("dilations", 1), bool(a.get("ceil_mode", 0))
    return lambda x: F.max_pool2d(x, a["kernel_shape"], strides, pads[:2], dilations, ceil)


def _pad(a: dict[str, Any]) -> Callable[..., Tensor]:
    if a.get("mode", b"constant") != b"constant":
        raise ValueError("other than with zeros")

    def run(x: Tensor, pads: list[int]) -> Tensor:
        ends = zip(pads[: x.dim()], pads[x.dim() :], strict=True)  # of the first axis first; PyTorch begins at the last
        return F.pad(x, [pad for axis in reversed(list(ends)) for pad in axis])

    return run


def _layer_norm(a: dict[str, Any]) -> Callable[..., Tensor]:
    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.layer_norm(_float(x), scale.shape, scale, bias, a.get("epsilon", 1e-5))

    return run


def _gelu(a: dict[str, Any]) -> Callable[..., Tensor]:
    approximate = a.get("approximate", b"none").decode()
    return lambda x: F.gelu(_float(x), approximate=approximate)


def _gemm(a: dict[str, Any]) -> Callable[..., Tensor]:
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise ValueError("a scaled or transposed product")

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(_float(x), weight if a.get("transB", 0) else weight.T, bias)

    return run


def _batch_norm(a: dict[str, Any]) -> Callable[..., Tensor]:
    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(_float(x), mean, variance, scale, bias, training=False, eps=a.get("epsilon", 1e-5))

    return run


def _resize(a: dict[str, Any]) -> Callable[..., Tensor]:
    if (a["mode"], a["coordinate_transformation_mode"], a["nearest_mode"]) != (b"nearest", b"asymmetric", b"floor"):
        raise ValueError("other than the repetition of pixels")

    def run(x: Tensor, region: None, scales: list[float]) -> Tensor:
        return F.interpolate(x, scale_factor=scales[2:], mode="nearest")

    return run


def _concat(a: dict[str, Any]) -> Callable[..., Value]:
    def run(*values: Value) -> Value:
        if isinstance(values[0], list):  # of shapes
            return [number for value in values for number in value]
        return torch.cat([_float(value) for value in values], dim=a["axis"])

    return run


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> _Maker:
    return lambda a: lambda x, axes: function(_float(x), axes, bool(a.get("keepdims", 1)))


def _gather(a: dict[str, Any]) -> Callable[..., Tensor]:
    def run(x: Tensor, index: int | Tensor) -> Tensor:
        axis = a.get("axis", 0)
        return x.select(axis, index) if isinstance(index, int) else x.index_select(axis, index)

    return run


def _gather_nd(a: dict[str, Any]) -> Callable[..., Tensor]:
    if a.get("batch_dims", 0):
        raise ValueError("indices of each sample")
    return lambda x, index: x[index.unbind(-1)]


def _einsum(a: dict[str, Any]) -> Callable[..., Tensor]:
    return lambda *values: torch.einsum(a["equation"].decode(), *map(_float, values))


def _grid_sample(a: dict[str, Any]) -> Callable[..., Tensor]:
    if a.get("mode", b"linear") != b"linear":
        raise ValueError("other than linear sampling")
    padding, corners = a.get("padding_mode", b"zeros").decode(), bool(a.get("align_corners", 0))
    return lambda x, grid: F.grid_sample(_float(x), _float(grid), "bilinear", padding, corners)


def _slice(
    x: Value, starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> Value:
    if isinstance(x, list):  # of a shape
        return x[starts[0] : ends[0] : steps[0] if steps else 1]
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        x = x.movedim(axis, 0)[start : end if end < 2**31 else None : step].movedim(0, axis)
    return x


def _expand(x: Tensor, shape: list[int]) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, shape))  # type: ignore[no-untyped-call]


def _squeeze(x: Tensor, axes: list[int]) -> Tensor:
    return x.squeeze(tuple(axes))


def _unsqueeze(x: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


_OPERATORS: dict[str, _Maker] = {
    "Add": lambda a: lambda x, y: x + y,
    "BatchNormalization": _batch_norm,
    "Cast": lambda a: lambda x: x.to(_DTYPES[a["to"]]),
    "Clip": _plain(_clip),
    "Concat": _concat,
    "Conv": _conv,
    "Div": _plain(lambda x, y: x / y),
    "Einsum": _einsum,
    "Exp": _plain(torch.exp),
    "Expand": _plain(_expand),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "Gelu": _gelu,
    "GreaterOrEqual": _plain(lambda x, y: x >= y),
    "GridSample": _grid_sample,
    "Identity": lambda a: lambda x: x,
    "LayerNormalization": _layer_norm,
    "MatMul": _plain(torch.matmul),
    "Max": _plain(torch.maximum),
    "MaxPool": _max_pool,
    "Mul": _plain(lambda x, y: x * y),
    "Not": lambda a: torch.logical_not,
    "Pad": _pad,
    "Pow": _plain(lambda x, y: x**y),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": lambda a: torch.relu,
    "Reshape": lambda a: lambda x, shape: x.reshape(shape),
    "Resize": _resize,
    "Shape": lambda a: lambda x: list(x.shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": lambda a: _slice,
    "Softmax": lambda a: lambda x: _float(x).softmax(a.get("axis", -1)),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": lambda a: _squeeze,
    "Sub": _plain(lambda x, y: x - y),
    "TopK": lambda a: lambda x, k: tuple(torch.topk(_float(x), k[0], a.get("axis", -1))),
    "Transpose": lambda a: lambda x: x.permute(a["perm"]),
    "Unsqueeze": lambda a: _unsqueeze,
    "Where": _plain(torch.where),
}
