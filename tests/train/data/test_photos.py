"""Signs and sides on real photos."""

import numpy as np
import pytest

from rtau.align import apply, inter_ocular, roi_from_box
from rtau.boxes import bounds
from rtau.config import PipelineConfig, SourceConfig
from rtau.decode import Decode
from rtau.landmarks import FaceLandmarks
from train.data.clips import load_clips
from train.data.mesh import mean_shape, mirror_indices
from train.data.photos import BLENDSHAPES, LabelledFace, load_photos
from train.data.pseudo_labels import AUS, pseudo_labels
from train.data.split import material

pytestmark = pytest.mark.skipif(not material().is_dir(), reason="the open photos and clips are not here")


@pytest.fixture(scope="module")
def photos() -> list[LabelledFace]:
    return load_photos("validation")


def test_the_mirror_of_the_mesh_is_its_own_inverse_and_swaps_the_eyes(photos: list[LabelledFace]) -> None:
    mirror = mirror_indices(mean_shape([face.landmarks for face in photos if abs(face.pose[1]) < 25]))
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert (mirror[33], mirror[61], mirror[105], mirror[468], mirror[1]) == (263, 291, 334, 473, 1)


def test_the_teachers_left_eye_is_the_subjects(photos: list[LabelledFace]) -> None:
    """A closed left eye has a high eyeBlinkLeft and a small gap between points 386 and 374, right in the picture."""
    points = np.stack([face.landmarks for face in photos])
    gap = {
        side: np.linalg.norm(points[:, a] - points[:, b], axis=1) for side, a, b in (("L", 386, 374), ("R", 159, 145))
    }
    blink = np.stack([face.blendshapes for face in photos])[
        :, [BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")]
    ]
    r = np.corrcoef(blink[:, 0] - blink[:, 1], (gap["L"] - gap["R"]) / inter_ocular(points))[0, 1]
    assert r < -0.4
    assert (points[:, 263, 0] > points[:, 33, 0]).all()


def test_pseudo_labels_keep_left_and_right_apart(photos: list[LabelledFace]) -> None:
    labels, a = pseudo_labels(photos), AUS.index("AU12")
    shapes = np.stack([face.blendshapes for face in photos])
    difference = shapes[:, BLENDSHAPES.index("mouthSmileLeft")] - shapes[:, BLENDSHAPES.index("mouthSmileRight")]
    assert np.corrcoef(labels.left[:, a] - labels.right[:, a], difference)[0, 1] > 0.9
    assert labels.intensity.min() >= 0
    assert labels.intensity.max() <= 5


def test_pose_has_the_teachers_signs(photos: list[LabelledFace], tmp_path_factory: pytest.TempPathFactory) -> None:
    import cv2

    folder, network, ours = tmp_path_factory.mktemp("photos"), FaceLandmarks(PipelineConfig()), []
    turned = sorted(photos, key=lambda face: -float(np.abs(face.pose).max()))[:40]
    for i, face in enumerate(turned):
        cv2.imwrite(str(folder / f"{i}.png"), face.image[..., ::-1])
        with Decode(SourceConfig(path=str(folder / f"{i}.png"))) as decode:
            picture = next(iter(decode)).picture
        assert picture is not None
        ours.append(network(picture, roi_from_box(bounds(face.landmarks))[None]).pose[0])
    for axis in range(3):
        r = np.corrcoef([pose[axis] for pose in ours], [face.pose[axis] for face in turned])[0, 1]
        assert r > 0.7, ("pitch", "yaw", "roll")[axis]


def test_frames_of_a_clip_come_with_landmarks_on_the_face() -> None:
    face = load_clips("validation", every=40)[0]
    x0, y0, x1, y1 = bounds(face.landmarks)
    assert 0 < x0 < x1 < face.image.shape[1]
    assert 0 < y0 < y1 < face.image.shape[0]
    assert apply(roi_from_box(bounds(face.landmarks)), np.full(2, 64.0)).tolist() == pytest.approx(
        [(x0 + x1) / 2, (y0 + y1) / 2]
    )
