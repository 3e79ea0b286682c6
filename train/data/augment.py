"""What cameras, codecs and the world do to a face: geometry of a crop, and its pixels."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtau.align import region

UInt8 = NDArray[np.uint8]
Transform = NDArray[np.float64]

GREY = 127  # outside the picture, as in rtau.crop


def warp(image: UInt8, transform: Transform, size: tuple[int, int], *, mirror: bool = False) -> UInt8:
    """Crop (h, w, 3) of `size` (w, h); `transform` leads from crop pixels to picture pixels, centres at +0.5."""
    width, height = size
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    taps = int(np.clip(np.ceil(scale - 0.2), 1, 4))  # average a footprint instead of skipping pixels
    linear = transform[:, :2] / taps
    offset = transform[:, 2] + linear @ [0.5, 0.5] - 0.5
    out = cv2.warpAffine(
        image,
        np.concatenate([linear, offset[:, None]], axis=1),
        (width * taps, height * taps),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY, GREY, GREY),
    )
    if taps > 1:
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(out[:, ::-1] if mirror else out).astype(np.uint8, copy=False)


def jittered(transform: Transform, side: int, rng: Generator, shift: float, scale: float, turn_deg: float) -> Transform:
    """The region of a crop, moved: shift as a share of its side (sigma), scale as a factor, turn in degrees (sigma)."""
    length = float(np.hypot(transform[0, 0], transform[1, 0])) * side
    angle = float(np.arctan2(transform[1, 0], transform[0, 0]))
    centre = transform[:, :2] @ np.full(2, side / 2) + transform[:, 2]
    moved = centre + rng.normal(0, shift * length, 2)
    grown = length * float(np.exp(rng.normal(0, np.log(scale))))
    return region(moved, grown, angle + float(np.radians(rng.normal(0, turn_deg))), side)


def photometric(image: UInt8, rng: Generator, strength: float = 1.0) -> UInt8:
    """Light, lens, sensor and codec on a crop (H, W, 3)."""

    def chance(p: float) -> bool:
        return bool(rng.random() < p * strength)

    height, width = image.shape[:2]
    x: UInt8 = image
    if chance(0.3):  # low resolution
        factor = rng.uniform(0.25, 0.9)
        small = cv2.resize(x, (max(int(width * factor), 8), max(int(height * factor), 8)), interpolation=cv2.INTER_AREA)
        how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        x = _bytes(cv2.resize(small, (width, height), interpolation=how))
    if chance(0.15):
        x = _bytes(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.8)))
    if chance(0.1):  # motion
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        end = np.array([np.cos(a := rng.uniform(0, np.pi)), np.sin(a)]) * length / 2
        middle = (length - 1) / 2
        first, last = (tuple(round(float(middle + s * e)) for e in end) for s in (-1, 1))
        cv2.line(kernel, first, last, 1.0)
        x = _bytes(cv2.filter2D(x, -1, kernel / kernel.sum()))
    if chance(0.1):
        x = _bytes(cv2.addWeighted(x, 1.6, cv2.GaussianBlur(x, (0, 0), 1.5), -0.6, 0))

    y = x.astype(np.float32) / 255
    if chance(0.7):  # exposure, contrast, colour of the light
        y = (y - 0.5) * np.float32(rng.uniform(0.5, 1.4)) + 0.5 + np.float32(rng.uniform(-0.2, 0.2))
        y *= np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    if chance(0.4):
        y = np.clip(y, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.4)))
    if chance(0.3):  # light from one side
        angle = rng.uniform(0, 2 * np.pi)
        u, v = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        y *= (1 + np.float32(rng.uniform(0, 0.6)) * (np.float32(np.cos(angle)) * u + np.float32(np.sin(angle)) * v))[
            ..., None
        ]
    if chance(0.2):  # grey, or nearly
        grey = y @ np.array([0.299, 0.587, 0.114], np.float32)
        keep = np.float32(rng.uniform(0, 0.5) if rng.random() < 0.5 else 0)
        y = keep * y + (1 - keep) * grey[..., None]
    if chance(0.3):
        y += np.float32(rng.uniform(0.005, 0.06)) * rng.standard_normal(y.shape, dtype=np.float32)
    x = (np.clip(y, 0, 1) * 255 + 0.5).astype(np.uint8)

    if chance(0.3):
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], cv2.IMREAD_COLOR)
        assert decoded is not None
        x = decoded.astype(np.uint8, copy=False)
    return x


def coloured_like(image: UInt8, other: UInt8) -> UInt8:
    """The picture (H, W, 3) with mean and spread of each channel of Lab as in another: Reinhard et al. 2001."""
    own = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    theirs = cv2.cvtColor(np.ascontiguousarray(other[::4, ::4]), cv2.COLOR_RGB2LAB).astype(np.float32)
    (mean, spread), (to_mean, to_spread) = ((x.mean(axis=(0, 1)), x.std(axis=(0, 1)).clip(1)) for x in (own, theirs))
    moved = (own - mean) * (to_spread / spread).clip(0.5, 2) + to_mean
    return _bytes(cv2.cvtColor(moved.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB))


def _bytes(image: NDArray[np.generic]) -> UInt8:
    return image.astype(np.uint8, copy=False)


def occlude(image: UInt8, rng: Generator, other: UInt8) -> UInt8:
    """Something in front of the crop (H, W, 3): a shape filled with one colour or a piece of another picture."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    axes = (int(rng.uniform(0.08, 0.3) * width), int(rng.uniform(0.08, 0.3) * height))
    if rng.random() < 0.5:
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    else:
        corners = cv2.boxPoints((centre, (axes[0] * 2.0, axes[1] * 2.0), float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(mask, corners.astype(np.int32), 255)
    if rng.random() < 0.5:
        fill = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), image.shape)
    else:
        top, left = (int(rng.integers(0, max(side - 32, 1))) for side in other.shape[:2])
        fill = cv2.resize(other[top : top + 64, left : left + 64], (width, height)).astype(np.uint8, copy=False)
    return np.where(mask[..., None] > 0, fill, image).astype(np.uint8)
