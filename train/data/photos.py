"""The open photos with the teacher's landmarks, pose and blendshapes, as records in memory."""

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.split import Part, material, part_of_photo

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


class LabelledFace(NamedTuple):
    """One picture and what the teacher says of its main face."""

    name: str
    source: str  # fairface, london, canada, lisa, zoom, us_congress, caltech101_faces or the clip's name
    image: UInt8  # (H, W, 3) RGB
    landmarks: Float32  # (478, 3) pixels; pixel centres at +0.5
    pose: Float32  # (3,) pitch, yaw, roll in degrees, signs as in rtau.structures.TrackedFaces
    blendshapes: Float32  # (52,) in the order of `BLENDSHAPES`
    faces_in_picture: int  # as far as the teacher saw
    attributes: dict[str, str]  # race, gender, age, posed, subject where known


BLENDSHAPES: tuple[str, ...] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)


def pose_degrees(transform: NDArray[np.floating]) -> Float32:
    """(..., 4, 4) canonical face → camera (x right, y up, z to the viewer) -> (..., 3) pitch, yaw, roll in degrees.

    Positive: up, to the subject's right, tilt to the subject's right.
    """
    r = transform[..., :3, :3] / np.linalg.norm(transform[..., :3, :3], axis=-2, keepdims=True)
    pitch = -np.arctan2(r[..., 2, 1], r[..., 2, 2])
    yaw = np.arcsin(np.clip(r[..., 2, 0], -1, 1))
    roll = np.arctan2(r[..., 1, 0], r[..., 0, 0])
    return np.asarray(np.degrees(np.stack([pitch, yaw, roll], axis=-1)), dtype=np.float32)


def load_photos(*parts: Part, folder: Path | None = None) -> list[LabelledFace]:
    """All photos of the parts in which the teacher found a face. Raises FileNotFoundError without the material."""
    root = (folder or material()) / "data"
    return [photo for collection in ("fairface", "open_faces") for photo in _collection(root / collection, parts)]


def photo_files(folder: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """Names and file contents of all photos, as they are."""
    for collection in ("fairface", "open_faces"):
        yield from _files((folder or material()) / "data" / collection)


def read_rgb(data: bytes, name: str) -> UInt8:
    """Decode a JPEG or PNG file to (H, W, 3) RGB. Raises ValueError naming the file."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{name}: not a readable picture")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def _collection(root: Path, parts: tuple[Part, ...]) -> Iterator[LabelledFace]:
    rows = {row["file"]: row for row in _rows(root / "labels.csv")}
    landmarks = np.load(root / "mediapipe_landmarks.npz", allow_pickle=False)
    shapes = np.load(root / "mediapipe_blendshapes.npz", allow_pickle=False)
    poses = pose_degrees(np.load(root / "mediapipe_pose.npz", allow_pickle=False)["transform"])
    if tuple(shapes["names"].tolist()) != BLENDSHAPES:
        raise ValueError(f"{root}: the blendshapes are not in the expected order")
    points, scores, detected = landmarks["landmarks"], shapes["blendshapes"], landmarks["detected"]
    place = {str(name): i for i, name in enumerate(landmarks["filename"])}
    for name, image in _images(root):
        i, row = place[name], rows[name]
        if not detected[i] or part_of_photo(name) not in parts:
            continue
        height, width = image.shape[:2]
        yield LabelledFace(
            name=name,
            source=row.get("source", "fairface"),
            image=image,
            landmarks=points[i].astype(np.float32) * np.array([width, height, width], np.float32),
            pose=poses[i],
            blendshapes=scores[i].astype(np.float32),
            faces_in_picture=int(row["mp_faces"]),
            attributes=row,
        )


def _images(root: Path) -> Iterator[tuple[str, UInt8]]:
    return ((name, read_rgb(data, name)) for name, data in _files(root))


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.glob("images_*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
