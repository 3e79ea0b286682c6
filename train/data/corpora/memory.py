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


def shrunk(corpus: Corpus, folder: Path, key: str, side: int) -> Shrunk:
    """The pictures of the index in `folder`, whose content is named by `key`; made when they are not there yet."""
    path = folder / f"pictures_{side}_{key[:12]}.npy"
    if not path.exists():
        made = path.with_suffix(".tmp")
        pictures = np.lib.format.open_memmap(made, "w+", np.uint8, (len(corpus.paths), side, side, 3))
        for i, name in enumerate(corpus.paths):
            pictures[i] = cv2.resize(read_picture(corpus.root, name), (side, side), interpolation=cv2.INTER_AREA)
        pictures.flush()
        made.replace(path)
    return Shrunk(path)
