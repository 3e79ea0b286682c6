"""A fixed ring of picture slots in shared memory. Pixels stay here; only slot numbers travel."""

import contextlib
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import NamedTuple, Self


class RingAddress(NamedTuple):
    """What a process needs to attach to the ring."""

    name: str
    slots: int
    slot_bytes: int


class Ring:
    """Slots of equal size. The creator removes the memory; others only detach."""

    def __init__(self, memory: SharedMemory, address: RingAddress, *, owner: bool) -> None:
        self._memory, self.address, self._owner = memory, address, owner

    @classmethod
    def create(cls, slots: int, slot_bytes: int) -> Self:
        """Allocate the ring. Raises OSError when shared memory is full."""
        memory = SharedMemory(create=True, size=slots * slot_bytes)
        return cls(memory, RingAddress(memory.name, slots, slot_bytes), owner=True)

    @classmethod
    def attach(cls, address: RingAddress) -> Self:
        """Open the ring of another process."""
        return cls(SharedMemory(address.name), address, owner=False)

    def slot(self, number: int) -> memoryview:
        """The bytes of one slot. Whoever holds the number may touch them."""
        start = number * self.address.slot_bytes
        assert self._memory.buf is not None  # only after close
        return self._memory.buf[start : start + self.address.slot_bytes]

    def close(self) -> None:
        """Detach; the owner also removes the memory. Views handed out must not be used any more."""
        with contextlib.suppress(BufferError):  # a view is still alive; the mapping goes with the process
            self._memory.close()
        if self._owner:
            self._memory.unlink()
            self._owner = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
