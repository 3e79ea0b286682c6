"""The AU encoder: recipe with the AUNCE loss from rendered faces and open photos to the artifact.

`python -m train au-encoder --config configs/train/au_encoder.yaml`

AUNCE trains the encoder by contrast alone and judges it by a linear probe. The shipped encoder departs from that: the
contrast, a weighted cross-entropy on occurrence and a regression of left and right intensity train it together.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import apply, crop_transform, invert, roi_from_landmarks
from rtau.config import PipelineConfig
from rtau.engines import open_engine
from rtau.facs import AU_COLUMNS, CATALOGUE
from rtau.models import Card, load_artifact
from train.data.augment import coloured_like, jittered, occlude, photometric, warp
from train.data.clips import load_clips
from train.data.coded import Coded, load_coded, taught_by_coding
from train.data.crops import crop_template
from train.data.mesh import TELLING, mean_shape, mirror_indices
from train.data.photos import LabelledFace, load_photos
from train.data.provenance import BACKGROUNDS, CODING, ICT_FACE, MAKEHUMAN, OPEN_MATERIAL
from train.data.pseudo_labels import training_labels
from train.data.renders import Renders, load_renders
from train.engine import averaged_weights, fit
from train.evaluation.agreement import icc31
from train.export import MEAN, STD, normalised, when_and_where, write_artifact
from train.losses.aunce import AUNCELoss
from train.losses.wce import WeightedBCE, class_weights
from train.models.au_net import AUExport, AUNet, AUOutput

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 128
SIDED = tuple(au.sided for au in CATALOGUE)
_UNSURE = 0.4  # intensities this near to the occurrence threshold are not used as occurrence
_BLIND = 0.15  # share of views without landmarks
_REAL_COLOURS = 0.3  # share of rendered views that take over the colours of a photo
_EMPHASIS = 0.4  # how much more an intensity counts per level
_SLOPES = (0.3, 12.0)  # of a probability, per level of intensity
_MAX_CLASS_WEIGHT = 4.0  # very rare AUs have too few faces to carry more


class AUEncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    channels: int
    neighbours: int
    steps: int
    batch: int  # faces of each process; each is seen in two views
    processes: int  # that train together, a core each
    learning_rate: float
    weight_decay: float
    contrast: float  # weight of the AUNCE loss
    cross_entropy: float
    regression: float
    tracing: float  # of what the pixels say of the landmarks
    agreement: float  # of the two views of a face, where something is known
    bf16: bool  # forward passes in bfloat16, where the processor has it
    renders: str  # folder with shards of `python -m train render`
    held_out: str  # the same, of validation people
    renders_share: float  # of the faces drawn
    initial: str | None = None  # folder of a run whose weights this one goes on from
    landmarks: str = "default"  # the landmark network whose points are read
    source_weights: dict[str, float]
    seed: int
    out: str
    run_folder: str


class View(NamedTuple):
    """One augmented crop: image, points, traced and moved of `Sample`."""

    image: UInt8
    points: Float32
    traced: Float32
    moved: Float32


class Sample(NamedTuple):
    """A face in two views."""

    images: UInt8  # (2, 128, 128, 3)
    points: Float32  # (2, 478, 2)
    traced: Float32  # (2, P, 2) where the landmarks of `TELLING` are, in crop pixels from their usual places
    moved: Float32  # (2, P, 2) the same, from where `points` has them
    left: Float32  # (2, A) intensity on the left of the face in the view: a mirrored view has its sides exchanged
    right: Float32  # (2, A)
    left_weight: Float32  # (2, A) how far they are to be believed, 0-1
    right_weight: Float32  # (2, A)
    occurrence: NDArray[np.bool_]  # (A,)
    known: NDArray[np.bool_]  # (A,)
    flipped: NDArray[np.bool_]  # () whether one view is a mirror image of the other


class Batch(NamedTuple):
    """Samples, collated: the fields of Sample with the batch in front."""

    images: Tensor
    points: Tensor
    traced: Tensor
    moved: Tensor
    left: Tensor
    right: Tensor
    left_weight: Tensor
    right_weight: Tensor
    occurrence: Tensor
    known: Tensor
    flipped: Tensor


def run(config: AUEncoderConfig) -> None:
    """Train, export, and print the validation figures."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    faces = [*load_photos("train"), *load_clips("train", every=2)]
    photos = [*load_photos("validation"), *load_clips("validation", every=2)]
    renders, held_out = (load_renders(Path(each), config.landmarks) for each in (config.renders, config.held_out))
    print(f"{len(faces)} photos and frames, {len(renders.jpegs)} rendered faces", flush=True)
    template, own = crop_template(faces, SIDE), own_landmarks(photos, config.landmarks)
    truth = [_aligned(face.landmarks, template) for face in photos]
    errors = np.stack([_aligned(each, template) for each in own]) - np.stack(truth)
    coded = load_coded().of([face.name for face in photos])
    stream = Views(faces, renders, template, errors, config)
    rates = torch.from_numpy(stream.rates()).float()
    weights = class_weights(rates).clamp(max=_MAX_CLASS_WEIGHT)
    contrast, entropy = AUNCELoss.paper(), WeightedBCE(weights)
    generator = torch.Generator().manual_seed(config.seed)
    usual = torch.from_numpy(network_points(stream.mean))
    net = AUNet(config.widths, config.blocks, config.channels, config.neighbours, SIDED, TELLING, usual, SIDE)
    if config.initial is not None:
        net.load_state_dict(averaged_weights(Path(config.initial)))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def losses(model: nn.Module, loaded: object) -> dict[str, Tensor]:
        batch = Batch(*cast(Batch, loaded))
        images = normalised(batch.images.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            out: AUOutput = model(images, batch.points.flatten(0, 1))
        out = AUOutput(*(part.float() for part in out))
        first, second = out.embeddings[0::2], out.embeddings[1::2]
        occurrence, known = batch.occurrence, batch.known
        kinds = contrast.draw(len(AU_COLUMNS), generator)
        labels = torch.stack([batch.left, batch.right]).flatten(1, 2)
        moved = batch.moved.flatten(0, 1)[:, None]  # (2B, 1, P, 2)
        believed = torch.stack([batch.left_weight, batch.right_weight]).flatten(1, 2)
        believed = believed * (1 + _EMPHASIS * labels)  # most AUs are absent in most faces
        wrong = smooth_l1_loss(torch.stack([out.left, out.right]), labels, reduction="none") * believed
        both = (batch.left_weight + batch.right_weight).amin(dim=1, keepdim=True).transpose(1, 2) > 0  # (B, A, 1)
        one, other = (torch.stack([out.left[i::2], out.right[i::2]], dim=-1) for i in (0, 1))  # (B, A, 2)
        other = torch.where(batch.flipped[:, None, None], other.flip(-1), other)
        twice = occurrence.repeat_interleave(2, dim=0), known.repeat_interleave(2, dim=0)
        return {
            "contrast": config.contrast * contrast(first, second, occurrence, known, kinds, weights),
            "entropy": config.cross_entropy * entropy(out.logits, *twice),
            "intensity": config.regression * wrong.sum() / believed.sum().clamp(min=1),
            "tracing": config.tracing * smooth_l1_loss(out.traced, batch.traced.flatten(0, 1), beta=0.5),
            "moving": 2 * config.tracing * smooth_l1_loss(out.moved, moved.expand_as(out.moved), beta=0.3),
            "agreement": config.agreement * (smooth_l1_loss(one, other, reduction="none", beta=0.5) * both).mean(),
        }

    def measure(model: nn.Module) -> dict[str, float]:
        found = predict_renders(model, held_out, template)
        return evaluate(model, photos, own, template, coded) | judge(held_out, *found)

    trained, minutes = fit(
        net,
        DataLoader(stream, batch_size=config.batch, num_workers=1, prefetch_factor=4),
        losses,
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=750,
        report=lambda model, _: _short(measure(model)),
        ema_decay=0.998,
        processes=config.processes,
    )
    assert isinstance(trained, AUNet)
    chosen, out = predict_renders(trained, held_out, template)
    strongest = np.maximum(held_out.left, held_out.right)[chosen]  # NaN where one side is covered
    slopes = honest_slopes(out.intensity.numpy(), strongest >= 1, np.isfinite(strongest))
    trained.slope.copy_(torch.from_numpy(slopes).expm1().log())  # softplus undone
    metrics = evaluate(trained, photos, own, template, coded) | judge(held_out, chosen, out)
    print(metrics)
    card = Card(
        role="au",
        name="rtau-au",
        version="8",
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
        aus=AU_COLUMNS,
        template=tuple((int(i), round(float(x), 3), round(float(y), 3)) for i, x, y in template),
        trained_on=(*OPEN_MATERIAL, CODING, ICT_FACE, MAKEHUMAN, BACKGROUNDS),
        command="python -m train au-encoder --config configs/train/au_encoder.yaml",
        trained=when_and_where(minutes),
        metrics={name: round(value, 4) for name, value in metrics.items()},
        limits=LIMITS,
    )
    example = {"image": torch.randn(2, 3, SIDE, SIDE), "points": torch.rand(2, 478, 2) - 0.5}
    write_artifact(Path(config.out), AUExport(trained), example, {"image": {0: "n"}, "points": {0: "n"}}, card)


LIMITS = (
    "trained without material of certified FACS coders: exact labels come from rendered faces, labels of photographs "
    "from a coding by eye (docs/coding.md), and those of the frames that it left out from a teacher's blendshapes",
    "few real faces that it learnt from show AU 9, 15, 18, 20, 23 and 28",
    "rely on AU 1, 2, 4, 6, 7, 10, 12, 25, 26 and 43; take AU 9, 14, 15, 17, 20 and 24 as hints, for ten or fewer real "
    "faces that it did not learn from show each; AU 5, 18, 23 and 28 are not proven in real faces: fewer than five do",
    "AU14, AU20, AU23 and AU24 move the rendered mesh by about a millimetre; do not rely on them below intensity 3",
)


class Views(IterableDataset[Sample]):
    """An endless stream of faces, rendered and real, in two augmented views; rare AUs are drawn more often."""

    def __init__(
        self,
        faces: list[LabelledFace],
        renders: Renders,
        template: NDArray[np.float64],
        errors: NDArray[np.float64],
        config: AUEncoderConfig,
    ) -> None:
        self.faces, self.renders, self.template, self.config, self.errors = faces, renders, template, config, errors
        self.labels = taught_by_coding(training_labels(faces), [face.name for face in faces], load_coded())
        frontal = [face.landmarks for face in faces if abs(face.pose[1]) < 25]
        self.mirror = mirror_indices(mean_shape(frontal))
        self.mean = np.mean([_aligned(face.landmarks, template) for face in faces], axis=0)
        source = np.array([config.source_weights.get(face.source.split("_")[0], 1.0) for face in faces])
        labels = self.labels
        self.odds = _odds(np.maximum(labels.left, labels.right) * (labels.weight > 0), source)
        shown = np.nan_to_num(np.maximum(renders.left, renders.right))
        self.render_odds = _odds(shown, renders.usable.astype(np.float64))

    def rates(self) -> NDArray[np.float64]:
        """(A,) share of faces drawn that show each AU, at least 2 %."""
        shown = np.nan_to_num(np.maximum(self.renders.left, self.renders.right)) >= 1
        return np.asarray((shown * self.render_odds[:, None]).sum(axis=0).clip(0.02))

    def __iter__(self) -> Iterator[Sample]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.config.seed, int(time.time()), os.getpid()])
        while True:
            flips = rng.random(2) < 0.5
            if rng.random() < self.config.renders_share:
                i = int(rng.choice(len(self.render_odds), p=self.render_odds))
                image = self.renders.image(i)
                views = [self.rendered_view(i, image, bool(mirrored), rng) for mirrored in flips]
                left, right = self.renders.left[i], self.renders.right[i]
                sides = np.nan_to_num(np.stack([left, right]))
                weights = np.isfinite(np.stack([left, right])).astype(np.float32)
                strongest = np.maximum(left, right)  # NaN where one side is covered
                occurrence, known = strongest >= 1, np.abs(strongest - 1) > _UNSURE
            else:
                i = int(rng.choice(len(self.odds), p=self.odds))
                views = [self.view(self.faces[i], bool(mirrored), rng) for mirrored in flips]
                sides = np.stack([self.labels.left[i], self.labels.right[i]])
                weights = np.stack([self.labels.weight[i]] * 2)
                occurrence, known = sides.max(axis=0) >= 1, self.labels.known[i]
            swapped = np.stack([sides[::-1] if mirrored else sides for mirrored in flips], axis=1)
            believed = np.stack([weights[::-1] if mirrored else weights for mirrored in flips], axis=1)
            images, points, traced, moved = (np.stack(parts) for parts in zip(*views, strict=True))
            yield Sample(
                images,
                points,
                traced,
                moved,
                swapped[0],
                swapped[1],
                believed[0],
                believed[1],
                occurrence,
                known,
                flips[0] != flips[1],
            )

    def view(self, face: LabelledFace, mirrored: bool, rng: Generator) -> View:
        """One crop of a photo, with landmarks that err as the landmark network does on faces that it has not seen."""
        wrong = self.errors[rng.integers(len(self.errors))] * rng.uniform(0.3, 1.3)
        points = _aligned(face.landmarks, self.template) + wrong + rng.normal(0, 0.13, (478, 2))
        landmarks = apply(crop_transform(face.landmarks, self.template), points)
        return self._seen(face.image, landmarks, face.landmarks[:, :2], mirrored, rng)

    def rendered_view(self, i: int, image: UInt8, mirrored: bool, rng: Generator) -> View:
        """One crop of a rendered face, with the landmarks that the network found in it."""
        found = self.renders.found[i]
        landmarks = found[rng.integers(len(found))] + rng.normal(0, 0.15, (478, 2))
        return self._seen(image, landmarks, self.renders.taught(i)[:, :2], mirrored, rng, real=False)

    def _seen(
        self,
        image: UInt8,
        landmarks: NDArray[np.floating],
        truth: Float32,
        mirrored: bool,
        rng: Generator,
        real: bool = True,
    ) -> View:
        """Sometimes the landmarks say nothing at all, so that the picture has to be read too."""
        transform = jittered(crop_transform(landmarks, self.template), SIDE, rng, 0.005, 1.015, 1.0)
        crop = warp(image, transform, (SIDE, SIDE), mirror=mirrored)
        seen, there = apply(invert(transform), landmarks), apply(invert(transform), truth)
        if mirrored:
            seen, there = (points[self.mirror] * [-1, 1] + [SIDE, 0] for points in (seen, there))
        if not real and rng.random() < _REAL_COLOURS:
            crop = coloured_like(crop, self.faces[rng.integers(len(self.faces))].image)
        if rng.random() < 0.1:
            crop = occlude(crop, rng, self.faces[rng.integers(len(self.faces))].image)
        if rng.random() < _BLIND:
            seen = self.mean
        traced, moved = ((there - places)[list(TELLING)].astype(np.float32) for places in (self.mean, seen))
        return View(photometric(crop, rng, 0.9), network_points(seen), traced, moved)


def _odds(shown: NDArray[np.floating], source: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) how often each face is drawn: by its source, and more often the rarer its AUs (F, A) are."""
    present = shown >= 1
    rarity = (present / present.mean(axis=0).clip(min=0.01)).mean(axis=1)
    weights = source * (1 + rarity)
    return np.asarray(weights / weights.sum())


def network_points(points: NDArray[np.floating]) -> Float32:
    """Landmarks (478, 2) in crop pixels as the network takes them."""
    return (points / SIDE - 0.5).astype(np.float32)


def own_landmarks(faces: list[LabelledFace], model: str = "default") -> list[Float32]:
    """What a landmark network finds in the teacher's regions, (478, 3) each in picture pixels."""
    artifact = load_artifact(model, "landmarks")
    engine, side, found = open_engine(artifact, PipelineConfig()), artifact.card.input_size, []
    for face in faces:
        transform = roi_from_landmarks(face.landmarks)
        image = normalised(torch.from_numpy(warp(face.image, transform, (side, side))[None])).numpy()
        landmarks = engine({"image": np.ascontiguousarray(image)})["landmarks"][0]
        landmarks[:, :2] = apply(transform, landmarks[:, :2])
        found.append(landmarks)
    return found


def predict(model: nn.Module, faces: Iterable[tuple[UInt8, Float32]], template: NDArray[np.float64]) -> AUOutput:
    """The network on pictures with the landmarks given in them."""
    images, points = [], []
    for image, landmarks in faces:
        transform = crop_transform(landmarks, template)
        images.append(warp(image, transform, (SIDE, SIDE)))
        points.append(network_points(apply(invert(transform), landmarks[:, :2])))
    outputs = []
    for start in range(0, len(images), 64):
        some = torch.from_numpy(np.stack(images[start : start + 64]))
        outputs.append(model(normalised(some), torch.from_numpy(np.stack(points[start : start + 64]))))
    return AUOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))


def evaluate(
    model: nn.Module, faces: list[LabelledFace], landmarks: list[Float32], template: NDArray[np.float64], coded: Coded
) -> dict[str, float]:
    """Against the coding by eye of the same faces: ROC-AUC of occurrence and rank correlation of intensity per AU."""
    out = predict(model, zip((face.image for face in faces), landmarks, strict=True), template).intensity.numpy()
    present, absent, intensity = coded.present, coded.absent, coded.intensity.max(axis=1)
    metrics: dict[str, float] = {}
    for a, au in enumerate(AU_COLUMNS):
        clear, told = present[:, a] | absent[:, a], np.isfinite(intensity[:, a])
        if 3 <= present[:, a].sum() < clear.sum():
            metrics[f"validation_auc_{au}"] = float(roc_auc_score(present[clear, a], out[clear, a]))
        metrics[f"validation_r_{au}"] = float(spearmanr(out[told, a], intensity[told, a]).statistic)
    return metrics


def predict_renders(
    model: nn.Module, renders: Renders, template: NDArray[np.float64]
) -> tuple[NDArray[np.int64], AUOutput]:
    """Which rendered faces (F,) can be used, and the network on the landmarks found in them."""
    chosen = np.flatnonzero(renders.usable)
    return chosen, predict(model, ((renders.image(int(i)), renders.found[i, 0]) for i in chosen), template)


def judge(renders: Renders, chosen: NDArray[np.int64], out: AUOutput) -> dict[str, float]:
    """What `predict_renders` gave, against the truth: ROC-AUC of occurrence and ICC(3,1) of both sides' intensities."""
    metrics: dict[str, float] = {}
    for a, au in enumerate(AU_COLUMNS):
        left, right = renders.left[chosen, a], renders.right[chosen, a]
        both = np.isfinite(left) & np.isfinite(right)
        wanted = np.maximum(left, right)[both] >= 1
        metrics[f"renders_auc_{au}"] = float(roc_auc_score(wanted, np.asarray(out.intensity)[both, a]))
        truth = np.concatenate([left[both], right[both]])
        estimate = np.concatenate([np.asarray(out.left)[both, a], np.asarray(out.right)[both, a]])
        metrics[f"renders_icc_{au}"] = icc31(truth, estimate)
    return metrics


def honest_slopes(intensity: Float32, wanted: NDArray[np.bool_], known: NDArray[np.bool_]) -> Float32:
    """(A,) how steeply each AU's probability rises with its intensity (N, A), so that it is right on average.

    The probability stays a half where the intensity is 1; the slope is the likeliest given the AUs shown (N, A).
    """

    def surprise(slope: float, above: Float32, shown: NDArray[np.bool_]) -> float:
        return float(np.logaddexp(0, np.where(shown, -slope, slope) * above).mean())

    slopes = []
    for a in range(intensity.shape[1]):
        there = known[:, a]
        given = intensity[there, a] - 1, wanted[there, a]
        slopes.append(minimize_scalar(surprise, bounds=_SLOPES, args=given, method="bounded").x)
    return np.array(slopes, np.float32)


def _short(metrics: dict[str, float]) -> str:
    def mean(prefix: str) -> str:
        return f"{np.mean([value for name, value in metrics.items() if name.startswith(prefix)]):.4f}"

    ranks = {name[-4:]: round(value, 2) for name, value in metrics.items() if "_r_" in name}
    weak = {name[-4:]: round(value, 2) for name, value in metrics.items() if "_icc_" in name}
    rendered = f"renders auc {mean('renders_auc')} icc {mean('renders_icc')} {weak}"
    return f"{rendered}; photos auc {mean('validation_auc')} r {mean('validation_r')} {ranks}"


def _aligned(landmarks: Float32, template: NDArray[np.float64]) -> NDArray[np.float64]:
    return apply(invert(crop_transform(landmarks, template)), landmarks[:, :2])
