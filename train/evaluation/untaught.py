"""Whether the AUs that no photograph teaches show in real faces at all.

They are learnt from rendered faces alone, and a network may keep them for those. The teacher has shapes near them.
Their values are too poor to learn from, but an AU that never rises in photos, or against all order, is not delivered.
"""

import numpy as np
from scipy.stats import spearmanr

from rtau.boxes import bounds
from train.data.photos import BLENDSHAPES
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner

_NEAR: dict[str, tuple[str, ...]] = {  # AU: the teacher's shapes that come nearest
    "AU05": ("eyeWideLeft", "eyeWideRight"),
    "AU09": ("noseSneerLeft", "noseSneerRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU23": ("mouthPressLeft", "mouthPressRight", "mouthRollLower"),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
}


def untaught(runner: Runner) -> list[Figure]:
    """On the validation photos: where the highest twentieth begins, and rank correlation with the teacher's shape."""
    intensity, shapes = [], []
    for photo, seen in runner.photos("validation"):
        i = seen.match(bounds(photo.landmarks))
        if i is not None:
            intensity.append(seen.aus.intensity[i])
            shapes.append(photo.blendshapes)
    found, teacher = np.stack(intensity), np.stack(shapes)
    figures = []
    for au, names in _NEAR.items():
        own = found[:, runner.aus.index(au)]
        near = teacher[:, [BLENDSHAPES.index(name) for name in names]].mean(axis=1)
        figures.append(Figure(
            f"{au}, {len(own)} validation photos, the highest twentieth from",
            f"{np.quantile(own, 0.95):.2f}; rank correlation with the teacher's {names[0].removesuffix('Left')} "
            f"{spearmanr(own, near).statistic:+.2f}",
        ))  # fmt: skip
    return figures
