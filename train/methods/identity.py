"""The identity encoder: CL-ILE's stage 1 over rendered people, anchored on photographs.

`python -m train identity --config configs/train/identity.yaml`

Stage 1 of CL-ILE (Lian et al., BMVC 2023) reads each subject's AUs with label embeddings of that subject alone. Two
terms are ours, because that loss does not ask who somebody is: an embedding is to be nearest to its own subject's label
embeddings, and two views of a photographed person nearer to each other than to other people.
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
from sklearn.metrics import roc_curve
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import crop_transform
from rtau.facs import AU_COLUMNS
from rtau.models import Card
from train.data.augment import jittered, occlude, photometric, warp
from train.data.clips import load_clips
from train.data.crops import crop_template
from train.data.photos import LabelledFace, load_photos
from train.data.provenance import BACKGROUNDS, ICT_FACE, MAKEHUMAN, OPEN_MATERIAL
from train.data.renders import Renders, load_renders
from train.engine import averaged_weights, fit
from train.export import MEAN, STD, normalised, when_and_where, write_artifact
from train.losses.wce import WeightedBCE, class_weights
from train.models.identity_net import IdentityExport, IdentityNet

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 112
_MAX_YAW_DEG = 50.0
_FALSE_ACCEPTS = 0.0005  # of pairs of strangers: a stranger is nearer than that to somebody in a gallery of 20 in 1 %


class IdentityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    size: int  # of the embedding
    steps: int
    people: int  # rendered people in a batch, two pictures each
    photos: int  # photographed people in a batch, two views each
    learning_rate: float
    weight_decay: float
    temperature: float  # of the likeness to subjects, and between views
    margin: float  # by which the own subject must be nearer
    labels: float  # weight of CL-ILE's stage 1 loss
    bf16: bool  # forward passes in bfloat16, where the processor has it
    renders: str  # folder with train/ and validation/ shards of `python -m train render`
    initial: str | None = None  # folder of an AU encoder's run whose convolutions are taken over
    seed: int
    out: str
    run_folder: str


class Batch(NamedTuple):
    """P rendered people, then Q photographed ones, each twice in a row."""

    images: UInt8  # (2P + 2Q, 112, 112, 3)
    subject: NDArray[np.int64]  # (2P,)
    occurrence: NDArray[np.bool_]  # (2P, A)
    known: NDArray[np.bool_]  # (2P, A)


def run(config: IdentityConfig) -> None:
    """Train, export, and print the validation figures."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    faces = [face for face in [*load_photos("train"), *load_clips("train", every=4)] if "caltech" not in face.source]
    template = crop_template(faces, SIDE)
    renders, held_out = (load_renders(Path(config.renders) / split, None) for split in ("train", "validation"))
    stream = Pairs(faces, renders, template, config)
    shown = np.nan_to_num(np.maximum(renders.left, renders.right)) >= 1
    entropy = WeightedBCE(class_weights(torch.from_numpy(shown.mean(axis=0).clip(0.02)).float()).clamp(max=4))
    net = IdentityNet(config.widths, config.blocks, config.size, stream.subjects, len(AU_COLUMNS), SIDE)
    if config.initial is not None:
        earlier = averaged_weights(Path(config.initial))
        net.load_state_dict({n: v for n, v in earlier.items() if n.startswith("stages")}, strict=False)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def losses(model: nn.Module, loaded: object) -> dict[str, Tensor]:
        batch = (torch.as_tensor(part) for part in cast(Batch, loaded))
        images, subject, occurrence, known = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            embedding = model(normalised(images).contiguous(memory_format=torch.channels_last)).float()
        rendered, photographed = embedding[: len(subject)], embedding[len(subject) :]
        own = cast(IdentityNet, model)
        likeness = own.likeness(rendered) - config.margin * nn.functional.one_hot(subject, own.labels.shape[0])
        return {
            "labels": config.labels * entropy(own.au_logits(rendered, subject), occurrence, known),
            "subject": cross_entropy(likeness / config.temperature, subject),
            "views": same_person(photographed, config.temperature),
        }

    trained, minutes = fit(
        net,
        DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4),
        losses,
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=150,
        report=lambda model, _: str(evaluate_renders(model, held_out, template)),
        ema_decay=0.99,
    )
    metrics = evaluate_renders(trained, held_out, template)
    unlike = strangers(trained, load_photos("validation"), template)
    metrics |= {"stranger_median": float(np.median(unlike)), "stranger_99": float(np.quantile(unlike, 0.99))}
    accept = float(np.quantile(unlike, 1 - _FALSE_ACCEPTS))
    print(metrics, accept)
    card = Card(
        role="identity",
        name="rtau-identity",
        version="2",
        sha256="",
        input_size=SIDE,
        mean=MEAN,
        std=STD,
        outputs={"embedding": f"(N, {config.size}) of unit length; the cosine of two says how alike two faces are"},
        template=tuple((int(i), round(float(x), 3), round(float(y), 3)) for i, x, y in template),
        accept=round(accept, 2),
        trained_on=(*OPEN_MATERIAL, ICT_FACE, MAKEHUMAN, BACKGROUNDS),
        command="python -m train identity --config configs/train/identity.yaml",
        trained=when_and_where(minutes),
        metrics={name: round(value, 4) for name, value in metrics.items()},
        limits=(
            "trained on rendered people and on single photographs: hair, glasses and light of the day weigh more than "
            "in encoders trained on many photographs of each person",
            "for telling the people in front of one camera apart, not for identification or access control",
        ),
    )
    example = {"image": torch.randn(2, 3, SIDE, SIDE)}
    write_artifact(Path(config.out), IdentityExport(trained), example, {"image": {0: "n"}}, card)  # type: ignore[arg-type]


class Pairs(IterableDataset[Batch]):
    """An endless stream of batches."""

    def __init__(
        self, faces: list[LabelledFace], renders: Renders, template: NDArray[np.float64], config: IdentityConfig
    ) -> None:
        self.renders, self.template, self.config = renders, template, config
        usable = np.flatnonzero(np.abs(renders.pose[:, 1]) < _MAX_YAW_DEG)
        people, self.place = np.unique(renders.person[usable], return_inverse=True)
        self.pictures = [usable[self.place == p] for p in range(len(people))]
        self.subjects = len(people)
        named: dict[str, list[LabelledFace]] = {}
        for face in faces:
            single = ":" not in face.name  # frames of a clip with one person show one person
            if single or face.faces_in_picture == 1:
                named.setdefault(face.name if single else face.source, []).append(face)
        self.photographed = list(named.values())

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.config.seed, int(time.time())])
        while True:
            subjects = rng.choice(self.subjects, self.config.people, replace=False)
            chosen = [rng.choice(self.pictures[s], 2, replace=len(self.pictures[s]) < 2) for s in subjects]
            flat = np.concatenate(chosen)
            views = [self.view(self.renders.image(int(i)), self.renders.landmarks[i], rng) for i in flat]
            for person in rng.choice(len(self.photographed), self.config.photos, replace=False):
                pictures = self.photographed[person]
                for k in rng.integers(len(pictures), size=2):
                    views.append(self.view(pictures[k].image, pictures[k].landmarks, rng))
            strongest = np.maximum(self.renders.left[flat], self.renders.right[flat])
            yield Batch(np.stack(views), np.repeat(subjects, 2), strongest >= 1, np.isfinite(strongest))

    def view(self, image: UInt8, landmarks: Float32, rng: Generator) -> UInt8:
        """One augmented crop (112, 112, 3)."""
        transform = crop_transform(landmarks, self.template)
        crop = warp(
            image, jittered(transform, SIDE, rng, 0.015, 1.04, 2.0), (SIDE, SIDE), mirror=bool(rng.random() < 0.5)
        )
        if rng.random() < 0.1:
            crop = occlude(crop, rng, image)
        return photometric(crop, rng)


def same_person(embeddings: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020) over (2Q, d) embeddings whose neighbours 2k and 2k + 1 show one person."""
    unit = normalize(embeddings, dim=1)
    similar = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(unit)) ^ 1
    return cross_entropy(similar, partner)


def embed(
    model: nn.Module, images: list[UInt8], landmarks: list[Float32], template: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Unit embeddings (F, d) of whole pictures."""
    parts = []
    for start in range(0, len(images), 64):
        pairs = zip(images[start : start + 64], landmarks[start : start + 64], strict=True)
        crops = [warp(image, crop_transform(points, template), (SIDE, SIDE)) for image, points in pairs]
        parts.append(normalize(model(normalised(torch.from_numpy(np.stack(crops)))), dim=1))
    return np.asarray(torch.cat(parts).numpy())


def strangers(model: nn.Module, photos: list[LabelledFace], template: NDArray[np.float64]) -> NDArray[np.float32]:
    """Cosines of all pairs of photos of different people. Caltech's are left out: they show few people many times."""
    singles = [photo for photo in photos if "caltech" not in photo.source]
    found = embed(model, [photo.image for photo in singles], [photo.landmarks for photo in singles], template)
    return np.asarray((found @ found.T)[np.triu_indices(len(found), 1)])


def evaluate_renders(model: nn.Module, renders: Renders, template: NDArray[np.float64]) -> dict[str, float]:
    """On rendered people that no training saw, two random pictures of each: rank-1, and equal error rate of pairs."""
    usable = np.flatnonzero(np.abs(renders.pose[:, 1]) < _MAX_YAW_DEG)
    images = [renders.image(int(i)) for i in usable]
    found = embed(model, images, [renders.landmarks[i] for i in usable], template)
    return recognition(found, renders.person[usable])


def recognition(embeddings: NDArray[np.float32], person: NDArray[np.int64]) -> dict[str, float]:
    """`rank1`: the nearest other picture shows the same person. `eer`: of all pairs, where false accepts and rejects
    are equally frequent."""
    similar = embeddings @ embeddings.T
    np.fill_diagonal(similar, -np.inf)
    rank1 = float((person[similar.argmax(axis=1)] == person).mean())
    upper = np.triu_indices(len(person), 1)
    accepted, recalled, _ = roc_curve(person[upper[0]] == person[upper[1]], similar[upper])
    crossing = int(np.abs(1 - recalled - accepted).argmin())
    return {"rank1": rank1, "eer": float((accepted[crossing] + 1 - recalled[crossing]) / 2)}
