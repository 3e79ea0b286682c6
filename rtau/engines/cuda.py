"""The engine `cuda`: an artifact as PyTorch module, convolutions in float16. `rtau.gpu.lane` records it as graphs."""

from collections.abc import Callable

import torch
from torch import Tensor

from rtau.engines.onnx_torch import OnnxNet
from rtau.models import Artifact


class CudaModel:
    """A module on a device, the same for inputs of any shape."""

    def __init__(self, artifact: Artifact, place: str, *, half: bool = True) -> None:
        self.net = OnnxNet(artifact.onnx, half=half).to(place).eval()

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        return self._run

    def _run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = self.net(*(inputs[name] for name in self.net.inputs))
        return dict(zip(self.net.outputs, outputs, strict=True))
