"""Whether the AUs of which photographs tell little show in real faces at all.

AU9 and AU23 are learnt from rendered faces, and a network may keep them for those: of AU9 photographs tell but that
smiles are none. Of AU 5, 14, 15, 20 and 28 they give no more than hints. The teacher has shapes near all of them: an
AU that never rises in photos, or against all order, is not delivered. Where photos taught it, agreement shows that it
was learnt, no more.
"""

import numpy as np
from scipy.stats import spearmanr

from rtau.boxes import bounds
from train.data.photos import BLENDSHAPES
from train.data.pseudo_labels import AUS
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
_ALSO = {"AU09": "rendered faces, and smiles without it"}
_SMILE = 0.5  # of the teacher's shape


def untaught(runner: Runner) -> list[Figure]:
    """On the validation photos: how far and how often each rises, and rank correlation with the teacher's shape."""
    intensity, shapes = [], []
    for photo, seen in runner.photos("validation"):
        i = seen.match(bounds(photo.landmarks))
        if i is not None:
            intensity.append(seen.aus.intensity[i])
            shapes.append(photo.blendshapes)
    found, teacher = np.stack(intensity), np.stack(shapes)
    smiling = teacher[:, [BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")]].mean(axis=1) > _SMILE
    figures = []
    for au, names in _NEAR.items():
        own = found[:, runner.aus.index(au)]
        near = teacher[:, [BLENDSHAPES.index(name) for name in names]].mean(axis=1)
        source = "hints" if au in AUS else _ALSO.get(au, "rendered faces alone")
        shape = names[0].removesuffix("Left")
        figures.append(Figure(
            f"{au}, from {source}, {len(own)} validation photos",
            f"the highest twentieth from {np.quantile(own, 0.95):.2f}; 1 or more in {(own[smiling] >= 1).mean():.0%} "
            f"of {smiling.sum()} smiles, {(own[~smiling] >= 1).mean():.0%} of others; "
            f"rank correlation with the teacher's {shape} {spearmanr(own, near).statistic:+.2f}",
        ))  # fmt: skip
    return figures
