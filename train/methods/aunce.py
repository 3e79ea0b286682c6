"""The AU encoder: recipe with the AUNCE loss from the open photos and the teacher's pseudo-labels to the artifact.

`python -m train aunce --config configs/train/aunce_first.yaml`

AUNCE trains the encoder by contrast alone and judges it by a linear probe. The shipped encoder departs from that: the
contrast, a weighted cross-entropy on occurrence and a regression of left and right intensity train it together.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import apply, crop_transform, invert, roi_from_landmarks
from rtau.config import PipelineConfig
from rtau.engines import open_engine
from rtau.models import Card, load_artifact
from train.data.augment import jittered, occlude, photometric, warp
from train.data.clips import load_clips
from train.data.mesh import mean_shape, mirror_indices
from train.data.photos import LabelledFace, load_photos
from train.data.provenance import OPEN_MATERIAL
from train.data.pseudo_labels import AUS, SIDED, PseudoLabels, pseudo_labels
from train.engine import fit
from train.export import MEAN, STD, normalised, when_and_where, write_artifact
from train.losses.aunce import AUNCELoss
from train.losses.wce import WeightedBCE, class_weights
from train.models.megraph import AUExport, AUNet, AUOutput

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 112
INTER_OCULAR_PX = 40.0  # in the crop
EYE_LEVEL_PX = 42.0  # height of the eye line in the crop
_BLIND = 0.2  # share of views without landmarks
_MAX_CLASS_WEIGHT = 4.0  # very rare AUs have too few faces to carry more
STABLE_POINTS = (33, 133, 362, 263, 168, 6, 2, 98, 327)  # mesh points that expressions move little


class AunceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    channels: int
    neighbours: int
    steps: int
    batch: int  # faces; each is seen in two views
    learning_rate: float
    weight_decay: float
    contrast: float  # weight of the AUNCE loss
    cross_entropy: float
    regression: float
    source_weights: dict[str, float]
    seed: int
    out: str
    run_folder: str


class Sample(NamedTuple):
    """A face in two views."""

    images: UInt8  # (2, 112, 112, 3)
    points: Float32  # (2, 478, 2)
    left: Float32  # (2, A) intensity on the left of the face in the view: a mirrored view has its sides exchanged
    right: Float32  # (2, A)
    occurrence: NDArray[np.bool_]  # (A,)
    known: NDArray[np.bool_]  # (A,)


class Batch(NamedTuple):
    """Samples, collated: the fields of Sample with the batch in front."""

    images: Tensor
    points: Tensor
    left: Tensor
    right: Tensor
    occurrence: Tensor
    known: Tensor


def run(config: AunceConfig) -> None:
    """Train, export, and print the validation figures."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    faces = [*load_photos("train"), *load_clips("train", every=2)]
    validation = [*load_photos("validation"), *load_clips("validation", every=2)]
    labels, template = pseudo_labels(faces), crop_template(faces)
    rates = torch.from_numpy(_rates(labels)).float()
    weights = class_weights(rates).clamp(max=_MAX_CLASS_WEIGHT)
    contrast, entropy = AUNCELoss.paper(), WeightedBCE(weights)
    generator = torch.Generator().manual_seed(config.seed)
    net = AUNet(config.widths, config.blocks, config.channels, config.neighbours, SIDED)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def losses(model: nn.Module, loaded: object) -> dict[str, Tensor]:
        batch = Batch(*cast(Batch, loaded))
        images = normalised(batch.images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        out: AUOutput = model(images, batch.points.flatten(0, 1))
        first, second = out.embeddings[0::2], out.embeddings[1::2]
        occurrence, known = batch.occurrence, batch.known
        kinds = contrast.draw(len(AUS), generator)
        wrong = (out.left - batch.left.flatten(0, 1)).abs() + (out.right - batch.right.flatten(0, 1)).abs()
        twice = occurrence.repeat_interleave(2, dim=0), known.repeat_interleave(2, dim=0)
        return {
            "contrast": config.contrast * contrast(first, second, occurrence, known, kinds, weights),
            "entropy": config.cross_entropy * entropy(out.logits, *twice),
            "intensity": config.regression * wrong.mean() / 2,
        }

    own = own_landmarks(validation)
    truth = [_aligned(face.landmarks, template) for face in validation]
    errors = np.stack([_aligned(each, template) for each in own]) - np.stack(truth)
    stream = Views(faces, labels, template, errors, config)
    trained, minutes = fit(
        net,
        DataLoader(stream, batch_size=config.batch, num_workers=1, prefetch_factor=4),
        losses,
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=200,
        report=lambda model, _: _short(evaluate(model, validation, own, template)),
        ema_decay=0.995,
    )
    metrics = evaluate(trained, validation, own, template)
    print(metrics)
    card = Card(
        role="au",
        name="rtau-au-first",
        version="1",
        sha256="",
        input_size=SIDE,
        mean=MEAN,
        std=STD,
        outputs={
            "occurrence": "(N, A) probability; 0.5 where the intensity is 1",
            "intensity": "(N, A) 0-5, the stronger side",
            "left": "(N, A) 0-5, the subject's left",
            "right": "(N, A) 0-5, the subject's right",
        },
        aus=AUS,
        template=tuple((int(i), round(float(x), 3), round(float(y), 3)) for i, x, y in template),
        trained_on=OPEN_MATERIAL,
        command="python -m train aunce --config configs/train/aunce_first.yaml",
        trained=when_and_where(minutes),
        metrics={name: round(value, 4) for name, value in metrics.items()},
        limits=(
            "a first version, trained on a teacher's blendshapes and landmarks instead of FACS labels: intensities are "
            "ordered, but their scale is the teacher's",
            "AU05, AU06, AU09, AU14, AU15, AU20 and AU23 are not estimated: the teacher cannot see them",
            "AU04 is also high for heavy brows and deep-set eyes, AU10 for teeth shown in a smile, AU18 for beards, "
            "AU43 for looking down",
            "AU24 and AU28 were rare in the training material",
        ),
    )
    example = {"image": torch.randn(2, 3, SIDE, SIDE), "points": torch.rand(2, 478, 2) - 0.5}
    write_artifact(Path(config.out), AUExport(trained), example, {"image": {0: "n"}, "points": {0: "n"}}, card)  # type: ignore[arg-type]


class Views(IterableDataset[Sample]):
    """An endless stream of faces in two augmented views; rare AUs are drawn more often."""

    def __init__(
        self,
        faces: list[LabelledFace],
        labels: PseudoLabels,
        template: NDArray[np.float64],
        errors: NDArray[np.float64],
        config: AunceConfig,
    ) -> None:
        self.faces, self.labels, self.template, self.config = faces, labels, template, config
        frontal = [face.landmarks for face in faces if abs(face.pose[1]) < 25]
        self.mirror = mirror_indices(mean_shape(frontal))
        self.mean = np.mean([_aligned(face.landmarks, template) for face in faces], axis=0)
        self.errors = errors
        present = labels.occurrence & labels.known
        rarity = (present / present.mean(axis=0).clip(min=0.01)).mean(axis=1)
        source = np.array([config.source_weights.get(face.source.split("_")[0], 1.0) for face in faces])
        weights = source * (1 + rarity)
        self.odds = weights / weights.sum()

    def __iter__(self) -> Iterator[Sample]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.config.seed, int(time.time())])
        while True:
            i = int(rng.choice(len(self.faces), p=self.odds))
            flips = rng.random(2) < 0.5
            views = [self.view(self.faces[i], bool(mirrored), rng) for mirrored in flips]
            sides = np.stack([self.labels.left[i], self.labels.right[i]])
            left, right = (np.where(flips[:, None], sides[1 - side], sides[side]) for side in (0, 1))
            images, points = (np.stack(parts) for parts in zip(*views, strict=True))
            yield Sample(images, points, left, right, self.labels.occurrence[i], self.labels.known[i])

    def view(self, face: LabelledFace, mirrored: bool, rng: Generator) -> tuple[UInt8, Float32]:
        """One crop, with landmarks that err as the landmark network does on faces that it has not seen.

        Sometimes they say nothing at all, so that the picture has to be read too.
        """
        wrong = self.errors[rng.integers(len(self.errors))] * rng.uniform(0.3, 1.3)
        points = _aligned(face.landmarks, self.template) + wrong + rng.normal(0, 0.1, (478, 2))
        exact = crop_transform(face.landmarks, self.template)
        landmarks = apply(exact, points)
        transform = jittered(crop_transform(landmarks, self.template), SIDE, rng, 0.007, 1.02, 1.0)
        image = warp(face.image, transform, (SIDE, SIDE), mirror=mirrored)
        seen = apply(invert(crop_transform(landmarks, self.template)), landmarks)
        if mirrored:
            seen = seen[self.mirror] * [-1, 1] + [SIDE, 0]
        if rng.random() < 0.15:
            image = occlude(image, rng, self.faces[rng.integers(len(self.faces))].image)
        if rng.random() < _BLIND:
            seen = self.mean
        return photometric(image, rng, 0.9), network_points(seen)


def crop_template(faces: list[LabelledFace]) -> NDArray[np.float64]:
    """(9, 3) landmark index, x, y: where the stable points of the mean frontal face lie in the crop."""
    mean = mean_shape([face.landmarks for face in faces if abs(face.pose[1]) < 15])
    eyes = mean[[33, 133, 362, 263], :2].mean(axis=0)
    xy = (mean[list(STABLE_POINTS), :2] - eyes) * INTER_OCULAR_PX + [SIDE / 2, EYE_LEVEL_PX]
    mirror = {33: 263, 133: 362, 98: 327}
    mirror |= {b: a for a, b in mirror.items()}
    twin = [STABLE_POINTS.index(mirror.get(i, i)) for i in STABLE_POINTS]
    xy = (xy + (xy[twin] * [-1, 1] + [SIDE, 0])) / 2  # the same on both sides
    return np.concatenate([np.array(STABLE_POINTS, np.float64)[:, None], xy], axis=1)


def network_points(points: NDArray[np.floating]) -> Float32:
    """Landmarks (478, 2) in crop pixels as the network takes them."""
    return (points / SIDE - 0.5).astype(np.float32)


def own_landmarks(faces: list[LabelledFace]) -> list[Float32]:
    """What the shipped landmark network finds in the teacher's regions, (478, 3) each in picture pixels."""
    artifact = load_artifact("default", "landmarks")
    engine, side, found = open_engine(artifact, PipelineConfig()), artifact.card.input_size, []
    for face in faces:
        transform = roi_from_landmarks(face.landmarks)
        image = normalised(torch.from_numpy(warp(face.image, transform, (side, side))[None])).numpy()
        landmarks = engine({"image": np.ascontiguousarray(image)})["landmarks"][0]
        landmarks[:, :2] = apply(transform, landmarks[:, :2])
        found.append(landmarks)
    return found


def predict(
    model: nn.Module, faces: list[LabelledFace], landmarks: list[Float32], template: NDArray[np.float64]
) -> AUOutput:
    """The network on given landmarks."""
    outputs = []
    for start in range(0, len(faces), 64):
        some, where = faces[start : start + 64], landmarks[start : start + 64]
        transforms = [crop_transform(each, template) for each in where]
        images = np.stack([warp(f.image, t, (SIDE, SIDE)) for f, t in zip(some, transforms, strict=True)])
        points = [network_points(apply(invert(t), each[:, :2])) for each, t in zip(where, transforms, strict=True)]
        outputs.append(model(normalised(torch.from_numpy(images)), torch.from_numpy(np.stack(points))))
    return AUOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))


def evaluate(
    model: nn.Module, faces: list[LabelledFace], landmarks: list[Float32], template: NDArray[np.float64]
) -> dict[str, float]:
    """Against the teacher's pseudo-labels: ROC-AUC of occurrence and correlation of intensity per AU."""
    labels, out = pseudo_labels(faces), predict(model, faces, landmarks, template)
    metrics: dict[str, float] = {}
    for a, au in enumerate(AUS):
        known, wanted = labels.known[:, a], labels.occurrence[:, a]
        scores = out.intensity[:, a].numpy()
        if 3 <= wanted[known].sum() < known.sum():
            metrics[f"validation_auc_{au}"] = float(roc_auc_score(wanted[known], scores[known]))
        metrics[f"validation_r_{au}"] = float(np.corrcoef(scores, labels.intensity[:, a])[0, 1])
    return metrics


def _short(metrics: dict[str, float]) -> str:
    areas = [value for name, value in metrics.items() if "_auc_" in name]
    correlations = {name[-4:]: round(value, 2) for name, value in metrics.items() if "_r_" in name}
    return f"mean auc {np.mean(areas):.4f} r {correlations}"


def _aligned(landmarks: Float32, template: NDArray[np.float64]) -> NDArray[np.float64]:
    return apply(invert(crop_transform(landmarks, template)), landmarks[:, :2])


def _rates(labels: PseudoLabels) -> NDArray[np.float64]:
    """(A,) share of clear labels that are active."""
    return np.asarray((labels.occurrence & labels.known).sum(axis=0) / labels.known.sum(axis=0).clip(min=1)).clip(0.02)
