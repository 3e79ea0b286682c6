"""Training scenes of the detector: boxes lie on the faces that were pasted, photographed or rendered."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from train.data.photos import LabelledFace
from train.data.renders import Renders
from train.methods.detector import DetectorConfig, Scenes
from train.synthesis.picture import OUTSIDE

RED, GREEN = (255, 0, 0), (0, 255, 0)


def config(share: float) -> DetectorConfig:
    raw = msgspec.yaml.decode(Path("configs/train/detector_rendered.yaml").read_bytes())
    return msgspec.convert(raw | {"rendered_share": share, "face_px": (40, 120)}, DetectorConfig)


def landmarks() -> NDArray[np.float32]:
    """478 points of a face that fills (30, 30)-(98, 98) of its picture of 128 px."""
    points = np.random.default_rng(0).uniform(32, 96, (478, 2))
    points[:4] = (30, 30), (98, 30), (30, 98), (98, 98)
    return np.concatenate([points, np.full((478, 1), 60.0)], axis=1).astype(np.float32)


def picture(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((128, 128, 3), colour, np.uint8)


def photo() -> LabelledFace:
    return LabelledFace("a", "us", picture(RED), landmarks(), np.zeros(3, np.float32), np.zeros(52, np.float32), 1, {})


def renders(outside: float) -> Renders:
    """Two rendered heads; of the second a share of the landmarks lies outside the picture."""
    visibility = np.zeros((2, 478), np.uint8)
    visibility[1, : int(478 * outside)] = OUTSIDE
    jpeg = cv2.imencode(".jpg", picture(GREEN)[..., ::-1])[1].tobytes()
    zeros, none = np.zeros((2, 20), np.float32), np.zeros((2, 0, 478, 2), np.float32)
    return Renders(
        [jpeg, jpeg], zeros, zeros, np.stack([landmarks()] * 2), visibility, np.zeros((2, 3), np.float32),
        np.stack([np.eye(3, dtype=np.float32)] * 2), np.full(2, 400.0, np.float32), np.arange(2),
        np.zeros(2, np.float32), none, np.ones(2, bool),
    )  # fmt: skip


def test_heads_cut_off_by_the_picture_are_not_used() -> None:
    assert Scenes([photo()], config(1.0), renders(0.5)).whole.tolist() == [0]
    assert Scenes([photo()], config(1.0), renders(0.0)).whole.tolist() == [0, 1]


@pytest.mark.parametrize(("share", "kind"), [(0.0, 0), (1.0, 1)])
def test_the_share_says_which_faces_are_pasted(share: float, kind: int) -> None:
    scenes, rng = Scenes([photo()], config(share), renders(0.0)), np.random.default_rng(3)
    pasted = [scenes._face(rng).image[5, 5] for _ in range(10)]
    assert all(pixel[kind] > 200 > pixel[1 - kind] for pixel in pasted)


def test_the_middle_of_every_target_box_shows_the_rendered_face() -> None:
    scenes, rng = Scenes([photo()], config(1.0), renders(0.0)), np.random.default_rng(0)
    seen = 0
    for _ in range(12):
        canvas, boxes = np.zeros((256, 256, 3), np.uint8), list[NDArray[np.float32]]()
        scenes._paste(canvas, boxes, rng, (0, 0, 256, 256), whole=False)
        for x0, y0, x1, y1 in boxes:
            pixel = canvas[int((y0 + y1) / 2), int((x0 + x1) / 2)]
            assert pixel[1] > 150 > pixel[0]
            assert 35 < x1 - x0 < 140
            seen += 1
    assert seen >= 10
