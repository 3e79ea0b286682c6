"""A model on crops of pictures, on a GPU: two batches on their way at once."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from rtau.crop import View
from rtau.engines import Arrays
from rtau.gpu.views import Packed, bucket_of, pack
from rtau.models import Card
from rtau.structures import Picture


class Flight(Protocol):
    """A lane (rtau.gpu.lane)."""

    def start(self, packed: Packed, size: tuple[int, int], others: Arrays) -> None: ...

    def finish(self) -> Arrays: ...


class GPUNetwork:
    """See rtau.networks.Network. While a batch computes, the next one is packed and uploaded on another lane."""

    def __init__(self, card: Card, lanes: Sequence[Flight], max_batch: int) -> None:
        self.card, self._lanes, self._max_batch = card, lanes, max_batch
        buckets = sorted({bucket_of(count, max_batch) for count in range(1, max_batch + 1)})
        self.sizes = (*buckets, *(max_batch + bucket for bucket in buckets))  # every lane records every bucket

    def faces(self, views: Sequence[View], **others: np.ndarray) -> Arrays:
        side = self.card.input_size
        return self._run(views, (side, side), others)

    def picture(self, picture: Picture, size: tuple[int, int], canvas: tuple[int, int]) -> Arrays:
        scale = picture.format.width / size[0], picture.format.height / size[1]
        whole = np.array([[[scale[0], 0.0, 0.0], [0.0, scale[1], 0.0]]])
        return self._run([View(picture, whole)], canvas, {})

    def _run(self, views: Sequence[View], size: tuple[int, int], others: Arrays) -> Arrays:
        flying: deque[Flight] = deque()
        results: list[Arrays] = []
        done = 0
        try:
            for i, batch in enumerate(batches(views, self._max_batch)):
                if len(flying) == len(self._lanes):
                    results.append(flying.popleft().finish())
                packed = pack(batch, size, self.card.mean, self.card.std)
                end = done + len(packed.faces)
                lane = self._lanes[i % len(self._lanes)]
                lane.start(packed, size, {name: values[done:end] for name, values in others.items()})
                flying.append(lane)
                done = end
        finally:
            results += [lane.finish() for lane in flying]  # also after an error: their memory is being written
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def batches(views: Sequence[View], most: int) -> Iterator[list[View]]:
    """The crops in their order, `most` at a time."""
    batch: list[View] = []
    room = most
    for picture, transforms in views:
        while len(transforms):
            batch.append(View(picture, transforms[:room]))
            taken = len(batch[-1].transforms)
            transforms, room = transforms[taken:], room - taken
            if room == 0:
                yield batch
                batch, room = [], most
    if batch:
        yield batch
