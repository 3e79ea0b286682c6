"""Frames of the open clips with the teacher's landmarks, pose and blendshapes."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from train.data.photos import BLENDSHAPES, LabelledFace, pose_degrees
from train.data.split import Part, material, part_of_clip


def load_clips(*parts: Part, every: int = 5, folder: Path | None = None) -> list[LabelledFace]:
    """Every n-th frame of the clips of the parts, one record for each face that the teacher found."""
    media = (folder or material()) / "media"
    paths = sorted(path for path in media.iterdir() if path.suffix in (".mpg", ".mkv", ".mp4", ".mov", ".flv"))
    return [face for path in paths if part_of_clip(path.name) in parts for face in clip_faces(path, every)]


def clip_faces(path: Path, every: int) -> Iterator[LabelledFace]:
    """The teacher's faces in every n-th frame of one clip."""
    teacher = np.load(path.parent / "teacher" / f"{path.name}.npz", allow_pickle=False)
    if tuple(teacher["blendshape_names"].tolist()) != BLENDSHAPES:
        raise ValueError(f"{path.name}: the blendshapes are not in the expected order")
    landmarks, shapes, detected = teacher["landmarks"], teacher["blendshapes"], teacher["detected"]
    poses = pose_degrees(teacher["transform"])
    with av.open(str(path)) as container:
        for t, frame in enumerate(container.decode(video=0)):
            if t % every or t >= len(detected):
                continue
            image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            height, width = image.shape[:2]
            for f in np.flatnonzero(detected[t]):
                yield LabelledFace(
                    name=f"{path.name}:{t}:{f}",
                    source=path.name,
                    image=image,
                    landmarks=landmarks[t, f].astype(np.float32) * np.array([width, height, width], np.float32),
                    pose=poses[t, f],
                    blendshapes=shapes[t, f].astype(np.float32),
                    faces_in_picture=int(detected[t].sum()),
                    attributes={},
                )
