"""From a trained network to an artifact folder: model.onnx, card.yaml, and the proof that all engines agree."""

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from rtau.engines.onnx_torch import OnnxNet
from rtau.errors import ModelError
from rtau.models import Card, sha256

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)  # input normalisation of every model trained here
_TOLERANCE = 1e-3


def normalised(images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 as the networks take it."""
    shift, scale = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, std))
    return ((images.permute(0, 3, 1, 2).float() / 255) - shift) / scale


def when_and_where(minutes: float) -> str:
    """For the card: date, processor and wall time."""
    today = datetime.date.today().isoformat()
    return f"{today}, {os.cpu_count()} cores of {platform.machine()} CPU, {minutes:.0f} min"


def strip_traces(path: Path) -> None:
    """Take out what the exporter notes of the machine: source paths and stack traces of every node."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    onnx.save(model, path)


def write_artifact(
    folder: Path,
    model: nn.Module,
    example: dict[str, Tensor],
    dynamic: dict[str, dict[int, str]],
    card: Card,
    tolerance: float = _TOLERANCE,
) -> None:
    """Write model.onnx and card.yaml into `folder`.

    `example` holds one input by name, `dynamic` the free axes of each. Raises RuntimeError when the written file does
    not give what the network gives, within `tolerance`: on the CPU, and as GPUs read it where they know its operators
    (the engine says so where they do not).
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    model = model.eval()
    free = {name: {axis: torch.export.Dim(label) for axis, label in axes.items()} for name, axes in dynamic.items()}
    names = list(card.outputs)
    with torch.no_grad():
        program = torch.onnx.export(
            model, kwargs=example, input_names=list(example), output_names=names, dynamic_shapes=free, dynamo=True,
            verbose=False,
        )  # fmt: skip
        assert program is not None
        program.save(str(path), external_data=False)
        strip_traces(path)
        expected = model(**example)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(names, {name: value.numpy() for name, value in example.items()})
    answers = [dict(zip(names, given, strict=True)), *_on_gpus(path, example)]
    for name, ours in zip(names, expected, strict=True):
        worst = max(float(np.abs(ours.numpy() - answer[name]).max()) for answer in answers)
        if worst > tolerance:
            raise RuntimeError(f"{path}: output {name} differs from the network by {worst:.2g}")
    card = msgspec.structs.replace(card, sha256=sha256(path))
    (folder / "card.yaml").write_bytes(msgspec.yaml.encode(card))


def _on_gpus(path: Path, example: dict[str, Tensor]) -> list[dict[str, Any]]:
    """What GPU engines compute, by output; none where they do not know an operator."""
    try:
        net = OnnxNet(path)
    except ModelError:
        return []
    with torch.no_grad():
        values = net(*(example[name] for name in net.inputs))
    return [{name: value.numpy() for name, value in zip(net.outputs, values, strict=True)}]
