"""What the teacher's shapes become, on made-up faces."""

import numpy as np

from rtau.facs import AU_COLUMNS
from train.data.photos import BLENDSHAPES, LabelledFace
from train.data.pseudo_labels import training_labels


def face(**shapes: float) -> LabelledFace:
    """A face with these shapes on both sides, and none besides."""
    scores = np.zeros(len(BLENDSHAPES), np.float32)
    for name, score in shapes.items():
        scores[
            [i for i, shape in enumerate(BLENDSHAPES) if shape.removesuffix("Left").removesuffix("Right") == name]
        ] = score
    landmarks = np.random.default_rng(0).uniform(0, 100, (478, 3)).astype(np.float32)
    image = np.zeros((100, 100, 3), np.uint8)
    return LabelledFace("made up", "nowhere", image, landmarks, np.zeros(3, np.float32), scores, 1, {})


def column(au: str) -> int:
    return AU_COLUMNS.index(au)


def test_a_smile_stretches_no_lips() -> None:
    labels = training_labels([face(mouthStretch=0.5), face(mouthStretch=0.5, mouthSmile=0.9)])
    assert labels.left[0, column("AU20")] > 3
    assert labels.left[1, column("AU20")] == 0
    assert labels.left[1, column("AU12")] > 4


def test_nothing_is_said_of_what_the_teacher_does_not_see() -> None:
    """Not even absence: that would teach to tell photographs from rendered faces."""
    labels = training_labels([face(), face(noseSneer=1.0, mouthPress=1.0)])
    for au in ("AU09", "AU23"):
        assert (labels.weight[:, column(au)] == 0).all()
        assert not labels.known[:, column(au)].any()


def test_hints_weigh_less_and_are_no_occurrence() -> None:
    labels = training_labels([face(mouthFrown=0.4, mouthSmile=0.8)])
    hint, credible = column("AU15"), column("AU12")
    assert labels.left[0, hint] > 4
    assert 0 < labels.weight[0, hint] < labels.weight[0, credible] == 1
    assert (labels.known[0, hint], labels.known[0, credible]) == (False, True)
