"""Do rendered faces look like faces to somebody else? The teacher's detections and landmarks on rendered shards.

`python -m train check-renders --folder runs/synth/test --peer-python PYTHON --write docs/renders.md`
"""

import datetime
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtau.align import inter_ocular
from rtau.facs import AU_COLUMNS
from train.data.photos import BLENDSHAPES
from train.data.renders import Renders, load_renders
from train.data.split import material
from train.synthesis.assets import assets_folder, load_head
from train.synthesis.picture import COVERED

_FREE = 0.03  # at most this share of landmarks covered: an unoccluded face
_SHAPES = (
    ("AU01", "browInnerUp"), ("AU02", "browOuterUp"), ("AU04", "browDown"), ("AU05", "eyeWide"), ("AU07", "eyeSquint"),
    ("AU10", "mouthUpperUp"), ("AU12", "mouthSmile"), ("AU15", "mouthFrown"), ("AU17", "mouthShrugLower"),
    ("AU18", "mouthPucker"), ("AU20", "mouthStretch"), ("AU24", "mouthPress"), ("AU25", "mouthLowerDown"),
    ("AU26", "jawOpen"), ("AU28", "mouthRollLower"), ("AU43", "eyeBlink"),
)  # fmt: skip


def report(folder: Path, peer_python: Path) -> str:
    """Markdown tables: found and landmark distance by pose and skin, and whether blendshapes follow the labels."""
    renders = load_renders(folder, model=None)
    landmarks, shapes = _teacher(folder, peer_python)
    found = np.isfinite(landmarks[:, 0, 0])
    taught = np.stack([renders.taught(i)[:, :2] for i in range(len(found))])
    off, off_taught = (
        np.linalg.norm(landmarks - ours, axis=-1).mean(axis=1) / inter_ocular(renders.landmarks)
        for ours in (renders.landmarks[..., :2], taught)
    )
    free = (renders.visibility == COVERED).mean(axis=1) <= _FREE
    yaw = np.abs(renders.pose[:, 1])
    rows = [("unoccluded, yaw < 40°", free & (yaw < 40))]
    rows += [(f"yaw {a}-{b}°", free & (yaw >= a) & (yaw < b)) for a, b in ((0, 15), (15, 30), (30, 45), (45, 70))]
    rows += [(f"skin tone {a}-{a + 1}", free & (yaw < 40) & (renders.tone // 1 == a)) for a in range(7)]
    rows.append(("something in front, yaw < 40°", ~free & (yaw < 40)))
    lines = [
        f"{datetime.date.today().isoformat()}, {len(found)} pictures of {folder.name}, people that no training saw.",
        "",
        "Landmark distance / inter-ocular, median: to the landmarks as stored, and to the same ones moved to where "
        "the teacher places each of the 478 on a head (`train/data/teacher_offsets.npy`, estimated on people of the "
        "training split; training uses these).",
        "",
        "| pictures | n | found | distance, as stored | distance, as the teacher places them |",
        "|---|---|---|---|---|",
    ]
    for name, chosen in rows:
        seen = chosen & found
        lines.append(
            f"| {name} | {chosen.sum()} | {100 * found[chosen].mean():.1f} % | {100 * np.median(off[seen]):.2f} % "
            f"| {100 * np.median(off_taught[seen]):.2f} % |"
        )
    lines += ["", "Targets: 97 % of unoccluded faces with |yaw| < 40° found, landmark distance at most 4 %.", ""]
    lines += ["Correlation of the teacher's blendshapes with our labels (faces found, yaw < 40°):", ""]
    lines += ["| " + " | ".join(au for au, _ in _SHAPES) + " |", "|" + "---|" * len(_SHAPES)]
    chosen = found & (yaw < 40)
    values = [f"{_follows(renders, shapes, chosen, au, shape):.2f}" for au, shape in _SHAPES]
    return "\n".join([*lines, "| " + " | ".join(values) + " |"])


def _follows(renders: Renders, shapes: NDArray[np.float32], chosen: NDArray[np.bool_], au: str, shape: str) -> float:
    a = AU_COLUMNS.index(au)
    label = np.fmax(renders.left[:, a], renders.right[:, a])
    columns = [i for i, name in enumerate(BLENDSHAPES) if name in (shape, f"{shape}Left", f"{shape}Right")]
    some = chosen & np.isfinite(label)
    return float(np.corrcoef(label[some], shapes[some][:, columns].max(axis=1))[0, 1])


def _teacher(folder: Path, peer_python: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    script = Path(__file__).parents[2] / "benchmarks" / "mediapipe_images.py"
    bundle = material() / "models" / "face_landmarker.task"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "teacher.npz"
        shards = [str(path) for path in sorted(folder.glob("[0-9]*.tar"))]
        subprocess.run([str(peer_python), str(script), str(bundle), str(out), *shards], check=True)
        with np.load(out, allow_pickle=False) as data:
            return data["landmarks"], data["blendshapes"]


def teacher_offsets(folder: Path, peer_python: Path) -> NDArray[np.float32]:
    """(478, 3) cm in the frame of the head: where the teacher's landmarks lie beside ours, at the median, symmetric.

    Read from nearly frontal faces, so that depth stays as it is.
    """
    renders = load_renders(folder, model=None)
    landmarks, _ = _teacher(folder, peer_python)
    chosen = np.isfinite(landmarks[:, 0, 0]) & (np.abs(renders.pose[:, :2]).max(axis=1) < 20)
    chosen &= (renders.visibility == COVERED).mean(axis=1) <= _FREE
    scale = renders.landmarks[chosen, :, 2] / renders.focal[chosen, None]  # cm per pixel
    moved = (landmarks[chosen] - renders.landmarks[chosen, :, :2]) * scale[..., None] * [1, -1]
    moved = np.concatenate([moved, np.zeros_like(moved[..., :1])], axis=-1)
    offsets = np.median(moved @ renders.rotation[chosen], axis=0)
    mirrored = offsets[load_head(assets_folder()).mirror] * [-1, 1, 1]
    return np.asarray((offsets + mirrored) / 2, dtype=np.float32)
