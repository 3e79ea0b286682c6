"""Models on crops of pictures: what detector, landmarks and AU encoder run on, on any device."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rtau.config import PipelineConfig
from rtau.crop import CropBuffer, View, crop, shrink
from rtau.engines import Arrays, choose
from rtau.models import Artifact, Card
from rtau.structures import Float32, Picture


class Network(Protocol):
    """A loaded artifact. Outputs by name, float32, owned by the caller."""

    card: Card
    sizes: tuple[int, ...]  # numbers of crops to run once before it matters

    def faces(self, views: Sequence[View], **others: Float32) -> Arrays:
        """Run on all crops of the views, one or more, in their order; `others` are further inputs, a row a crop."""

    def picture(self, picture: Picture, size: tuple[int, int], canvas: tuple[int, int]) -> Arrays:
        """Run on the whole picture at `size` (width, height) in the top left corner of a mid-grey `canvas`."""


class CPUNetwork:
    """The numba kernel, then OpenVINO."""

    sizes: tuple[int, ...] = (1,)

    def __init__(self, artifact: Artifact, max_batch: int) -> None:
        from rtau.engines.openvino import OpenVINOEngine  # half a second: only where a model is run

        self.card, self._max_batch = artifact.card, max_batch
        self._engine = OpenVINOEngine(artifact)
        self._crops = CropBuffer(self.card.input_size)

    def faces(self, views: Sequence[View], **others: Float32) -> Arrays:
        side, start = self.card.input_size, 0
        crops = self._crops.take(sum(len(view.transforms) for view in views))
        for picture, transforms in views:
            end = start + len(transforms)
            crop(picture, transforms, (side, side), self.card.mean, self.card.std, crops[start:end])
            start = end
        inputs = {"image": crops, **others}
        results = [
            self._engine({name: values[i : i + self._max_batch] for name, values in inputs.items()})
            for i in range(0, start, self._max_batch)
        ]
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    def picture(self, picture: Picture, size: tuple[int, int], canvas: tuple[int, int]) -> Arrays:
        return self._engine({"image": shrink(picture, size, canvas, self.card.mean, self.card.std)})


def open_network(artifact: Artifact, config: PipelineConfig, max_batch: int) -> Network:
    """Load a checked artifact on the configured device; at most `max_batch` crops go through it at once."""
    choice = choose(config.device)
    if choice.engine == "openvino":
        return CPUNetwork(artifact, max_batch)
    from rtau.gpu.device import cuda_device  # PyTorch and PyCUDA: only where there is a GPU
    from rtau.gpu.lane import Lane, Model
    from rtau.gpu.network import GPUNetwork

    device = cuda_device(choice.gpu)
    model: Model
    if choice.engine == "tensorrt":
        from rtau.engines.tensorrt import open_model

        model = open_model(artifact, device.place, max_batch)
    else:
        from rtau.engines.cuda import CudaModel

        model = CudaModel(artifact, device.place)
    return GPUNetwork(artifact.card, [Lane(device, model, max_batch) for _ in range(2)], max_batch)
