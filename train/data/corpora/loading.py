"""From batches of rows to tensors, on worker processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data.corpora.augment import Augmentation, centre, views
from train.data.corpora.index import Corpus, CorpusError
from train.data.corpora.samplers import Batch, Plan, State, batches
from train.data.photos import read_rgb

Rows = NDArray[np.int64]
Read = Callable[[int], NDArray[np.uint8]]  # row of a corpus -> picture (H, W, 3) RGB


class Loaded(NamedTuple):
    """Views of a batch: images (V, B, 3, S, S), or (V, B, T, 3, S, S) where the plan's rows are clips."""

    images: Tensor
    rows: Rows  # (B,) or (B, T)
    after: State


def training_batches(
    corpus: Corpus,
    plan: Plan,
    state: State,
    how: Augmentation,
    *,
    count: int = 2,
    workers: int = 0,
    read: Read | None = None,
) -> Iterator[Loaded]:
    """Endless augmented batches from `state` on: `count` views of each row, `workers` processes (0: this one).

    `read` gives pictures that are not read from disk; it goes to the processes.
    """
    wanted = batches(plan, state)
    ahead: list[Batch] = []  # asked for by the loader, not given yet

    def ask() -> Iterator[list[tuple[int, Rows]]]:
        for batch in wanted:
            ahead.append(batch)
            yield [(batch.epoch, rows) for rows in batch.rows]

    dataset = _Views(read or _OnDisk(corpus), how, state.seed, count)
    for images in _loader(dataset, ask(), workers):
        batch = ahead.pop(0)
        yield Loaded(images, batch.rows, batch.after)


def evaluation_batches(
    corpus: Corpus, rows: Rows, size: int, how: Augmentation, workers: int = 0, read: Read | None = None
) -> Iterator[Loaded]:
    """The rows once, in order: centre views (1, B, 3, S, S)."""
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    dataset = _Centres(read or _OnDisk(corpus), how)
    for part, images in zip(parts, _loader(dataset, iter(parts), workers), strict=True):
        yield Loaded(images, part, State(0))


def read_picture(root: Path, path: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB. Raises CorpusError naming the file."""
    try:
        return read_rgb((root / path).read_bytes(), path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{root / path}: cannot be read: {error}") from error


class _OnDisk:
    def __init__(self, corpus: Corpus) -> None:
        self._root, self._paths = corpus.root, corpus.paths

    def __call__(self, row: int) -> NDArray[np.uint8]:
        return read_picture(self._root, self._paths[row])


class _Views(Dataset[Tensor]):
    def __init__(self, read: Read, how: Augmentation, seed: int, count: int) -> None:
        self._read, self._how, self._seed, self._count = read, how, seed, count

    def __getitem__(self, key: tuple[int, Rows]) -> Tensor:
        """(epoch, row) -> (V, 3, S, S); (epoch, rows of a clip) -> (V, T, 3, S, S)."""
        epoch, rows = key
        wanted = np.atleast_1d(rows)
        pictures = np.stack([self._read(i) for i in wanted.tolist()])
        out = views(pictures, self._how, self._seed, epoch, int(wanted[0]), self._count)
        return torch.from_numpy(out if np.ndim(rows) else out[:, 0])


class _Centres(Dataset[Tensor]):
    def __init__(self, read: Read, how: Augmentation) -> None:
        self._read, self._how = read, how

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(centre(self._read(int(row)), self._how)[None])


def _loader(dataset: Dataset[Tensor], keys: Iterator[object], workers: int) -> DataLoader[Tensor]:
    return DataLoader(
        dataset,
        batch_sampler=_Once(keys),  # type: ignore[arg-type]
        collate_fn=_views_first,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        generator=torch.Generator().manual_seed(0),  # the workers draw nothing: leave the run's own generator alone
    )


class _Once:
    """An iterator as the batch sampler of a loader."""

    def __init__(self, keys: Iterator[object]) -> None:
        self._keys = keys

    def __iter__(self) -> Iterator[object]:
        return self._keys


def _views_first(items: list[Tensor]) -> Tensor:
    """B times (V, ...) -> (V, B, ...)."""
    return torch.stack(items, dim=1)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
