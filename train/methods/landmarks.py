"""The landmark network: recipe from the open photos and the teacher's landmarks to the artifact.

`python -m train landmarks --config configs/train/landmarks.yaml`
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import apply, inter_ocular, invert, region, roi_from_box, roi_from_landmarks
from rtau.boxes import bounds
from rtau.models import Card
from train.data.augment import jittered, occlude, photometric, warp
from train.data.clips import load_clips
from train.data.mesh import LANDMARKS, SHAPES, mean_shape, mirror_indices
from train.data.negatives import drawn, face_free_photos
from train.data.photos import LabelledFace, load_photos
from train.data.provenance import BACKGROUNDS, ICT_FACE, MAKEHUMAN, OPEN_MATERIAL
from train.data.renders import Renders, load_renders
from train.engine import fit
from train.export import MEAN, STD, normalised, when_and_where, write_artifact
from train.models.landmark_net import SIDE, LandmarkExport, LandmarkNet, LandmarkOutput

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


class LandmarksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    basis: int  # rank of the shape space
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    negatives: float  # share of crops without a face
    renders: str = "runs/synth"  # folder with train/ shards of `python -m train render`
    renders_share: float = 0.0  # of the faces drawn
    source_weights: dict[str, float]  # how often a picture of a source is drawn; 1 when not named
    seed: int
    out: str
    run_folder: str


class Sample(NamedTuple):
    image: UInt8  # (128, 128, 3)
    landmarks: Float32  # (478, 3) crop pixels; zeros without a face
    pose: Float32  # (3,) relative to the crop
    present: np.float32  # 1 or 0


def run(config: LandmarksConfig) -> None:
    """Train, export, and print the validation figures."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    faces = [*load_photos("train"), *load_clips("train", every=4)]
    validation = load_photos("validation")
    mean, basis = _shape_space([face.landmarks for face in faces], config.basis)
    net = LandmarkNet(config.widths, config.blocks, torch.from_numpy(mean), torch.from_numpy(basis))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    renders = load_renders(Path(config.renders) / "train", None) if config.renders_share else None
    crops = Crops(faces, renders, config)
    loader = DataLoader(crops, batch_size=config.batch, num_workers=1, prefetch_factor=6)
    weight = _point_weights(mean)
    trained, minutes = fit(
        net,
        loader,
        lambda model, batch: _losses(model, batch, weight),
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=500,
        report=lambda model, _: _describe(evaluate(model, validation)),
    )
    metrics = evaluate(trained, validation)
    print(_describe(metrics))
    card = Card(
        role="landmarks",
        name="rtau-landmarks",
        version="2",
        sha256="",
        input_size=SIDE,
        mean=MEAN,
        std=STD,
        outputs={
            "landmarks": "(N, 478, 3) x, y, z in crop pixels, order of the MediaPipe face mesh",
            "presence": "(N,) probability that the crop shows a face",
            "pose": "(N, 3) pitch, yaw, roll relative to the crop, degrees; up, to the subject's right, tilted right +",
        },
        trained_on=(*OPEN_MATERIAL, *((ICT_FACE, MAKEHUMAN) if renders else ()), BACKGROUNDS),
        command="python -m train landmarks --config configs/train/landmarks.yaml",
        trained=when_and_where(minutes),
        metrics={f"validation_{name}": round(value, 4) for name, value in metrics.items()},
        limits=(
            "profiles beyond 60 degrees of yaw were hardly in the training material",
            "children under 10 were not in the training material",
        ),
    )
    example = {"image": torch.randn(2, 3, SIDE, SIDE)}
    write_artifact(Path(config.out), LandmarkExport(trained), example, {"image": {0: "n"}}, card)  # type: ignore[arg-type]


class Crops(IterableDataset[Sample]):
    """An endless stream of augmented crops."""

    def __init__(self, faces: list[LabelledFace], renders: Renders | None, config: LandmarksConfig) -> None:
        self.faces, self.renders, self.config = faces, renders, config
        self.depth = float(np.mean([face.landmarks[:, 2].mean() / inter_ocular(face.landmarks) for face in faces]))
        self.mirror = mirror_indices(mean_shape([f.landmarks for f in faces if abs(f.pose[1]) < 25]))
        self.empty = face_free_photos()
        weights = np.array([config.source_weights.get(face.source.split("_")[0], 1.0) for face in faces])
        self.odds = weights / weights.sum()

    def __iter__(self) -> Iterator[Sample]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.config.seed, int(time.time())])
        while True:
            yield self.negative(rng) if rng.random() < self.config.negatives else self.positive(rng)

    def positive(self, rng: Generator) -> Sample:
        """A face, cropped as tracking or as detection would crop it."""
        if self.renders is not None and rng.random() < self.config.renders_share:
            face = self.renders.face(int(rng.integers(len(self.renders.jpegs))), self.depth)
        else:
            face = self.faces[rng.choice(len(self.faces), p=self.odds)]
        if rng.random() < 0.65:  # the last frame's landmarks
            transform = jittered(roi_from_landmarks(face.landmarks), SIDE, rng, 0.03, 1.08, 5)
        else:  # a detector's box
            transform = jittered(roi_from_box(bounds(face.landmarks)), SIDE, rng, 0.06, 1.17, 15)
        mirrored = rng.random() < 0.5
        image = warp(face.image, transform, (SIDE, SIDE), mirror=mirrored)
        xy = apply(invert(transform), face.landmarks[:, :2])
        landmarks = np.concatenate([xy, face.landmarks[:, 2:] / np.hypot(*transform[:, 0])], axis=1)
        turn_deg = np.degrees(np.arctan2(transform[1, 0], transform[0, 0]))
        pose = face.pose + np.array([0, 0, turn_deg], np.float32)
        if mirrored:
            landmarks = landmarks[self.mirror] * [-1, 1, 1] + [SIDE, 0, 0]
            pose = pose * np.array([1, -1, -1], np.float32)
        if rng.random() < 0.2:
            image = occlude(image, rng, self.faces[rng.integers(len(self.faces))].image)
        return Sample(photometric(image, rng), landmarks.astype(np.float32), pose.astype(np.float32), np.float32(1))

    def negative(self, rng: Generator) -> Sample:
        """A crop that shows no face, or one so far off that the track is lost."""
        kind = rng.random()
        if kind < 0.35:
            picture = self.empty[rng.integers(len(self.empty))]
            length = rng.uniform(40, min(picture.shape[:2]))
            centre = np.array([rng.uniform(length / 2, side - length / 2) for side in picture.shape[1::-1]])
            image = warp(picture, region(centre, length, rng.normal(0, 0.3), SIDE), (SIDE, SIDE))
        elif kind < 0.5:
            image = drawn(rng, SIDE)
        else:
            face = self.faces[rng.choice(len(self.faces), p=self.odds)]
            box = bounds(face.landmarks)
            size, centre = float((box[2:] - box[:2]).max()), (box[:2] + box[2:]) / 2
            if kind < 0.9:  # beside the face, on an ear, or far too small or too large
                angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.55, 1.3)
                centre = centre + away * size * np.array([np.cos(angle), np.sin(angle)])
                length = size * rng.uniform(0.5, 1.8)
            else:
                length = size * (rng.uniform(0.2, 0.5) if rng.random() < 0.5 else rng.uniform(3.5, 6))
            image = warp(face.image, region(centre, length, rng.normal(0, 0.3), SIDE), (SIDE, SIDE))
        return Sample(
            photometric(image, rng), np.zeros((LANDMARKS, 3), np.float32), np.zeros(3, np.float32), np.float32(0)
        )


def evaluate(model: nn.Module, faces: list[LabelledFace]) -> dict[str, float]:
    """Mean distance to the teacher / inter-ocular distance over two passes from a shaken box, by yaw; pose errors."""
    rng = np.random.default_rng(0)
    regions = [jittered(roi_from_box(bounds(face.landmarks)), SIDE, rng, 0.05, 1.1, 0) for face in faces]
    for _ in range(2):
        crops = np.stack([warp(face.image, t, (SIDE, SIDE)) for face, t in zip(faces, regions, strict=True)])
        out: LandmarkOutput = model(normalised(torch.from_numpy(crops)))
        points = [apply(t, p[:, :2]) for t, p in zip(regions, out.landmarks.numpy(), strict=True)]
        turns = np.degrees([np.arctan2(t[1, 0], t[0, 0]) for t in regions])
        regions = [roi_from_landmarks(p) for p in points]
    truth = np.stack([face.landmarks for face in faces])
    distance = np.linalg.norm(np.stack(points) - truth[..., :2], axis=-1).mean(axis=1) / inter_ocular(truth)
    pose = out.pose.numpy() - np.stack([np.zeros_like(turns), np.zeros_like(turns), turns], axis=1)
    wrong = np.abs(pose - np.stack([face.pose for face in faces]))
    frontal = np.abs([face.pose[1] for face in faces]) < 30
    fairface = np.array([face.source == "fairface" for face in faces])
    return {
        "nme_frontal": float(distance[frontal].mean()),
        "nme_fairface_frontal": float(distance[frontal & fairface].mean()),
        "nme_turned": float(distance[~frontal].mean()),
        "pitch_deg": float(wrong[:, 0].mean()),
        "yaw_deg": float(wrong[:, 1].mean()),
        "roll_deg": float(wrong[:, 2].mean()),
        "presence": float(out.presence.sigmoid().mean()),
    }


def _losses(model: nn.Module, batch: object, weight: Tensor) -> dict[str, Tensor]:
    sample = Sample(*batch)  # type: ignore[misc]
    image = normalised(torch.as_tensor(sample.image)).contiguous(memory_format=torch.channels_last)
    out: LandmarkOutput = model(image)
    present = torch.as_tensor(sample.present)
    count = present.sum().clamp(min=1)
    error = (out.landmarks - torch.as_tensor(sample.landmarks)).abs()
    error = torch.where(error < 1, 0.5 * error**2 + 0.5, error)  # close to the truth the gradient fades
    wrong = (out.landmarks - torch.as_tensor(sample.landmarks))[..., :2]
    form = torch.stack([_form_error(wrong[:, shape]) for shape in SHAPES]).mean(dim=0)  # (N,)
    turned = (out.pose - torch.as_tensor(sample.pose)).abs().mean(dim=1)
    return {
        "points": ((error * weight).mean(dim=(1, 2)) * present).sum() / count,
        "form": 1.5 * (form * present).sum() / count,
        "pose": 0.03 * (turned * present).sum() / count,
        "presence": 0.5 * nn.functional.binary_cross_entropy_with_logits(out.presence, present),
    }


def _form_error(wrong: Tensor) -> Tensor:
    """(N, P, 2) pixels by which points are off -> (N,) how much of it is not a shift of all of them."""
    return (wrong - wrong.mean(dim=1, keepdim=True)).abs().mean(dim=(1, 2))


def _point_weights(mean: Float32) -> Tensor:
    """(478, 3): the points that AUs move count more, the outline and the depth less."""
    xy = mean[:, :2] - mean[:, :2].mean(axis=0)
    outline = np.hypot(*(xy / np.abs(xy).max(axis=0)).T) > 0.8
    weight = np.where(outline, 0.6, 1.3)[:, None] * np.array([1, 1, 0.25])
    return torch.from_numpy(weight.astype(np.float32))


def _shape_space(faces: list[Float32], rank: int) -> tuple[Float32, Float32]:
    """Mean (478, 3) and principal directions (rank, 478, 3), one standard deviation long, in the crops' pixels."""
    shapes = []
    for landmarks in faces:
        transform = roi_from_landmarks(landmarks)
        xy = apply(invert(transform), landmarks[:, :2])
        shapes.append(np.concatenate([xy, landmarks[:, 2:] / np.hypot(*transform[:, 0])], axis=1).ravel())
    matrix = np.stack(shapes)
    mean = matrix.mean(axis=0)
    _, values, directions = np.linalg.svd(matrix - mean, full_matrices=False)
    scaled = directions[:rank] * (values[:rank, None] / np.sqrt(len(matrix)))
    return mean.reshape(LANDMARKS, 3).astype(np.float32), scaled.reshape(-1, LANDMARKS, 3).astype(np.float32)


def _describe(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
