"""Rendered samples: signs, determinism, and that labels belong to what is drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from train.synthesis.assets import EYE, FACE, HAIR, assets_folder, load_head
from train.synthesis.au_sheet import au_sheet
from train.synthesis.expression import Drawn, express
from train.synthesis.occluders import OCCLUDER
from train.synthesis.person import Person, make_person
from train.synthesis.picture import VISIBLE, Renderer
from train.synthesis.raster import rasterise
from train.synthesis.sample import Sample, picture, render
from train.synthesis.scene import draw_scene, posed
from train.synthesis.seeds import generator
from train.synthesis.sensor import compose
from train.synthesis.shards import Plan, RenderConfig, _render_shard, _write_index, read_shards, render_all
from train.synthesis.textures import draw_look, paint, places

pytestmark = pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")

REST = Drawn({}, {}, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), lips_shut=False)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(load_head(assets_folder()))


@pytest.fixture(scope="module")
def person(renderer: Renderer) -> Person:
    return make_person(renderer.head, 99, 0)


def turned(renderer: Renderer, person: Person, pose: tuple[float, float, float], drawn: Drawn = REST) -> Sample:
    scene = draw_scene(generator("scene", 1), 128, 1.0, frontal=True)
    return picture(renderer, person, drawn, posed(scene, pose), 0)


def test_the_same_seed_gives_the_same_bytes_whatever_came_before(renderer: Renderer) -> None:
    first = render(renderer, make_person(renderer.head, 5, 3), 2, 96)
    render(renderer, make_person(renderer.head, 5, 4), 0, 96)
    again = render(renderer, make_person(renderer.head, 5, 3), 2, 96)
    assert first.jpeg == again.jpeg
    np.testing.assert_array_equal(first.landmarks, again.landmarks)


def test_signs_of_the_pose(renderer: Renderer, person: Person) -> None:
    """Positive: up, to the subject's right (left in the picture), tilt to the subject's right."""
    straight = turned(renderer, person, (0, 0, 0)).landmarks
    middle = straight[[33, 263]].mean(axis=0)
    up, right = turned(renderer, person, (20, 0, 0)).landmarks, turned(renderer, person, (0, 20, 0)).landmarks
    assert up[1, 1] - up[[33, 263], 1].mean() < straight[1, 1] - middle[1]  # the nose tip comes nearer to the eyes
    assert right[1, 0] - right[[33, 263], 0].mean() < straight[1, 0] - middle[0]
    tilted = turned(renderer, person, (0, 0, 20)).landmarks
    assert tilted[33, 1] > tilted[263, 1] + 5  # the subject's right eye sinks


def test_gaze_to_the_subjects_left_moves_the_irises_to_the_right_of_the_picture(
    renderer: Renderer, person: Person
) -> None:
    rest, left = (turned(renderer, person, (0, 0, 0), REST._replace(gaze=(yaw, 0.0))).landmarks for yaw in (0.0, 0.35))
    assert (left[[468, 473], 0] > rest[[468, 473], 0] + 1).all()
    up = turned(renderer, person, (0, 0, 0), REST._replace(gaze=(0.0, 0.28))).landmarks
    assert (up[[468, 473], 1] < rest[[468, 473], 1] - 1).all()


def test_left_is_the_subjects_left(renderer: Renderer, person: Person) -> None:
    smile = REST._replace(right={12: 0.0}, left={12: 5.0})
    rest, lopsided = (turned(renderer, person, (0, 0, 0), drawn).landmarks for drawn in (REST, smile))
    assert lopsided[291, 1] < rest[291, 1] - 1.5  # the corner at the right of the picture rises
    assert abs(lopsided[61, 1] - rest[61, 1]) < 0.5


def test_landmarks_follow_the_stored_camera(renderer: Renderer, person: Person) -> None:
    sample = turned(renderer, person, (5, -15, 8))
    rotation, shift, (focal, cx, cy) = sample.camera[:9].reshape(3, 3), sample.camera[9:12], sample.camera[12:15]
    rest = person.neutral + (sample.coefficients @ renderer.head.expression).reshape(-1, 3)
    head = renderer.head
    points = (rest[head.landmark_vertices] * head.landmark_weights[..., None]).sum(axis=1)[:468]
    seen = points @ rotation.T + shift
    xy = np.stack([cx - focal * seen[:, 0] / seen[:, 2], cy + focal * seen[:, 1] / seen[:, 2]], axis=1)
    np.testing.assert_allclose(xy, sample.landmarks[:468, :2], atol=0.02)


def test_a_profile_hides_the_far_side(renderer: Renderer, person: Person) -> None:
    bald = person._replace(hair="bald")
    sample = picture(
        renderer, bald, REST, posed(draw_scene(generator("scene", 1), 128, 1.0, frontal=True), (0, 60, 0)), 17
    )
    assert sample.visibility[[33, 130, 50]].min() != VISIBLE  # turned to the right, its right eye is away
    assert (sample.visibility[[263, 280]] == VISIBLE).all()


def test_the_map_shows_eyes_where_the_irises_are(renderer: Renderer, person: Person) -> None:
    sample = turned(renderer, person, (0, 0, 0))
    labels = cv2.imdecode(np.frombuffer(sample.labels, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert labels is not None
    x, y = sample.landmarks[[468, 473], :2].astype(int).T
    assert (labels[y, x] == EYE + 1).all()
    x, y = sample.landmarks[4, :2].astype(int)
    assert labels[y, x] == FACE + 1


def test_the_rasteriser_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(-4, 28, (30, 2)).astype(np.float32)
    inverse = rng.uniform(0.01, 0.1, 30).astype(np.float32)
    triangles = rng.integers(0, 30, (12, 3)).astype(np.int32)
    ids, depth = np.full((24, 24), -1, np.int32), np.zeros((24, 24), np.float32)
    bary = np.zeros((24, 24, 2), np.float32)
    rasterise(xy, inverse, triangles, np.zeros(12, np.uint8), 0, ids, depth, bary)
    for row in range(24):
        for column in range(24):
            best, nearest = -1, 0.0
            for t, (a, b, c) in enumerate(triangles):
                edges = np.array([xy[b] - xy[a], xy[c] - xy[a]], np.float64).T
                if abs(np.linalg.det(edges)) < 1e-6:
                    continue
                wb, wc = np.linalg.solve(edges, np.array([column + 0.5, row + 0.5]) - xy[a])
                z = (1 - wb - wc) * inverse[a] + wb * inverse[b] + wc * inverse[c]
                if min(wb, wc, 1 - wb - wc) >= 0 and z > nearest:
                    best, nearest = t, z
            assert ids[row, column] == best
            assert depth[row, column] == pytest.approx(nearest, rel=1e-4)


def test_shards_are_read_as_they_were_rendered(tmp_path: Path) -> None:
    config = RenderConfig(out=str(tmp_path), split="test", persons=2, pictures=2, size=64)
    assert _render_shard(Plan(config, assets_folder(), 0)) == 4
    _write_index(tmp_path)
    (shard,) = read_shards(tmp_path)
    assert shard.labels["au_left"].shape == (4, 20)
    assert len(shard.jpegs) == 4
    assert shard.labels["person"].tolist() == [0, 0, 1, 1]
    assert {path.suffix for path in tmp_path.iterdir()} == {".tar", ".npz", ".jpg", ".parquet"}


def test_two_workers_make_the_bytes_of_one(tmp_path: Path) -> None:
    alone, together = (
        RenderConfig(out=str(tmp_path / name), split="test", persons=2, pictures=1, persons_a_shard=1, size=64)
        for name in ("alone", "together")
    )
    render_all(together, assets_folder(), 2, lambda done, count, rate: None)
    Path(alone.out).mkdir()
    for shard in (1, 0):
        _render_shard(Plan(alone, assets_folder(), shard))
    for name in ("00000.tar", "00001.tar"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "together" / name).read_bytes()


def test_raised_and_lowered_brows_move_their_inner_ends(renderer: Renderer, person: Person) -> None:
    def inner(aus: dict[int, float]) -> float:
        points = turned(renderer, person, (0, 0, 0), REST._replace(right=aus, left=aus)).landmarks
        return float(points[[55, 285], 1].mean() - points[[133, 362], 1].mean())

    rest = inner({})
    assert inner({4: 5.0}) > rest + 1.5  # pixels of 128; y is down
    assert inner({1: 5.0}) < rest - 1.5


def test_brow_landmarks_lie_on_the_painted_brows(renderer: Renderer) -> None:
    dark = np.array([0.02, 0.02, 0.02], np.float32)
    for number in range(3):
        person = make_person(renderer.head, 99, number)
        look = person.look._replace(skin=np.full(3, 0.6, np.float32), brow=dark, brow_density=1.0, made_up=False)
        albedo = paint(renderer.head, look, generator("paint", 99, number)).albedo.mean(axis=-1)
        x, y = ((places(renderer.head)[[105, 52]].mean(axis=0)) + 0.5).astype(int)
        column = albedo[y - 18 : y + 18, x - 6 : x + 6].mean(axis=1)
        assert abs(int(column.argmin()) - 18) <= 6  # texels, about 3 mm


def test_the_scalp_stays_under_the_hair(renderer: Renderer) -> None:
    """Raised brows push the forehead out; what hair grows on is drawn deeper than where landmarks are."""
    aus = {1: 5.0, 2: 5.0}
    drawn = REST._replace(right=aus, left=aus)
    everybody = (make_person(renderer.head, 99, number) for number in range(60))
    person = next(each for each in everybody if each.hair == "short01")
    expression = express(renderer.head, person.neutral, person.body, drawn)
    scene = posed(draw_scene(generator("scene", 1), 128, 1.0, frontal=True), (0, 0, 0))
    bare, hairy = (renderer(person._replace(hair=style), expression, scene) for style in ("bald", "short01"))
    np.testing.assert_array_equal(bare.landmarks, hairy.landmarks)
    hair = cv2.morphologyEx((hairy.labels == HAIR + 1).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    assert (hair.astype(bool) & (hairy.labels == FACE + 1)).sum() < 0.02 * hair.sum()


def test_shut_lips_may_leave_the_mouth_out(renderer: Renderer, person: Person) -> None:
    scene = posed(draw_scene(generator("scene", 1), 128, 1.0, frontal=True), (0, 0, 0))
    closed = express(renderer.head, person.neutral, person.body, REST)
    assert closed.gap_mm < 0.1
    whole = renderer(person, closed._replace(gap_mm=5.0), scene)
    quick = renderer(person, closed, scene)
    np.testing.assert_array_equal(whole.labels, quick.labels)


def test_dark_skin_stays_darker_and_sclera_does_not_outshine_light_skin(renderer: Renderer) -> None:
    levels = []
    for tone in (0.5, 6.5):
        numbers = [n for n in range(40) if abs(draw_look(generator("look", 99, n)).tone - tone) < 0.5][:3]
        values = []
        for number in numbers:
            sample = turned(renderer, make_person(renderer.head, 99, number), (0, 0, 0))
            image = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
            labels = cv2.imdecode(np.frombuffer(sample.labels, np.uint8), cv2.IMREAD_GRAYSCALE)
            assert image is not None
            assert labels is not None
            values.append(np.median(image[labels == FACE + 1]))
        levels.append(float(np.mean(values)))
    assert levels[1] < 0.75 * levels[0]


def test_outlines_have_no_steps() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[:, 5:] = FACE + 1
    colour = np.zeros((9, 9, 3), np.float32)
    colour[labels > 0] = 0.2
    row = compose(colour, labels, np.zeros((9, 9, 3), np.float32), 1.0, 9, np.random.default_rng(0))[4, :, 1]
    assert row[3] == 0
    assert 0 < row[4] < row[5] < row[6]
    assert row[6] == pytest.approx(row[8])


def test_nothing_comes_before_a_face_that_is_not_to_be_covered(renderer: Renderer) -> None:
    for number in range(12):
        person = make_person(renderer.head, 99, number)._replace(hair="bald")
        scene = posed(draw_scene(generator("scene", 1), 64, 1.0, frontal=True), (0, 0, 0))
        sample = picture(renderer, person, REST, scene, 0, covered=False)
        labels = cv2.imdecode(np.frombuffer(sample.labels, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert labels is not None
        assert (labels != OCCLUDER).all()


def test_the_sheet_has_a_row_for_each_action_unit(renderer: Renderer, tmp_path: Path) -> None:
    au_sheet(renderer, tmp_path / "sheet.jpg", [0, 1], 40, (4, 12))
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet is not None
    assert sheet.shape[0] == 2 * 40
    assert sheet.shape[1] > 2 * 4 * 40
    with pytest.raises(OSError, match="cannot be written"):
        au_sheet(renderer, tmp_path / "sheet.nothing", [0], 40, (4,))


def test_a_sequence_moves_smoothly(renderer: Renderer, person: Person) -> None:
    from train.synthesis.sequence import sequence

    points = np.stack([s.landmarks[:, :2] for s in sequence(renderer, person, 12, 64)])
    step = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(axis=1)
    assert 0 < step.max() < 2.5
