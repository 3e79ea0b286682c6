"""From linear light to the bytes that a camera delivers: background, exposure, tone, lens, noise and JPEG."""

import functools

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.data.augment import warp
from train.data.negatives import drawn, face_free_photos
from train.synthesis.assets import FACE, linear

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


@functools.cache
def _photos() -> list[UInt8]:
    return face_free_photos()


@functools.cache
def _noise_tile() -> Float32:
    return np.random.default_rng(0).standard_normal((1024, 1024, 3), dtype=np.float32)


@functools.cache
def _to_linear() -> Float32:
    return linear(np.arange(256, dtype=np.float32) / 255)


@functools.cache
def _to_srgb() -> UInt8:
    x = np.linspace(0, 1, 4096)
    curve = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).astype(np.uint8)


def backdrop(rng: Generator, side: int) -> Float32:
    """What is behind the head, (side, side, 3) linear, out of focus."""
    if rng.random() < 0.75:
        photo = _photos()[rng.integers(len(_photos()))]
        length = float(rng.uniform(0.35, 1.0)) * min(photo.shape[:2])
        x, y = (rng.uniform(0, edge - length) for edge in photo.shape[1::-1])
        transform = np.array([[length / side, 0, x], [0, length / side, y]])
        image = warp(photo, transform, (side, side), mirror=rng.random() < 0.5)
    else:
        image = drawn(rng, side)
    sigma = float(rng.uniform(0.8, 8))
    blurred = cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 1 else image
    return np.ascontiguousarray(_to_linear()[blurred] * np.float32(rng.uniform(0.3, 1.4)))


def compose(colour: Float32, labels: UInt8, behind: Float32, exposure: float, size: int, rng: Generator) -> Float32:
    """Put the head on its background, expose, and bring it to `size`: (size, size, 3) linear, about 0-1.

    The exposure follows the face half-way: dark skin stays darker than light skin under the same light.
    """
    solid = (labels > 0).astype(np.float32)
    face = colour[labels == FACE + 1]
    level = float(np.median(face @ np.array([0.299, 0.587, 0.114], np.float32))) if len(face) else 0.2
    target = float(np.clip(0.20 * (level / 0.25) ** 0.35, 0.07, 0.32)) * exposure
    gain = np.float32(min(target / max(level, 1e-3), 6.0))
    x = colour * gain + behind * np.float32(0.7 * exposure) * (1 - solid)[..., None]
    if len(x) != size:
        x = cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA)
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + np.float32(rng.uniform(0.7, 1.1)) * (x - grey[..., None])
    return np.asarray(x, dtype=np.float32)


def develop(x: Float32, rng: Generator) -> bytes:
    """Linear (S, S, 3) -> JPEG, after lens, tone curve, sensor noise and codec."""
    size = len(x)
    if rng.random() < 0.5:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.3, 1.1))).astype(np.float32, copy=False)
    if rng.random() < 0.08:
        length = int(rng.integers(2, 7))
        kernel = np.zeros((length, length), np.float32)
        a = rng.uniform(0, np.pi)
        end, middle = np.array([np.cos(a), np.sin(a)]) * length / 2, (length - 1) / 2
        first, last = (tuple(round(float(middle + s * e)) for e in end) for s in (-1, 1))
        cv2.line(kernel, first, last, 1.0)
        x = cv2.filter2D(x, -1, kernel / kernel.sum()).astype(np.float32, copy=False)
    if rng.random() < 0.12:
        small = int(size * rng.uniform(0.35, 0.75))
        x = cv2.resize(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), (size, size)).astype(np.float32)
    if rng.random() < 0.3:
        v = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        x = np.asarray(x * (1 - np.float32(rng.uniform(0.05, 0.3)) * (v[:, None] + v)[..., None] / 2), np.float32)
    x = x * np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    tile = _noise_tile()
    top, left = (int(v) for v in rng.integers(0, 1024 - size, 2)) if size < 1024 else (0, 0)
    noise = tile[top : top + size, left : left + size]
    x = x + noise * (
        np.float32(rng.uniform(0.0005, 0.006)) + np.float32(rng.uniform(0, 0.025)) * np.sqrt(np.clip(x, 0, 1))
    )
    x = x / (1 + np.float32(0.18) * np.maximum(x, 0))
    if rng.random() < 0.5:
        x = (x - 0.18) * np.float32(rng.uniform(0.85, 1.15)) + np.float32(0.18 + rng.normal(0, 0.02))
    image = _to_srgb()[(np.clip(x, 0, 1) * 4095).astype(np.uint16)]
    if rng.random() < 0.06:
        image = np.repeat((image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None], 3, axis=-1)
    quality = int(rng.integers(60, 96)) if rng.random() < 0.6 else 96
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()
