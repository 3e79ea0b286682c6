"""From linear light to the bytes that a camera delivers: background, exposure, tone, lens, noise and JPEG."""

import functools

import cv2
import numba
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.data.augment import warp
from train.data.negatives import drawn, face_free_photos
from train.synthesis.assets import FACE, linear

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


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
    if sigma > 2.5:  # nothing fine is left: a smaller picture is blurred just as well
        half = cv2.resize(image, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
        image = cv2.resize(cv2.GaussianBlur(half, (0, 0), sigma / 2), (side, side)).astype(np.uint8, copy=False)
    elif sigma > 1:
        image = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8, copy=False)
    return np.asarray(cv2.LUT(image, _to_linear() * np.float32(rng.uniform(0.3, 1.4))), dtype=np.float32)


def compose(colour: Float32, labels: UInt8, behind: Float32, exposure: float, size: int, rng: Generator) -> Float32:
    """Put the head on its background, expose, and bring it to `size`: (size, size, 3) linear, about 0-1.

    The exposure follows the face half-way: dark skin stays darker than light skin under the same light. Where two
    surfaces meet, colour and coverage are averaged over 3x3 pixels, so that outlines have no steps.
    """
    face = colour[::2, ::2][labels[::2, ::2] == FACE + 1]
    level = float(np.median(face @ _LUMA)) if len(face) else 0.2
    target = float(np.clip(0.20 * (level / 0.25) ** 0.5, 0.045, 0.32)) * exposure
    gain = min(target / max(level, 1e-3), 6.0)
    x = _over(colour, labels, behind, gain, 0.7 * exposure)
    if len(x) != size:
        x = np.asarray(cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32)
    grey = x @ _LUMA
    return np.asarray(grey[..., None] + np.float32(rng.uniform(0.7, 1.1)) * (x - grey[..., None]), dtype=np.float32)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _over(colour: Float32, labels: UInt8, behind: Float32, gain: float, behind_gain: float) -> Float32:
    rows, columns = labels.shape
    out = np.empty((rows, columns, 3), np.float32)
    for i in range(rows):
        for j in range(columns):
            here = labels[i, j]
            edge = False
            if 0 < i < rows - 1 and 0 < j < columns - 1:
                edge = (
                    labels[i - 1, j] != here
                    or labels[i + 1, j] != here
                    or labels[i, j - 1] != here
                    or labels[i, j + 1] != here
                )
            if not edge:
                for k in range(3):
                    out[i, j, k] = colour[i, j, k] * gain if here else behind[i, j, k] * behind_gain
                continue
            for k in range(3):
                total = 0.0
                for di in range(-1, 2):
                    for dj in range(-1, 2):
                        share = (2 - abs(di)) * (2 - abs(dj)) / 16.0
                        if labels[i + di, j + dj]:
                            total += share * colour[i + di, j + dj, k] * gain
                        else:
                            total += share * behind[i + di, j + dj, k] * behind_gain
                out[i, j, k] = total
    return out


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
    white = np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    top, left = (int(v) for v in rng.integers(0, 1024 - size, 2)) if size < 1024 else (0, 0)
    noise = _noise_tile()[top : top + size, left : left + size]
    dark, shot = float(rng.uniform(0.0005, 0.006)), float(rng.uniform(0, 0.025))
    contrast, shift = 1.0, 0.0
    if rng.random() < 0.5:
        contrast, shift = float(rng.uniform(0.85, 1.15)), float(rng.normal(0, 0.02))
    image = _exposed(np.ascontiguousarray(x), white, noise, dark, shot, contrast, shift, _to_srgb())
    if rng.random() < 0.06:
        image = np.repeat((image @ _LUMA).astype(np.uint8)[..., None], 3, axis=-1)
    quality = int(rng.integers(60, 96)) if rng.random() < 0.6 else 96
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _exposed(
    x: Float32, white: Float32, noise: Float32, dark: float, shot: float, contrast: float, shift: float, curve: UInt8
) -> UInt8:
    """White balance, sensor noise, the tone curve's shoulder, contrast about mid grey, sRGB: (S, S, 3) -> bytes."""
    rows, columns, _ = x.shape
    out = np.empty((rows, columns, 3), np.uint8)
    for i in range(rows):
        for j in range(columns):
            for k in range(3):
                v = x[i, j, k] * white[k]
                v += noise[i, j, k] * (dark + shot * np.sqrt(min(max(v, 0.0), 1.0)))
                v /= 1 + 0.18 * max(v, 0.0)
                v = (v - 0.18) * contrast + 0.18 + shift
                out[i, j, k] = curve[int(min(max(v, 0.0), 1.0) * 4095)]
    return out
