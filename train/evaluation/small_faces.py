"""Small faces in large pictures: held-out FairFace photos, shrunk and laid on photographs without a face.

The pictures stand still for half a second, for a small face has to last before it is believed.
"""

from collections import defaultdict

import cv2
import numpy as np

from rtau.boxes import bounds
from train.data.augment import warp
from train.data.negatives import face_free_photos
from train.data.photos import load_photos
from train.evaluation.figure import Figure
from train.evaluation.runner import Runner

_SIZE = (1280, 720)
_WIDTHS = (24, 32, 40, 48, 64)  # of faces, in pixels of the picture: steps of the report
_BESIDE = 4  # photos in one picture


def small_faces(runner: Runner) -> list[Figure]:
    """Share of the faces found by their size, and faces found where none was laid."""
    photos = [face for face in load_photos("evaluation") if face.name.startswith("ff_") and face.faces_in_picture == 1]
    scenes, rng = face_free_photos(), np.random.default_rng(0)
    found: dict[int, list[bool]] = defaultdict(list)
    elsewhere, column = 0, _SIZE[0] // _BESIDE
    pictures = [photos[i : i + _BESIDE] for i in range(0, len(photos), _BESIDE)]
    for k, several in enumerate(pictures):
        canvas = cv2.resize(scenes[k % len(scenes)], _SIZE, interpolation=cv2.INTER_AREA).astype(np.uint8)
        laid = []
        for place, photo in enumerate(several):
            box = bounds(photo.landmarks)
            shrunk = float((box[2:] - box[:2]).max()) / rng.uniform(_WIDTHS[0], _WIDTHS[-1])
            width, height = (max(round(edge / shrunk), 1) for edge in photo.image.shape[1::-1])
            x, y = place * column + int(rng.integers(column - width)), int(rng.integers(_SIZE[1] - height))
            scale = np.array([[shrunk, 0, 0], [0, shrunk, 0]])
            canvas[y : y + height, x : x + width] = warp(photo.image, scale, (width, height))
            laid.append(np.asarray(box / shrunk + [x, y, x, y], np.float32))
        seen = runner.lasting(canvas)
        matches = [seen.match(box) for box in laid]
        for box, i in zip(laid, matches, strict=True):
            found[int(np.digitize((box[2:] - box[:2]).max(), _WIDTHS[1:-1]))].append(i is not None)
        elsewhere += len(seen.faces.track_ids) - len({i for i in matches if i is not None})
    steps = ", ".join(
        f"{_WIDTHS[step]} to {_WIDTHS[step + 1]} px {np.mean(hits):.0%} of {len(hits)}"
        for step, hits in sorted(found.items())
    )
    return [
        Figure(f"{_SIZE[0]}x{_SIZE[1]}, small faces found", steps, of="detector"),
        Figure(
            f"faces elsewhere in these {len(pictures)} pictures, of scenes that the detector's training knows as empty",
            str(elsewhere),
            of="detector",
        ),
    ]
