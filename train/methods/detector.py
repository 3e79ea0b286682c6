"""The face detector: recipe from the open photos, the teacher's landmarks and rendered faces to the artifact.

`python -m train detector --config configs/train/detector.yaml`
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from rtau.align import apply, invert, region
from rtau.boxes import bounds, overlap, suppress
from rtau.models import Card
from train.data.augment import photometric, warp
from train.data.clips import load_clips
from train.data.negatives import drawn, face_free_photos
from train.data.photos import LabelledFace, load_photos
from train.data.provenance import BACKGROUNDS, ICT_FACE, MAKEHUMAN, OPEN_MATERIAL
from train.data.renders import Renders, load_renders
from train.engine import fit
from train.export import MEAN, STD, normalised, when_and_where, write_artifact
from train.losses.detection import focal_loss, giou_loss
from train.models.detector_net import STRIDE, DetectorExport, DetectorNet, DetectorOutput, cell_centres
from train.synthesis.picture import OUTSIDE

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

INPUT_SIZE = 320  # longer side of the picture at run time
_CORE, _RIM = 0.22, 0.42  # cells nearer than this share of the box to its middle are faces; up to the rim undecided
_CUT_OFF = 0.02  # share of a rendered face's landmarks outside its picture from which it is not used


class DetectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    neck: int
    canvas: int  # side of a training picture
    face_px: tuple[float, float]  # smallest and largest face on it
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    source_weights: dict[str, float]
    renders: str = ""  # folder with train/ shards of `python -m train render`; none unless named
    rendered_share: float = 0.0  # of the faces that are pasted
    seed: int
    out: str
    run_folder: str


class Scene(NamedTuple):
    image: UInt8  # (S, S, 3)
    target: Float32  # (h, w) 1 on faces
    known: Float32  # (h, w) 0 where undecided
    box: Float32  # (4, h, w) distances, where target is 1


def run(config: DetectorConfig) -> None:
    """Train, export, and print the validation figures."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    faces = [*load_photos("train"), *load_clips("train", every=4)]
    renders = load_renders(Path(config.renders) / "train", model=None) if config.renders else None
    validation = load_photos("validation")
    net = DetectorNet(config.widths, config.blocks, config.neck)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = DataLoader(Scenes(faces, config, renders), batch_size=config.batch, num_workers=1, prefetch_factor=6)
    trained, minutes = fit(
        net,
        loader,
        _losses,
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        folder=Path(config.run_folder),
        every=400,
        report=lambda model, _: str(evaluate(model, validation)),
    )
    metrics = evaluate(trained, validation)
    print(metrics)
    card = Card(
        role="detector",
        name="rtau-detector",
        version="1",
        sha256="",
        input_size=INPUT_SIZE,
        mean=MEAN,
        std=STD,
        outputs={
            "score": "(N, h, w) probability that a face is centred near the cell, one cell every 8 pixels",
            "box": "(N, 4, h, w) distances left, top, right, bottom from the cell's centre in input pixels; the box "
            "bounds the 478 landmarks",
        },
        trained_on=(*OPEN_MATERIAL, BACKGROUNDS, *((ICT_FACE, MAKEHUMAN) if renders else ())),
        command=f"python -m train detector --config configs/train/detector{'_rendered' if renders else ''}.yaml",
        trained=when_and_where(minutes),
        metrics={f"validation_{name}": round(value, 4) for name, value in metrics.items()},
        limits=(
            "faces under 12 px of the 320 px input are missed",
            "full profiles were hardly in the training material",
        ),
    )
    axes = {"image": {0: "n", 2: "h", 3: "w"}}
    write_artifact(Path(config.out), DetectorExport(trained), {"image": torch.randn(2, 3, 192, 320)}, axes, card)  # type: ignore[arg-type]


class Scenes(IterableDataset[Scene]):
    """An endless stream of pictures with no, one or several faces of all sizes, photographed and rendered."""

    def __init__(self, faces: list[LabelledFace], config: DetectorConfig, renders: Renders | None = None) -> None:
        self.faces, self.config, self.renders = faces, config, renders
        if renders is not None:  # heads that are cut off at the picture's edge have no whole box
            self.whole = np.flatnonzero((renders.visibility == OUTSIDE).mean(axis=1) < _CUT_OFF)
        self.empty = face_free_photos()
        weights = np.array([config.source_weights.get(face.source.split("_")[0], 1.0) for face in faces])
        self.odds = weights / weights.sum()

    def __iter__(self) -> Iterator[Scene]:
        rng = np.random.default_rng([self.config.seed, int(time.time())])
        torch.set_num_threads(1)
        while True:
            yield self.scene(rng)

    def scene(self, rng: Generator) -> Scene:
        """Faces in their own surroundings side by side, or pasted on a background, seen through one camera."""
        side = self.config.canvas
        canvas = self._background(rng)
        boxes: list[Float32] = []
        if rng.random() < 0.5:
            x, y = (int(v) for v in rng.integers(side // 4, 3 * side // 4, 2))
            cells = [(0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)]
            if rng.random() < 0.4:
                cells = [(0, 0, side, side)]
            for cell in cells:
                self._paste(canvas, boxes, rng, cell, whole=True)
        else:
            for _ in range(int(rng.choice([0, 1, 2, 3, 5, 8], p=[0.2, 0.3, 0.15, 0.12, 0.13, 0.1]))):
                self._paste(canvas, boxes, rng, (0, 0, side, side), whole=False)
        if rng.random() < 0.15:  # haze, fog on the lens, a room without light
            canvas = (canvas * rng.uniform(0.25, 0.6) + rng.uniform(0, 100)).astype(np.uint8)
        return _labelled(photometric(canvas, rng), boxes, side)

    def _background(self, rng: Generator) -> UInt8:
        side = self.config.canvas
        if rng.random() < 0.4:
            return drawn(rng, side)
        picture = self.empty[rng.integers(len(self.empty))]
        length = rng.uniform(0.3, 1.0) * min(picture.shape[:2])
        centre = np.array([rng.uniform(length / 2, edge - length / 2) for edge in picture.shape[1::-1]])
        return warp(picture, region(centre, length, rng.normal(0, 0.2), side), (side, side), mirror=rng.random() < 0.5)

    def _face(self, rng: Generator) -> LabelledFace:
        if self.renders is not None and rng.random() < self.config.rendered_share:
            return self.renders.face(int(rng.choice(self.whole)), depth=0.0)
        return self.faces[rng.choice(len(self.faces), p=self.odds)]

    def _paste(
        self, canvas: UInt8, boxes: list[Float32], rng: Generator, area: tuple[int, int, int, int], *, whole: bool
    ) -> None:
        """Put one face on the canvas inside an area x0, y0, x1, y1, unless it would cover another.

        `whole` fills the area with the photograph; otherwise a piece of it is cut out around the face.
        """
        face = self._face(rng)
        alone = face.faces_in_picture == 1  # else an unlabelled second face must not be seen
        if whole and not alone:
            return
        low, high = np.log(self.config.face_px)
        x0, y0, x1, y1 = area
        size = min(float(np.exp(rng.uniform(low, high))), 0.95 * min(x1 - x0, y1 - y0))
        box = bounds(face.landmarks)
        length = float((box[2:] - box[:2]).max())
        turn = np.radians(rng.normal(0, 35 if rng.random() < 0.15 else 10))
        middle = np.array([rng.uniform(x0 + size / 2, x1 - size / 2), rng.uniform(y0 + size / 2, y1 - size / 2)])
        linear = region(np.zeros(2), length / size, float(turn), 1)[:, :2]
        linear = linear @ np.diag([rng.choice([-1.0, 1.0]), 1.0])  # mirrored or not
        transform = np.concatenate([linear, ((box[:2] + box[2:]) / 2 - linear @ middle)[:, None]], axis=1)
        placed = bounds(apply(invert(transform), face.landmarks[:, :2]))
        context = float(np.exp(rng.uniform(np.log(1.25), np.log(5.0 if alone else 1.6))))
        margin = 1000.0 if whole else (context - 1) * size / 2
        reach = (placed + margin * np.array([-1, -1, 1, 1])).round()
        x0, y0, x1, y1 = (int(v) for v in np.clip(reach, [x0, y0, x0, y0], [x1, y1, x1, y1]))
        if any(overlap(np.array([x0, y0, x1, y1], np.float32), other[None])[0] > 0 for other in boxes):
            return
        transform[:, 2] = apply(transform, np.array([x0, y0]))
        patch = canvas[y0:y1, x0:x1]
        v, u = np.mgrid[0 : y1 - y0, 0 : x1 - x0] + 0.5
        seen = apply(transform, np.stack([u, v], axis=-1))
        within = ((seen > 0) & (seen < face.image.shape[1::-1])).all(axis=-1)
        inside: Float32 = np.asarray(within, dtype=np.float32)
        if not whole and rng.random() < 0.7:  # no telling edge around the piece
            inside *= np.minimum(np.minimum(u, x1 - x0 - u), np.minimum(v, y1 - y0 - v)) > 0.1 * (context - 1) * size
            soft = max(0.08 * (context - 1) * size, 0.5)
            inside = np.asarray(cv2.GaussianBlur(inside, (0, 0), soft), dtype=np.float32)
        image = warp(face.image, transform, (x1 - x0, y1 - y0))
        patch[:] = (patch + (image.astype(np.float32) - patch) * inside[..., None]).astype(np.uint8)
        boxes.append(placed)


def evaluate(model: nn.Module, faces: list[LabelledFace]) -> dict[str, float]:
    """Shares of pictures whose labelled face is found (IoU >= 0.5), at full size and at a quarter of it."""
    found: dict[str, list[bool]] = {"found": [], "found_small": []}
    for face in faces:
        height, width = face.image.shape[:2]
        for name, size in (("found", INPUT_SIZE), ("found_small", INPUT_SIZE // 4)):
            scale = max(width, height) / size
            canvas = warp(face.image, np.array([[scale, 0, 0], [0, scale, 0]]), (INPUT_SIZE, INPUT_SIZE))
            out: DetectorOutput = model(normalised(torch.from_numpy(canvas[None])))
            boxes = decode(out, 0.5)
            found[name].append(len(boxes) > 0 and float(overlap(bounds(face.landmarks) / scale, boxes).max()) >= 0.5)
    return {name: round(float(np.mean(hits)), 4) for name, hits in found.items()}


def decode(out: DetectorOutput, min_score: float) -> Float32:
    """Boxes (D, 4) of the first picture of a batch, in input pixels."""
    score, box = out.score[0].sigmoid().numpy(), out.box[0].numpy()
    rows, columns = np.nonzero(score >= min_score)
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    left, top, right, bottom = box[:, rows, columns]
    boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=-1).astype(np.float32)
    kept: Float32 = boxes[suppress(boxes, score[rows, columns])]
    return kept


def _losses(model: nn.Module, batch: object) -> dict[str, Tensor]:
    scene = Scene(*batch)  # type: ignore[misc]
    image = normalised(torch.as_tensor(scene.image)).contiguous(memory_format=torch.channels_last)
    out: DetectorOutput = model(image)
    target, known, box = (torch.as_tensor(value) for value in scene[1:])
    where = target > 0.5
    distances, wanted = (value.permute(0, 2, 3, 1)[where] for value in (out.box, box))
    return {"score": focal_loss(out.score, target, known), "box": giou_loss(distances, wanted)}


def _labelled(image: UInt8, boxes: list[Float32], side: int) -> Scene:
    """Targets on the detector's map: the cells around a face's middle carry its box."""
    cells = side // STRIDE
    x, y = cell_centres(cells, cells).numpy().astype(np.float32)
    target, known = np.zeros((cells, cells), np.float32), np.ones((cells, cells), np.float32)
    distance = np.ones((4, cells, cells), np.float32)
    for x0, y0, x1, y1 in boxes:
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        off = np.hypot((x - cx) / (x1 - x0), (y - cy) / (y1 - y0))
        known[off < _RIM] = 0
        core = (off < _CORE) | (np.maximum(np.abs(x - cx), np.abs(y - cy)) <= STRIDE / 2)
        target[core] = 1
        known[core] = 1
        distance[:, core] = np.stack([x - x0, y - y0, x1 - x, y1 - y])[:, core].clip(min=0.5)
    return Scene(image, target, known, distance)
