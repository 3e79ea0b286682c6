"""Rendered faces in memory, with the landmarks that a landmark network finds in them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from rtau.align import apply, inter_ocular, roi_from_landmarks
from rtau.config import PipelineConfig
from rtau.engines import open_engine
from rtau.models import Artifact, load_artifact
from train.data.augment import jittered, warp
from train.data.mesh import LANDMARKS
from train.data.photos import LabelledFace, pose_degrees, read_rgb
from train.export import normalised
from train.synthesis.shards import read_shards

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


class Renders(NamedTuple):
    """F rendered faces; AU arrays are in the order of rtau.facs.CATALOGUE, NaN is unknown."""

    jpegs: list[bytes]
    left: Float32  # (F, 20) intensity 0-5
    right: Float32  # (F, 20)
    landmarks: Float32  # (F, 478, 3) exact
    visibility: UInt8  # (F, 478)
    pose: Float32  # (F, 3) pitch, yaw, roll in degrees
    rotation: Float32  # (F, 3, 3) head -> camera
    focal: Float32  # (F,) pixels
    person: NDArray[np.int64]  # (F,)
    tone: Float32  # (F,)
    found: Float32  # (F, K, 478, 2) the landmark network's, K times with another region
    usable: NDArray[np.bool_]  # (F,) whether the network saw a face and found it

    def image(self, i: int) -> UInt8:
        return read_rgb(self.jpegs[i], f"rendered face {i}")

    def face(self, i: int, depth: float) -> LabelledFace:
        """A rendered face as the teacher would label it, had it seen it exactly."""
        placed = np.eye(4)
        placed[:3, :3] = self.rotation[i] @ _CANONICAL
        return LabelledFace(
            name=f"rendered {i}",
            source="rendered",
            image=self.image(i),
            landmarks=self.taught(i, depth),
            pose=pose_degrees(placed),
            blendshapes=np.zeros(52, np.float32),
            faces_in_picture=1,
            attributes={},
        )

    def taught(self, i: int, depth: float = 0.0) -> Float32:
        """(478, 3) the exact landmarks, moved by `teacher_offsets.npy` to where the teacher places them.

        z is in pixels and its mean `depth` eye distances, as the teacher's.
        """
        moved = _OFFSETS @ self.rotation[i].T
        exact = self.landmarks[i]
        per_cm = self.focal[i] / exact[:, 2:]
        xy = exact[:, :2] + moved[:, :2] * per_cm * [1, -1]
        z = (exact[:, 2:] - moved[:, 2:] - exact[:, 2].mean()) * per_cm
        return np.concatenate([xy, z + depth * inter_ocular(exact)], axis=1).astype(np.float32)


_TRIES = 2
_OFFSETS: Float32 = np.load(Path(__file__).with_name("teacher_offsets.npy"), allow_pickle=False)
_CANONICAL = np.array([[1, 0, 0], [0, 0.99832, 0.05796], [0, -0.05796, 0.99832]])  # the teacher's upright face -> ours
_NEAR = 0.15  # landmarks farther from the truth than this share of the eye distance are not the face's


def load_renders(folder: Path, model: str | None = "default") -> Renders:
    """All shards of a folder that are there.

    The landmarks that `model` finds are kept beside each shard; with None nobody looks for them (K = 0).
    """
    artifact = None if model is None else load_artifact(model, "landmarks")
    jpegs: list[bytes] = []
    parts: dict[str, list[NDArray[np.generic]]] = {}
    for shard in read_shards(folder):
        if artifact is None:
            shard.labels["found"] = np.zeros((len(shard.jpegs), 0, LANDMARKS, 2), np.float32)
        else:
            kept = shard.path.with_name(f"found_{shard.path.stem}_{artifact.card.sha256[:12]}.npz")
            if not kept.exists():
                np.savez(kept, found=_find(artifact, shard.jpegs, shard.labels["landmarks"].astype(np.float32)))
            with np.load(kept, allow_pickle=False) as data:
                shard.labels["found"] = data["found"]
        jpegs += shard.jpegs
        for name in ("au_left", "au_right", "landmarks", "visibility", "camera", "person", "tone", "found"):
            parts.setdefault(name, []).append(shard.labels[name])
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    exact, found = joined["landmarks"].astype(np.float32), joined["found"].astype(np.float32)
    eyes = np.linalg.norm(exact[:, 33, :2] - exact[:, 263, :2], axis=-1).clip(min=1)
    off = np.linalg.norm(found - exact[:, None, :, :2], axis=-1).sum(axis=(1, 2)) / (max(found.shape[1], 1) * LANDMARKS)
    placed = np.zeros((len(jpegs), 4, 4), np.float32)
    placed[:, :3, :3] = joined["camera"][:, :9].reshape(-1, 3, 3)
    pose = pose_degrees(placed)
    return Renders(
        jpegs,
        joined["au_left"].astype(np.float32),
        joined["au_right"].astype(np.float32),
        exact,
        joined["visibility"].astype(np.uint8),
        pose,
        placed[:, :3, :3],
        joined["camera"][:, 12].astype(np.float32),
        joined["person"].astype(np.int64),
        joined["tone"].astype(np.float32),
        found,
        (off / eyes < _NEAR) & (np.abs(pose[:, 1]) < 60),
    )


def _find(artifact: Artifact, jpegs: list[bytes], exact: Float32) -> Float32:
    engine, side = open_engine(artifact, PipelineConfig()), artifact.card.input_size
    rng: Generator = np.random.default_rng(0)
    found = np.zeros((len(jpegs), _TRIES, LANDMARKS, 2), np.float32)
    for i, data in enumerate(jpegs):
        image, regions = read_rgb(data, f"rendered face {i}"), []
        for _ in range(_TRIES):
            regions.append(jittered(roi_from_landmarks(exact[i]), side, rng, 0.02, 1.05, 3.0))
        crops = np.stack([warp(image, region, (side, side)) for region in regions])
        given = np.ascontiguousarray(normalised(torch.from_numpy(crops)).numpy())
        for k, points in enumerate(engine({"image": given})["landmarks"]):
            found[i, k] = apply(regions[k], points[:, :2])
    return found
