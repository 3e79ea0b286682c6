"""The CPU in the place of a GPU: crop.cu compiled by the C++ compiler, and a device that runs what is recorded."""

import contextlib
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

_THREADS = 256
ILLEGAL_ACCESS = "CUDA error: an illegal memory access was encountered\nFor debugging consider …"  # as PyTorch says it


@cache
def kernel() -> ctypes.CDLL:
    """crop.cu for this machine; skips the test where no compiler takes it."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: it compiles crop.cu for the CPU")
    shim = Path(__file__).parent / "shim"
    library = Path(tempfile.mkdtemp()) / "crop.so"
    command = [compiler, "-O2", "-shared", "-fPIC", f"-I{shim}", "-o", str(library), str(shim / "host.cpp")]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    shutil.rmtree(library.parent)
    return loaded


def run_kernel(faces: int, out: int, count: int, size: tuple[int, int]) -> None:
    """As the GPU would: addresses of (count,) FACE and of (count, 3, height, width) float16."""
    width, height = size
    blocks = -(-width * height // _THREADS)
    kernel().launch(blocks, count, _THREADS, ctypes.c_void_p(faces), ctypes.c_void_p(out), width, height)


def crops(faces: NDArray[np.void], size: tuple[int, int]) -> NDArray[np.float16]:
    """(F, 3, height, width) of faces whose planes lie at addresses of this process."""
    faces = np.ascontiguousarray(faces)
    out = np.full((len(faces), 3, size[1], size[0]), np.nan, np.float16)
    run_kernel(faces.ctypes.data, out.ctypes.data, len(faces), size)
    return out


class HostStream:
    def synchronize(self) -> None:
        pass


class HostDevice:
    """See rtau.gpu.lane.Device. `recorded` and `launched` count graphs.

    Graph number `fails_at` is not launched but fails; unless it `recovers`, everything fails from then on.
    """

    place, label = "cpu", "NVIDIA Host (cuda:0)"

    def __init__(self, fails_at: int | None = None, *, recovers: bool = False) -> None:
        self.recorded = self.launched = 0
        self._fails_at, self._recovers, self._failed = fails_at, recovers, False

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(shape), dtype=dtype)

    def stream(self) -> HostStream:
        return HostStream()

    def works(self) -> bool:
        return self._recovers or not self._failed

    @contextlib.contextmanager
    def on(self, stream: HostStream) -> Iterator[None]:
        if not self.works():
            raise RuntimeError(ILLEGAL_ACCESS)
        with torch.no_grad():
            yield

    def crop(self, faces: Tensor, image: Tensor, stream: HostStream) -> None:
        count, _, height, width = image.shape
        run_kernel(faces.data_ptr(), image.data_ptr(), count, (width, height))

    def record(self, work: Callable[[], Tensor], stream: HostStream) -> tuple[Callable[[], object], Tensor]:
        result = torch.full_like(work(), torch.nan)
        self.recorded += 1

        def launch() -> None:
            self.launched += 1
            if self.launched == self._fails_at:
                self._failed = True
                raise RuntimeError(ILLEGAL_ACCESS)
            result.copy_(work())

        return launch, result
