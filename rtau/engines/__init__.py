"""Inference engines: one interface, one file an engine."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtau.config import PipelineConfig
from rtau.errors import DeviceError
from rtau.models import Artifact

Arrays = dict[str, NDArray[np.float32]]


class Engine(Protocol):
    """A loaded model: named float32 arrays in, named float32 arrays out, first axis is the batch."""

    def __call__(self, inputs: Arrays) -> Arrays: ...


def engine_name(device: str) -> str:
    """The engine that `device` (`auto`, `cpu`, `cuda`) stands for. Raises DeviceError when there is none."""
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device {device}: this version of rtau computes on the CPU; use --device cpu")
    return "openvino-cpu"


def open_engine(artifact: Artifact, config: PipelineConfig) -> Engine:
    """Load a checked artifact on the configured device."""
    engine_name(config.device)
    from rtau.engines.openvino import OpenVINOEngine  # half a second: only where a model is run

    return OpenVINOEngine(artifact)
