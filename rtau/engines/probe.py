"""What this machine has for computing on a GPU; nothing is loaded before there is a GPU with its driver."""

import ctypes
import shutil
import sys
from functools import cache
from importlib.util import find_spec

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NAME_BYTES = 256


@cache
def gpus() -> tuple[str, ...]:
    """The names of the NVIDIA GPUs that the driver shows, in CUDA's order."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    names = []
    for index in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, _NAME_BYTES, device)
        names.append(name.value.decode())
    return tuple(names)


def missing_for_cuda() -> str:
    """What the engine `cuda` lacks, with the cure; empty when nothing is missing."""
    for module in ("torch", "onnx", "pycuda"):
        if find_spec(module) is None:
            return f"the package {module} is missing; pip install 'rtau[cuda]' (docs/gpu.md)"
    if shutil.which("nvcc") is None:
        return "nvcc, which compiles the crop kernel, is not on the PATH; install the CUDA toolkit (docs/gpu.md)"
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} cannot use it; install a PyTorch built for its CUDA version (docs/gpu.md)"
    try:
        import pycuda.driver  # noqa: F401
    except ImportError as error:
        return f"PyCUDA cannot be loaded ({error}); build it beside the CUDA toolkit that is here (docs/gpu.md)"
    return ""


def missing_for_tensorrt() -> str:
    """What the engine `tensorrt` lacks beyond that, with the cure; empty when nothing is missing."""
    for module in ("tensorrt", "torch_tensorrt"):
        if find_spec(module) is None:
            return f"the package {module} is missing; pip install 'rtau[tensorrt]'"
    return ""
