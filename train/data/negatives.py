"""Pictures without a face: photographs that ship with scikit-image and scikit-learn, and drawn ones."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

_SKIMAGE = (
    "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "horse", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "rocket", "text", "checkerboard", "colorwheel", "motorcycle_left", "logo",
)  # fmt: skip


def face_free_photos() -> list[UInt8]:
    """Photographs (H, W, 3) that show no face, from the installed packages alone; `camera` is cut below the man."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    pictures: list[UInt8] = [np.asarray(image) for image in load_sample_images().images]
    for name in _SKIMAGE:
        try:
            image = np.asarray(getattr(data, name)())
        except (AttributeError, OSError, ModuleNotFoundError, ConnectionError):
            continue  # not shipped with this version of the package
        image = image[300:] if name == "camera" else image
        pictures.append(_rgb(image))
    return pictures


def drawn(rng: Generator, side: int) -> UInt8:
    """A made-up picture (side, side, 3): gradients, ellipses, lines and letters, as cartoons and titles have them."""
    low = rng.integers(0, 256, (int(rng.integers(1, 9)), int(rng.integers(1, 9)), 3)).astype(np.uint8)
    interpolation = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_NEAREST, cv2.INTER_CUBIC]))
    canvas = np.ascontiguousarray(cv2.resize(low, (side, side), interpolation=interpolation)).astype(np.uint8)
    for _ in range(int(rng.integers(0, 14))):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        x, y = (int(v) for v in rng.integers(0, side, 2))
        a, b = (int(v) for v in rng.integers(2, max(side // 3, 3), 2))
        kind = rng.integers(0, 4)
        if kind == 0:
            cv2.ellipse(
                canvas, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, int(rng.choice([-1, -1, 2]))
            )
        elif kind == 1:
            cv2.rectangle(canvas, (x, y), (x + a, y + b), colour, int(rng.choice([-1, 2])))
        elif kind == 2:
            cv2.line(canvas, (x, y), (int(rng.integers(0, side)), int(rng.integers(0, side))), colour, 1 + a // 12)
        else:
            letters = "".join(chr(c) for c in rng.integers(65, 123, int(rng.integers(1, 12))))
            cv2.putText(canvas, letters, (x - side // 3, y), int(rng.integers(0, 8)), a / 20, colour, 1 + a // 20)
    return canvas


def _rgb(image: NDArray[np.generic]) -> UInt8:
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        image = (255 * (image - image.min()) / max(float(image.max() - image.min()), 1e-9)).astype(np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    return np.ascontiguousarray(image[..., :3], dtype=np.uint8)
