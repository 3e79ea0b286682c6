"""Which open material may train, tune and evaluate. Training and evaluation both read this file and nothing else.

Evaluation only, never for training or tuning: the London photos; the clips `crema_*`, `pexels_langer_expressions.mp4`,
`intel_walking_three.mp4` and `pyfeat_*`; a fixed tenth of FairFace. Of the rest another fixed tenth is for validation.
"""

import hashlib
import os
from pathlib import Path
from typing import Literal

Part = Literal["train", "validation", "evaluation"]

_EVALUATION_CLIPS = ("crema_", "pexels_langer_expressions", "intel_walking_three", "pyfeat_")


def material() -> Path:
    """Folder of the open photos and clips: $RTAU_SHARED, or `shared` beside the checkout."""
    return Path(os.environ.get("RTAU_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def _tenth(name: str, salt: str) -> bool:
    return hashlib.sha256(f"{salt}{name}".encode()).digest()[0] % 10 == 0


def part_of_photo(file: str) -> Part:
    """The part that a photo of `data/fairface` or `data/open_faces` belongs to, by file name."""
    if file.startswith("london_") or (file.startswith("ff_") and _tenth(file, "")):
        return "evaluation"
    return "validation" if _tenth(file, "validation:") else "train"


def part_of_clip(file: str) -> Part:
    """The part that a clip of `media` belongs to, by file name. Whole clips, so that no talker is on both sides."""
    if file.startswith(_EVALUATION_CLIPS):
        return "evaluation"
    return "validation" if file.startswith(("grid_swiz3n", "grid_lbbc2a")) else "train"
