"""Pictures of a corpus, shrunk once and kept together: small networks would otherwise wait for JPEG decoding."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.corpora.index import Corpus
from train.data.corpora.loading import read_picture


class Shrunk:
    """Row -> picture (side, side, 3) RGB, out of a file beside the index that is mapped into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pictures: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)

    def __call__(self, row: int) -> NDArray[np.uint8]:
        return np.array(self._pictures[row])

    def __getstate__(self) -> Path:  # worker processes map the file themselves
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]


def shrunk(corpus: Corpus, folder: Path, key: str, side: int, middle: float = 1.0) -> Shrunk:
    """The pictures of the index in `folder`, whose content is named by `key`; made when they are not there yet.

    `middle` is the share of their side that is kept, about their middle.
    """
    part = "" if middle == 1 else f"_middle{round(1000 * middle)}"
    path = folder / f"pictures_{side}{part}_{key[:12]}.npy"
    if not path.exists():
        made = path.with_suffix(".tmp")
        pictures = np.lib.format.open_memmap(made, "w+", np.uint8, (len(corpus.paths), side, side, 3))
        for i, name in enumerate(corpus.paths):
            whole = read_picture(corpus.root, name)
            top, left = (round(length * (1 - middle) / 2) for length in whole.shape[:2])
            inner = whole[top : len(whole) - top, left : whole.shape[1] - left]
            pictures[i] = cv2.resize(inner, (side, side), interpolation=cv2.INTER_AREA)
        pictures.flush()
        made.replace(path)
    return Shrunk(path)
