"""One batch on its way through the GPU: upload, crop kernel, network, download, all on one stream.

The network and the kernel are recorded once a batch size as a CUDA graph and launched as one. `Device` is what all of
that needs of CUDA; tests put the CPU in its place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rtau.engines import Arrays
from rtau.errors import LostDeviceError
from rtau.gpu.views import FACE, Packed, bucket_of

Tensors = dict[str, Tensor]
Network = Callable[[Tensors], Tensors]  # enqueues its work on the current stream


class Model(Protocol):
    """Weights on a device."""

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        """The network for inputs of these shapes; `image` is float16, the others are float32."""


class Stream(Protocol):
    """Work in order."""

    def synchronize(self) -> None:
        """Wait for all of it."""


class Device(Protocol):
    """What a lane needs of a GPU."""

    place: str  # as PyTorch names it
    label: str  # for people

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Zeros in memory of this side that the GPU can copy from and to without help."""

    def stream(self) -> Stream: ...

    def on(self, stream: Any) -> AbstractContextManager[object]:
        """PyTorch's work goes to `stream`, without gradients."""

    def crop(self, faces: Tensor, image: Tensor, stream: Any) -> None:
        """Run crop.cu: faces (N * 152,) uint8 -> image (N, 3, H, W) float16."""

    def record(self, work: Callable[[], Tensor], stream: Any) -> tuple[Callable[[], object], Tensor]:
        """Record `work` as one graph: the function that launches it, and the tensor it leaves its result in.

        Where that fails, the graphs recorded on this stream before cannot be launched any more.
        """

    def works(self) -> bool:
        """Wait for everything; False when nothing runs in this process any more, as after an illegal access."""


class _Graph(NamedTuple):
    work: Callable[[], Tensor]  # owns the memory whose addresses the graph was recorded with
    launch: Callable[[], object]
    result: Tensor  # (bucket, sum of output sizes) on the device
    host: Tensor  # the same, pinned
    outputs: dict[str, tuple[int, ...]]  # shape of one sample by name, in the order of the result's columns


class Lane:
    """Buffers and graphs for batches of up to `max_batch` crops; one batch at a time."""

    def __init__(self, device: Device, model: Model, max_batch: int) -> None:
        self._device, self._model, self._max_batch = device, model, max_batch
        self._stream = device.stream()
        with self._working():
            self._faces = self._pair((max_batch * FACE.itemsize,), torch.uint8)
            self._pixels = self._pair((1 << 20,), torch.uint8)
        self._others: dict[str, tuple[Tensor, Tensor]] = {}
        self._graphs: dict[tuple[int, tuple[int, int]], _Graph] = {}
        self._flying: tuple[_Graph, int] | None = None

    def start(self, packed: Packed, size: tuple[int, int], others: Arrays) -> None:
        """Send a batch of crops of `size` (width, height), and the model's other inputs, on its way."""
        assert self._flying is None
        count = len(packed.faces)
        bucket = bucket_of(count, self._max_batch)
        with self._working():
            self._upload(packed, bucket, others)
            if (bucket, size) not in self._graphs:
                try:
                    self._graphs[bucket, size] = self._record(bucket, size)
                except Exception:
                    self._graphs.clear()  # they share memory with the one that failed (CudaDevice.record)
                    raise
            graph = self._graphs[bucket, size]
            graph.launch()
            graph.host.copy_(graph.result, non_blocking=True)
        self._flying = graph, count

    def finish(self) -> Arrays:
        """Wait for the batch; copies that the caller owns, first axis the crops."""
        assert self._flying is not None
        (graph, count), self._flying = self._flying, None
        with self._working():
            self._stream.synchronize()
        rows, start, arrays = graph.host.numpy()[:count], 0, {}
        for name, shape in graph.outputs.items():
            end = start + int(np.prod(shape, dtype=int))
            arrays[name] = rows[:, start:end].copy().reshape(count, *shape)
            start = end
        return arrays

    @contextmanager
    def _working(self) -> Iterator[None]:
        """On the lane's stream. Raises LostDeviceError after an error that the device does not recover from."""
        try:
            with self._device.on(self._stream):
                yield
        except Exception as error:
            if self._device.works():
                raise
            reason = str(error).partition("\n")[0]
            raise LostDeviceError(
                f"{self._device.label} failed ({reason}) and can be used again by a new process only; "
                "if this comes back, look for Xid in the kernel's log, or use --device cpu"
            ) from error

    def _pair(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Memory on this side, and its counterpart on the device."""
        return self._device.pinned(shape, dtype), torch.empty(shape, dtype=dtype, device=self._device.place)

    def _upload(self, packed: Packed, bucket: int, others: Arrays) -> None:
        if packed.nbytes > self._pixels[0].numel():
            self._pixels = self._pair((2 * packed.nbytes,), torch.uint8)  # graphs know it only through the faces
        host, there = self._pixels
        packed.write(host.numpy())
        there[: packed.nbytes].copy_(host[: packed.nbytes], non_blocking=True)
        host, faces_there = self._faces
        faces = host.numpy().view(FACE)
        faces[: len(packed.faces)] = packed.placed(there.data_ptr())
        faces[len(packed.faces) : bucket] = np.zeros((), FACE)  # nothing to look at
        used = bucket * FACE.itemsize
        faces_there[:used].copy_(host[:used], non_blocking=True)
        for name, values in others.items():
            if name not in self._others:
                self._others[name] = self._pair((self._max_batch, *values.shape[1:]), torch.float32)
            host, there = self._others[name]
            host.numpy()[: len(values)] = values
            there[:bucket].copy_(host[:bucket], non_blocking=True)

    def _record(self, bucket: int, size: tuple[int, int]) -> _Graph:
        image = torch.empty((bucket, 3, size[1], size[0]), dtype=torch.float16, device=self._device.place)
        inputs = {"image": image, **{name: there[:bucket] for name, (_, there) in self._others.items()}}
        network = self._model.at({name: tuple(value.shape) for name, value in inputs.items()})
        shapes: dict[str, tuple[int, ...]] = {}
        device, stream, faces = self._device, self._stream, self._faces[1]

        def work() -> Tensor:  # knows no lane: in a cycle, graphs would end whenever, also while others are recorded
            device.crop(faces, image, stream)
            outputs = network(inputs)
            shapes.update((name, tuple(value.shape[1:])) for name, value in outputs.items())
            return torch.cat([value.reshape(bucket, -1).float() for value in outputs.values()], dim=1)

        launch, result = device.record(work, stream)
        return _Graph(work, launch, result, device.pinned(tuple(result.shape), torch.float32), shapes)
