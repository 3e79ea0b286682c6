"""Real faces whose AUs were coded by eye: what the pipeline, and the teacher, say of them.

Readings of one reader agree more than those of two people would: read the correlation between them as an upper bound.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from rtau.boxes import bounds
from rtau.facs import AU_COLUMNS
from train.data.clips import load_clips
from train.data.coded import load_coded
from train.data.pseudo_labels import AUS, pseudo_labels
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner, Seen

Float32 = NDArray[np.float32]

_EDGES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the bins of probabilities
_FEWEST = 5  # faces with an AU, and without it, for a figure


def coded_faces(runner: Runner, clips: dict[str, list[Seen]]) -> list[Figure]:
    """Held-out FairFace photos and frames of the evaluation clips: ROC-AUC and rank correlation with the coding."""
    coded = load_coded()
    place = {name: f for f, name in enumerate(coded.names)}
    frames = (frame for frame in load_clips("evaluation", every=1) if frame.name in place)
    shown_to = [
        *runner.photos("evaluation", start="ff_"),
        *((frame, clips[frame.source][int(frame.name.split(":")[1])]) for frame in frames),
    ]
    matched = [(face, seen.aus, seen.match(bounds(face.landmarks))) for face, seen in shown_to]
    kept = [(face, aus, i) for face, aus, i in matched if i is not None]
    faces = [face for face, _, _ in kept]
    ours, said = (np.stack([getattr(aus, name)[i] for _, aus, i in kept]) for name in ("intensity", "occurrence"))
    rows = [place[face.name] for face in faces]
    present, absent, intensity = coded.present[rows], coded.absent[rows], coded.intensity[rows].max(axis=1)
    teacher, readings = pseudo_labels(faces).intensity, coded.readings[:2].max(axis=2)
    lines, areas, theirs = list[Figure](), dict[str, float](), dict[str, float]()
    for a, au in enumerate(AU_COLUMNS):
        both = np.isfinite(readings[..., a]).all(axis=0)
        agreed = spearmanr(*readings[:, both, a]).statistic
        clear, told = present[:, a] | absent[:, a], np.isfinite(intensity[:, a])
        shown = present[clear, a]
        text = f"shown in {shown.sum()} of {len(shown)}; rank correlation of the readings {agreed:.2f}"
        if min(shown.sum(), (~shown).sum()) >= _FEWEST:
            areas[au] = float(roc_auc_score(shown, ours[clear, a]))
            rank = spearmanr(ours[told, a], intensity[told, a]).statistic
            text = f"AUC {areas[au]:.2f}, rank correlation {rank:.2f}, {text}"
            if au in AUS:
                theirs[au] = float(roc_auc_score(shown, teacher[clear, AUS.index(au)]))
                text += f"; the teacher's shape: AUC {theirs[au]:.2f}"
        lines.append(Figure(au, text))
    mean, peer = np.mean([*areas.values()]), np.mean([*theirs.values()])
    of_both = np.mean([areas[au] for au in theirs])
    photos = sum(face.source == "fairface" for face in faces)
    return [
        Figure(
            f"mean ROC-AUC of the {len(areas)} AUs that {_FEWEST} faces or more show, {photos} photos and "
            f"{len(faces) - photos} frames",
            f"{mean:.3f}",
        ),
        Figure(
            f"of the {len(theirs)} for which the teacher has a shape: ours, the teacher's", f"{of_both:.3f}, {peer:.3f}"
        ),
        Figure("probabilities against how often it is present", _reliability(said, intensity)),
        *lines,
    ]


def _reliability(said: Float32, intensity: Float32) -> str:
    """Mean probability (F, A) of those in each bin, and the share of them whose coded intensity (F, A) is 1 or more."""
    told = np.isfinite(intensity)
    probability, present = said[told], intensity[told] >= 1
    bins = np.digitize(probability, _EDGES)
    return ", ".join(
        f"{probability[bins == b].mean():.2f} is {present[bins == b].mean():.2f}" for b in range(len(_EDGES) + 1)
    )


def coding_of(names: list[str]) -> Float32:
    """(F, A) intensity 0-5 of faces that were coded by eye, the stronger side; NaN where it cannot be told."""
    coded = load_coded()
    place = {name: f for f, name in enumerate(coded.names)}
    return np.asarray(coded.intensity[[place[name] for name in names]].max(axis=1))
