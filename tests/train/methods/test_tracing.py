from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from train.data.mesh import TELLING
from train.data.renders import Renders
from train.methods.tracing import SIDE, Tracer, TracingConfig, _seen
from train.models.backbones import build_backbone

CONFIG = TracingConfig(
    steps=1, batch=1, learning_rate=0.1, weight_decay=0.0, bf16=False, middle=0.6, renders="", first_person=0, seed=0,
    out="", run_folder="",
)  # fmt: skip
NOSE = 4  # tip


def one_face() -> Renders:
    """Landmarks on a circle but for those that the alignment reads, and a white spot on the tip of the nose."""
    angle = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    xy = np.stack([128 + 60 * np.cos(angle), 128 + 60 * np.sin(angle)], axis=1)
    for eye, x in (((33, 160, 158, 133, 153, 144), 100.0), ((362, 385, 387, 263, 373, 380), 156.0)):
        xy[list(eye)] = [x, 110.0]
    xy[[4, 61, 291]] = [[128, 135], [108, 160], [148, 160]]
    image = np.zeros((256, 256, 3), np.uint8)
    cv2.circle(image, (128, 135), 4, (255, 255, 255), -1)
    landmarks = np.concatenate([xy, np.zeros((478, 1))], axis=1)[None].astype(np.float32)
    nothing = np.zeros(0, np.float32)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    return Renders(
        [jpeg], nothing, nothing, landmarks, nothing.astype(np.uint8), nothing, nothing, nothing,
        nothing.astype(np.int64), nothing, nothing, nothing.astype(bool),
    )  # fmt: skip


def test_places_are_where_the_landmarks_are_seen() -> None:
    for rng in (None, np.random.default_rng(1), np.random.default_rng(2)):
        sample = _seen(one_face(), 0, CONFIG, rng)
        light = sample.image.astype(float).sum(axis=2)
        light = np.where(light > 0.6 * light.max(), light, 0)
        y, x = (np.arange(SIDE) + 0.5) @ light.sum(axis=1), (np.arange(SIDE) + 0.5) @ light.sum(axis=0)
        spot = np.array([x, y]) / light.sum()
        eyes = sample.places[[TELLING.index(33), TELLING.index(263)]] * SIDE + SIDE / 2
        assert np.linalg.norm(eyes[1] - eyes[0]) > 15  # the face alone fills the view
        below = spot - eyes.mean(axis=0)
        assert abs(np.linalg.norm(below) / np.linalg.norm(eyes[1] - eyes[0]) - 25 / 56) < 0.06


def test_encoders_read_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tracer = Tracer().eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    assert tracer(images).shape == (2, len(TELLING), 2)
    save_file(tracer.backbone.state_dict(), tmp_path / "light.safetensors")
    read = build_backbone("light", str(tmp_path / "light.safetensors")).eval()
    assert torch.equal(read(images), tracer.backbone(images))
