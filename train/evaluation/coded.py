"""Real faces whose AUs were coded by eye: what the pipeline, and the teacher, say of them.

Readings of one reader agree more than those of two people would: read the correlation between them as an upper bound.
"""

from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from rtau.facs import AU_COLUMNS
from train.data.clips import clip_faces
from train.data.coded import load_coded
from train.data.photos import LabelledFace
from train.data.pseudo_labels import AUS, pseudo_labels
from train.data.split import material, part_of_photo
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner, Seen, found_faces

Float32 = NDArray[np.float32]

_EDGES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the bins of probabilities
_FEWEST = 5  # faces with an AU, and without it, for a figure


def coded_faces(runner: Runner, photos: list[tuple[LabelledFace, Seen]], clips: dict[str, list[Seen]]) -> list[Figure]:
    """Held-out photos and frames of the evaluation clips: ROC-AUC and rank correlation with the coding."""
    coded = load_coded()
    in_clips = {name.partition(":")[0] for name in coded.names} & clips.keys()
    frames = (
        (frame, clips[frame.source][int(frame.name.split(":")[1])])
        for clip in sorted(in_clips)
        for frame in clip_faces(material() / "media" / clip, every=1)
        if frame.name in coded.names
    )
    faces, aus = found_faces(chain(photos, frames, runner.photos("validation")))
    ours, these = aus.intensity, coded.of([face.name for face in faces])
    present, absent, intensity = these.present, these.absent, these.intensity.max(axis=1)
    teacher, readings = pseudo_labels(faces).intensity, coded.readings[:2].max(axis=2)
    held_out = np.array([":" in face.name or part_of_photo(face.name) == "evaluation" for face in faces])
    lines, areas, theirs = list[Figure](), dict[str, float](), dict[str, float]()
    for a, au in enumerate(AU_COLUMNS):
        enough = (present[held_out, a]).sum() >= _FEWEST
        clear = (present[:, a] | absent[:, a]) & (held_out | ~enough)
        told = np.isfinite(intensity[:, a]) & (held_out | ~enough)
        shown, both = present[clear, a], np.isfinite(readings[..., a]).all(axis=0)
        text = f"shown in {shown.sum()} of {len(shown)}{'' if enough else ', validation photos too'}"
        if shown.sum() >= _FEWEST:
            area = float(roc_auc_score(shown, ours[clear, a]))
            rank = spearmanr(ours[told, a], intensity[told, a]).statistic
            text = f"AUC {area:.2f}, rank correlation {rank:.2f}, {text}"
            if enough:
                areas[au] = area
            if au in AUS:
                peer = float(roc_auc_score(shown, teacher[clear, AUS.index(au)]))
                text += f"; the teacher's shape: AUC {peer:.2f}"
                if enough:
                    theirs[au] = peer
        agreed = spearmanr(*readings[:, both, a]).statistic
        lines.append(Figure(au, f"{text}; rank correlation of two readings {agreed:.2f}"))
    mean, of_both, of_theirs = (
        np.mean([*values]) for values in (areas.values(), (areas[au] for au in theirs), theirs.values())
    )
    stills = sum(face.source == "fairface" for face, held in zip(faces, held_out, strict=True) if held)
    return [
        Figure(
            f"mean ROC-AUC of the {len(areas)} AUs that {_FEWEST} faces or more show, {stills} photos and "
            f"{held_out.sum() - stills} frames",
            f"{mean:.3f}",
        ),
        Figure(
            f"of the {len(theirs)} for which the teacher has a shape: ours, the teacher's",
            f"{of_both:.3f}, {of_theirs:.3f}",
        ),
        Figure(
            "probabilities against how often it is present", _reliability(aus.occurrence[held_out], intensity[held_out])
        ),
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
    """(F, A) intensity 0-5 of faces by name, the stronger side; NaN where it cannot be told or was not coded."""
    return np.asarray(load_coded().of(names).intensity.max(axis=1))
