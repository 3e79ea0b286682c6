"""An NVIDIA GPU as `rtau.gpu.lane` needs it: PyTorch and PyCUDA in one context, on the same streams and memory."""

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: nothing on the default stream can break into a recording
_THREADS = 256  # of a block of the crop kernel
_WARM_UPS = 3  # before recording: the libraries choose their kernels and take their workspace


class CudaStream:
    """One stream of PyCUDA, which PyTorch uses too, and the memory that its graphs share."""

    def __init__(self, index: int) -> None:
        import pycuda.driver

        self.pycuda = pycuda.driver.Stream(_NON_BLOCKING)
        self.torch = torch.cuda.ExternalStream(self.pycuda.handle, device=index)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def synchronize(self) -> None:
        self.torch.synchronize()


class CudaDevice:
    """GPU number `index`. PyCUDA enters the primary context, the one that PyTorch works in."""

    def __init__(self, index: int) -> None:
        import pycuda.driver
        from pycuda.compiler import SourceModule

        self.index, self.place = index, f"cuda:{index}"
        torch.cuda.set_device(index)
        self.label = f"{torch.cuda.get_device_name(index)} (cuda:{index})"
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32: what is not convolution is little and needs no more
        pycuda.driver.init()
        context = pycuda.driver.Device(index).retain_primary_context()
        context.push()
        atexit.register(context.pop)  # PyCUDA aborts the process when it ends inside a context
        source = (files("rtau") / "gpu" / "crop.cu").read_text()
        self._module = SourceModule(source, no_extern_c=True)
        self._crop = self._module.get_function("crop")
        self._streams: list[CudaStream] = []  # for good: PyTorch asks a stream when memory that it used is given back

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(tuple(shape), dtype=dtype, pin_memory=True)

    def stream(self) -> CudaStream:
        self._streams.append(CudaStream(self.index))
        return self._streams[-1]

    @contextmanager
    def on(self, stream: CudaStream) -> Iterator[None]:
        with torch.no_grad(), torch.cuda.stream(stream.torch):
            yield

    def crop(self, faces: Tensor, image: Tensor, stream: CudaStream) -> None:
        count, _, height, width = image.shape
        self._crop(
            faces, image, np.int32(width), np.int32(height),
            grid=(-(-height * width // _THREADS), count), block=(_THREADS, 1, 1), stream=stream.pycuda,
        )  # fmt: skip

    def record(self, work: Callable[[], Tensor], stream: CudaStream) -> tuple[Callable[[], object], Tensor]:
        for _ in range(_WARM_UPS):
            work()
        graph = torch.cuda.CUDAGraph()
        # relaxed: what PyCUDA calls beside the launch, and what Python frees meanwhile, does not spoil the recording
        try:
            with torch.cuda.graph(graph, stream.pool, stream.torch, capture_error_mode="relaxed"):
                result = work()
        except BaseException:
            # PyTorch frees the stream's cuBLAS workspace, in which its other graphs compute, with whichever graph ends
            # first: now, so that this one does not take that of later ones when somebody lets go of the error.
            graph.reset()
            raise
        return graph.replay, result

    def works(self) -> bool:
        try:
            torch.cuda.synchronize(self.index)  # an error that has broken the context is told again by every call
        except Exception:
            return False
        return True


@cache
def cuda_device(index: int) -> CudaDevice:
    """The GPU, once a process."""
    return CudaDevice(index)
