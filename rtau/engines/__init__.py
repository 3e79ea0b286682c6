"""Inference engines, one file each, and which of them a device name stands for."""

from functools import cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rtau.config import PipelineConfig
from rtau.engines import probe
from rtau.errors import DeviceError
from rtau.models import Artifact

Arrays = dict[str, NDArray[np.float32]]


class Engine(Protocol):
    """A loaded model: named float32 arrays in, named float32 arrays out, first axis is the batch."""

    def __call__(self, inputs: Arrays) -> Arrays: ...


class Choice(NamedTuple):
    """What runs."""

    engine: Literal["openvino", "cuda", "tensorrt"]
    gpu: int  # its number
    label: str  # as printed and published


@cache
def choose(device: str) -> Choice:
    """The engine for `auto`, `cpu`, `cuda` or `cuda:N`; on a GPU it is TensorRT where that is installed.

    `auto` takes the first GPU when all that an engine needs is there, and the CPU otherwise; where a GPU is left idle
    the label says what is missing. Raises DeviceError when a device that was asked for cannot be used.
    """
    cpu = Choice("openvino", 0, "openvino-cpu")
    if device == "cpu":
        return cpu
    asked, gpu = device != "auto", int(device.partition(":")[2] or 0)
    gpus = probe.gpus()
    if not gpus and not asked:
        return cpu
    if gpu >= len(gpus):
        found = ", ".join(f"cuda:{i} {name}" for i, name in enumerate(gpus)) or "no NVIDIA GPU with its driver"
        raise DeviceError(f"device {device}: this machine has {found}; use --device cpu")
    missing = probe.missing_for_cuda()
    if missing and asked:
        raise DeviceError(f"device {device}: {gpus[gpu]} is here, but {missing}")
    if missing:
        return cpu._replace(label=f"openvino-cpu ({gpus[gpu]} is not used: {missing})")
    where = f"{gpus[gpu]} (cuda:{gpu})"
    missing = probe.missing_for_tensorrt()
    if missing:
        return Choice("cuda", gpu, f"cuda-fp16 on {where}; without TensorRT: {missing}")
    return Choice("tensorrt", gpu, f"tensorrt-fp16 on {where}")


def open_engine(artifact: Artifact, config: PipelineConfig) -> Engine:
    """Load a checked artifact on the CPU, for arrays of any origin; crops of pictures go through `rtau.networks`."""
    choose(config.device)
    from rtau.engines.openvino import OpenVINOEngine  # half a second: only where a model is run

    return OpenVINOEngine(artifact)
