"""The 478-point mesh: its mean shape and its mirror."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rtau.align import apply, fit_similarity

Float32 = NDArray[np.float32]

LANDMARKS = 478


def mean_shape(faces: list[Float32]) -> Float32:
    """Landmarks [(478, 3)] -> (478, 3): Procrustes mean, inter-ocular distance 1, eyes level, centred."""
    shapes = np.stack(faces)
    reference = _upright(shapes[0])
    for _ in range(3):
        aligned = np.stack([_onto(shape, reference) for shape in shapes])
        reference = _upright(aligned.mean(axis=0))
    return reference


def mirror_indices(mean: Float32) -> NDArray[np.int64]:
    """(478,) for each mesh point the point it becomes when the picture is mirrored; an involution.

    Found by matching the mean shape (478, 3) with its mirror image.
    """
    mirrored = mean * np.array([-1, 1, 1], np.float32)
    distance = ((mean[:, None] - mirrored[None]) ** 2).sum(axis=-1)
    _, match = linear_sum_assignment(distance + distance.T)
    index = np.asarray(match, dtype=np.int64)
    if not (index[index] == np.arange(len(index))).all():
        raise ValueError("the mean shape is too lopsided to find its mirror")
    return index


def _upright(shape: Float32) -> Float32:
    eyes = shape[[362, 263]].mean(axis=0) - shape[[33, 133]].mean(axis=0)
    centred = shape - shape.mean(axis=0)
    transform = fit_similarity(np.array([[0.0, 0.0], eyes[:2]]), np.array([[0.0, 0.0], [1.0, 0.0]]))
    return _transformed(centred, transform)


def _onto(shape: Float32, reference: Float32) -> Float32:
    return _transformed(shape, fit_similarity(shape[:, :2], reference[:, :2]))


def _transformed(shape: Float32, transform: NDArray[np.float64]) -> Float32:
    scale = np.hypot(transform[0, 0], transform[1, 0])
    return np.concatenate([apply(transform, shape[:, :2]), shape[:, 2:] * scale], axis=1).astype(np.float32)


def _indices(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split())


_RIGHT_EYE = _indices("33 7 163 144 145 153 154 155 133 246 161 160 159 158 157 173")
_LEFT_EYE = _indices("263 249 390 373 374 380 381 382 362 466 388 387 386 385 384 398")
_RIGHT_BROW = _indices("46 53 52 65 55 70 63 105 66 107")
_LEFT_BROW = _indices("276 283 282 295 285 300 293 334 296 336")
_LIPS = _indices(
    "61 146 91 181 84 17 314 405 321 375 291 308 324 318 402 317 14 87 178 88 95 185 40 39 37 0 267 269 270 409 415 "
    "310 311 312 13 82 81 42 183 78"
)
_NOSE = _indices("168 6 197 2 48 278 98 327 64 294")
_LOWER_FACE = _indices("205 425 50 280 152 175 199 18 200")
SHAPES: tuple[tuple[int, ...], ...] = (  # whose form, wherever they lie, shows the Action Units
    _RIGHT_EYE,
    _LEFT_EYE,
    (*_RIGHT_BROW, *_RIGHT_EYE),
    (*_LEFT_BROW, *_LEFT_EYE),
    (*_RIGHT_BROW, *_LEFT_BROW),
    _LIPS,
    (*_LIPS, *_NOSE, *_LOWER_FACE),
)
EXPRESSIVE = tuple(sorted({i for shape in SHAPES for i in shape}))
_FURROWS = _indices(  # forehead, between the brows, root of the nose, beside the nose, outside and under the eyes
    "68 104 69 108 151 337 299 333 298 9 8 193 122 196 417 351 419 129 203 206 216 212 358 423 426 436 432 57 287 143 "
    "372 226 446 111 340 229 230 231 449 450 451 118 347 101 330"
)
TELLING = tuple(sorted({*EXPRESSIVE, *_FURROWS}))  # where the skin shows the Action Units
