"""Labels of rendered expressions say what the mesh shows."""

import numpy as np
import pytest

from rtau.facs import AU_COLUMNS
from train.synthesis.assets import Head, assets_folder, load_head
from train.synthesis.expression import (
    COMBINATIONS,
    Body,
    Drawn,
    Expression,
    body,
    draw,
    express,
    opening_slopes,
)
from train.synthesis.seeds import generator

pytestmark = pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")

REST = Drawn({}, {}, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), lips_shut=False)


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head(assets_folder())


@pytest.fixture(scope="module")
def person(head: Head) -> Body:
    return body(head, head.neutral, np.zeros(57, np.float32), 0.3)


def shown(head: Head, person: Body, aus: dict[int, float], drawn: Drawn = REST) -> Expression:
    return express(head, head.neutral, person, drawn._replace(right=aus, left=aus))


def label(expression: Expression, number: int, side: str = "right") -> float:
    values = expression.right if side == "right" else expression.left
    return float(values[AU_COLUMNS.index(f"AU{number:02d}")])


def test_lips_and_lids_open_as_measured_on_the_mesh(head: Head) -> None:
    slopes = opening_slopes(head)
    for shape, column, mm in (
        ("jawOpen", 2, 32.8),
        ("mouthClose", 2, -38.9),
        ("eyeBlink_R", 0, -8.35),
        ("eyeWide_L", 1, 2.8),
    ):
        assert slopes[head.expression_index[shape], column] == pytest.approx(mm, abs=0.1)


def test_a_resting_face_has_sealed_lips_and_no_action_unit(head: Head) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        offset = np.clip(rng.normal(0, 0.85, 100), -2.2, 2.2).astype(np.float32) @ head.identity
        neutral = head.neutral + offset.reshape(-1, 3)
        face = express(head, neutral, body(head, neutral, np.zeros(57, np.float32), 0.3), REST)
        assert face.gap_mm == pytest.approx(0, abs=0.1)
        assert face.right.max() == face.left.max() == 0


def test_a_stretched_mouth_parts_the_lips_and_a_raised_chin_does_not(head: Head, person: Body) -> None:
    assert label(shown(head, person, {27: 5.0}), 25) == 5
    assert label(shown(head, person, {27: 5.0}), 26) == 5
    assert label(shown(head, person, {17: 4.0}), 25) == 0
    assert shown(head, person, {24: 5.0}).gap_mm > -0.5  # pressed lips do not cross


def test_asked_lips_part_as_far_as_asked(head: Head, person: Body) -> None:
    for wanted in (1.0, 3.0, 5.0):
        assert label(shown(head, person, {25: wanted}), 25) == pytest.approx(wanted, abs=0.02)


def test_looking_down_is_no_closed_eye_and_a_blink_closes_fully(head: Head, person: Body) -> None:
    down = shown(head, person, {}, REST._replace(gaze=(0.0, -0.28)))
    assert down.aperture_mm[0] < shown(head, person, {}).aperture_mm[0] - 2
    assert label(down, 43) == 0
    for gaze in ((0.0, 0.0), (0.0, -0.28), (0.3, 0.2)):
        shut = shown(head, person, {43: 5.0}, REST._replace(gaze=gaze))
        assert shut.aperture_mm[0] == pytest.approx(1.75, abs=0.3)
        assert label(shut, 43) == pytest.approx(5, abs=0.05)


def test_a_smile_on_the_left_moves_the_left_corner_only(head: Head, person: Body) -> None:
    face = express(head, head.neutral, person, REST._replace(right={12: 0.0}, left={12: 4.0}))
    assert (label(face, 12, "left"), label(face, 12, "right")) == (4, 0)
    moved = (face.coefficients @ head.expression).reshape(-1, 3) - (person.rest @ head.expression).reshape(-1, 3)
    left, right = (np.linalg.norm(moved[head.landmark_vertices[corner, 0]]) for corner in (291, 61))
    assert left > 0.4 > 10 * right


def test_drawn_sets_have_no_contradictions_and_reach_every_action_unit(head: Head, person: Body) -> None:
    faces = [draw(generator("test", i)) for i in range(1500)]
    assert not any({26, 27} <= set(face.right) or {43, 5} <= set(face.right) for face in faces)
    labels = np.array([np.maximum(e.right, e.left) for e in (express(head, head.neutral, person, f) for f in faces)])
    assert (labels >= 1).mean(axis=0).min() > 0.03
    assert all(weight > 0 for weight, _ in COMBINATIONS)
