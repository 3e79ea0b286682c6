"""The shipped identity encoder on people that no training saw, aligned by the pipeline's own landmarks."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rtau.align import crop_transform
from rtau.boxes import bounds
from rtau.config import PipelineConfig
from rtau.engines import Engine, open_engine
from rtau.models import Card, load_artifact
from train.data.augment import warp
from train.data.renders import load_renders
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner
from train.export import normalised
from train.methods.identity import recognition

Float32 = NDArray[np.float32]


def identities(runner: Runner) -> list[Figure]:
    """London: each smiling photo against all neutral ones. Rendered people: pictures against each other."""
    artifact = load_artifact("default", "identity")
    engine, card = open_engine(artifact, PipelineConfig()), artifact.card
    smiling, neutral = dict[str, Float32](), dict[str, Float32]()
    for photo, seen in runner.photos("evaluation", start="london_"):
        i = seen.match(bounds(photo.landmarks))
        if i is not None:
            group = smiling if photo.attributes["posed"] == "smile" else neutral
            group[photo.attributes["subject"]] = _embed(engine, card, photo.image, seen.faces.landmarks[i])
    names = sorted(neutral)
    asked = [name for name in sorted(smiling) if name in neutral]
    similar = np.stack([smiling[name] for name in asked]) @ np.stack([neutral[name] for name in names]).T
    own = np.array([names.index(name) for name in asked])
    rank1 = float((similar.argmax(axis=1) == own).mean())
    genuine = similar[np.arange(len(own)), own]
    strangers = similar[own[:, None] != np.arange(len(names))]
    figures = [
        Figure(
            f"London, {len(asked)} smiling photos against {len(names)} neutral ones, rank-1",
            f"{rank1:.1%}", ">= 80 %", rank1 >= 0.8, "identity",
        ),
        Figure(
            "London, cosine to oneself / to others, mean and tenth nearest the other",
            f"{genuine.mean():.2f} ({np.quantile(genuine, 0.1):.2f}) / {strangers.mean():.2f} "
            f"({np.quantile(strangers, 0.9):.2f})",
            of="identity",
        ),
    ]  # fmt: skip
    folder = Path("runs") / "synth" / "test"
    if folder.is_dir():
        renders = load_renders(folder)
        usable = np.flatnonzero(renders.usable)
        found = np.stack([_embed(engine, card, renders.image(int(i)), renders.found[i, 0]) for i in usable])
        people = recognition(found, renders.person[usable])
        figures.append(Figure(
            f"rendered people, {len(usable)} pictures of {len(np.unique(renders.person[usable]))}",
            f"rank-1 {people['rank1']:.1%}, equal error rate {people['eer']:.1%}",
            of="identity",
        ))  # fmt: skip
    return figures


def _embed(engine: Engine, card: Card, image: NDArray[np.uint8], landmarks: Float32) -> Float32:
    """(d,) of one face."""
    side = (card.input_size, card.input_size)
    crop = warp(image, crop_transform(landmarks, np.array(card.template)), side)
    given = normalised(torch.from_numpy(crop[None])).numpy()
    embedding: Float32 = engine({"image": np.ascontiguousarray(given)})["embedding"][0]
    return embedding
