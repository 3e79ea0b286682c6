"""The CPU engine: OpenVINO, one thread a process, any batch size."""

import openvino as ov

from rtau.engines import Arrays
from rtau.errors import ModelError
from rtau.models import Artifact

_core: ov.Core | None = None

# One thread a process, free to move: by default every one-thread process is pinned onto the same CPU.
_PROPERTIES = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
    "INFERENCE_PRECISION_HINT": "f32",
}


class OpenVINOEngine:
    """A compiled model. Results of one sample do not depend on its batch beyond rounding (about 1e-6)."""

    def __init__(self, artifact: Artifact) -> None:
        global _core
        _core = _core or ov.Core()
        try:
            self._model = _core.compile_model(str(artifact.onnx), "CPU", _PROPERTIES)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"{artifact.onnx}: OpenVINO cannot load it: {reason}") from error
        self._request = self._model.create_infer_request()
        self._names = [output.get_any_name() for output in self._model.outputs]

    def __call__(self, inputs: Arrays) -> Arrays:
        """Inputs by name, C-contiguous float32; the outputs are copies that the caller owns."""
        self._request.infer(inputs, share_inputs=True)
        return {name: self._request.get_tensor(name).data.copy() for name in self._names}
