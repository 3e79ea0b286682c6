"""The text side of CLEF as an input table: strings and their vectors in an npz, so that no text model runs with it.

`python -m train text-table` makes one, from a CLIP text encoder where the user has one, or from hashed words.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.errors import RtauError
from rtau.facs import CATALOGUE
from train.data.corpora import bp4d, bp4dplus
from train.data.corpora.expressions import WORDS
from train.synthesis.activities import ACTIVITIES

Float32 = NDArray[np.float32]

AU_NAMES: dict[str, str] = {unit.column: unit.name for unit in CATALOGUE}  # "AU12": "lip corner puller"


def absence(name: str) -> str:
    """The string that says that an AU is not there; for pairs of prompts."""
    return f"no {name}"


def known_strings() -> list[str]:
    """Everything that a method asks a table for: AUs and their absence, expressions, activities of all corpora."""
    names = list(AU_NAMES.values())
    tasks = [activity for corpus in (bp4d, bp4dplus) for activity, _ in corpus.TASKS.values()]
    strings = [*names, *map(absence, names), *WORDS, *tasks, *(activity.text for activity in ACTIVITIES)]
    return list(dict.fromkeys(strings))


class TextTableError(RtauError):
    """A table or a text encoder is missing, damaged, or lacks a string."""


class TextTable(NamedTuple):
    strings: tuple[str, ...]  # (S,)
    vectors: Float32  # (S, d) of unit length

    def of(self, strings: Sequence[str]) -> Float32:
        """(n, d) of the given strings. Raises TextTableError naming those that are missing."""
        place = {string: i for i, string in enumerate(self.strings)}
        missing = [string for string in strings if string not in place]
        if missing:
            raise TextTableError(
                f"the text table lacks {', '.join(map(repr, missing))}; make it again with `python -m train text-table`"
            )
        return self.vectors[[place[string] for string in strings]]


def read_text_table(path: Path) -> TextTable:
    """Raises TextTableError when the file is missing or is no text table."""
    try:
        with np.load(path, allow_pickle=False) as data:
            strings, vectors = tuple(data["strings"].tolist()), data["vectors"].astype(np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise TextTableError(f"{path}: no text table ({error}); make it with `python -m train text-table`") from error
    if vectors.ndim != 2 or len(vectors) != len(strings) or not np.isfinite(vectors).all():
        raise TextTableError(f"{path}: expected finite vectors ({len(strings)}, d), got {vectors.shape}")
    return TextTable(strings, vectors)


def write_text_table(path: Path, table: TextTable) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".tmp").open("wb") as file:
        np.savez(file, strings=np.array(table.strings), vectors=table.vectors)
    path.with_suffix(".tmp").replace(path)


def hashed(strings: Sequence[str], width: int = 512) -> TextTable:
    """Deterministic vectors without a text model: the sum of a random unit vector for every word.

    Strings that share words are alike, nothing else is. Says which label is meant, not what it means.
    """
    return TextTable(tuple(strings), _unit(np.stack([sum(_word(w, width) for w in s.split()) for s in strings])))


def clip(strings: Sequence[str], folder: Path) -> TextTable:
    """Vectors of a CLIP text encoder with its projection, from a local folder in the format of `transformers`.

    Only safetensors are read and nothing is fetched. Raises TextTableError when that cannot be done.
    """
    try:
        import torch
        from transformers import AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise TextTableError(
            f"CLIP needs transformers ({error}); install it with `pip install 'rtau[text]'`"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise TextTableError(f"{folder}: no CLIP text encoder: {' '.join(str(error).split())}") from error
    with torch.no_grad():
        tokens = tokenizer(list(strings), padding=True, return_tensors="pt")
        vectors = model(**tokens).text_embeds.numpy()  # loaded in evaluation mode
    return TextTable(tuple(strings), _unit(vectors))


def _word(word: str, width: int) -> Float32:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "little")
    return _unit(np.random.default_rng(seed).standard_normal(width))


def _unit(vectors: NDArray[np.floating]) -> Float32:
    unit: Float32 = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit
