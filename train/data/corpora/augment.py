"""Two random views of an aligned picture, or of a whole clip, on the CPU.

AUNCE's views (its text and official code): random 224 crop of the 256 picture, flip, colour jitter, grey, blur. Jitter
is torchvision's ColorJitter: brightness, contrast, saturation and hue in random order. What a view does is drawn from
(seed, epoch, row) alone, so it depends neither on the worker nor on what was loaded before.
"""

from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, std
CIFAR: tuple[Triple, Triple] = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # AUNCE's code uses them

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How views are drawn. The defaults are AUNCE's, with ImageNet's pixel statistics."""

    size: int = 224  # side of a view
    crop: tuple[float, float] | None = None  # range of the crop's share of the area; None: a window of `size` pixels
    flip: float = 0.5  # probability
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur: tuple[float, float] = (0.1, 2.0)  # sigma in pixels, kernel 3
    blur_p: float = 1.0
    mean: Triple = IMAGENET[0]
    std: Triple = IMAGENET[1]


AUNCE = Augmentation()
AUNCE_OFFICIAL = Augmentation(mean=CIFAR[0], std=CIFAR[1])
CROP_FLIP = Augmentation(jitter_p=0, grey_p=0, blur_p=0)  # AUNCE's linear probe on DISFA
MEGRAPH = Augmentation(jitter=(0.4, 0.4, 0.4, 0.0), jitter_p=1.0, grey_p=0, blur_p=0)  # also CL-ILE and CLEF
CLP = Augmentation(crop=(0.8, 1.0), blur_p=0.5)


class Geometry(NamedTuple):
    """Which part of the picture a view shows."""

    left: int
    top: int
    side: int  # pixels of the picture
    flipped: bool


class Colour(NamedTuple):
    """What happens to the pixels of a view."""

    jitter: tuple[tuple[int, float], ...]  # (0 brightness, 1 contrast, 2 saturation, 3 hue; factor or turn), in order
    grey: bool
    sigma: float  # 0: not blurred


def views(pictures: UInt8, how: Augmentation, seed: int, epoch: int, row: int, count: int = 2) -> Float32:
    """`count` independent views of each of P pictures (P, H, W, 3) RGB -> (count, P, 3, size, size), normalised.

    With P > 1 the pictures are the frames of one clip (CLP): all views of all frames show the same part of the
    picture, so that the geometry identifies no frame, and the frames of a view share their colours.
    """
    rng = np.random.default_rng([seed, epoch, row])
    height, width = pictures.shape[1:3]
    shared = draw_geometry(how, (height, width), rng)
    out = np.empty((count, len(pictures), 3, how.size, how.size), np.float32)
    for v in range(count):
        where = shared if len(pictures) > 1 or v == 0 else draw_geometry(how, (height, width), rng)
        colour = draw_colour(how, rng)
        for p, picture in enumerate(pictures):
            out[v, p] = _normalised(_coloured(_cut(picture, where, how.size), colour), how)
    return out


def centre(picture: UInt8, how: Augmentation) -> Float32:
    """The test view of a picture (H, W, 3): its middle, normalised, (3, size, size)."""
    height, width = picture.shape[:2]
    side = min(height, width) if how.crop is not None else how.size
    where = Geometry((width - side) // 2, (height - side) // 2, side, flipped=False)
    return _normalised(_cut(picture, where, how.size), how)


def draw_geometry(how: Augmentation, picture: tuple[int, int], rng: Generator) -> Geometry:
    """A place in a picture of (height, width)."""
    height, width = picture
    side = how.size if how.crop is None else round(float(np.sqrt(rng.uniform(*how.crop))) * min(height, width))
    if side > min(height, width):
        raise ValueError(f"pictures must be at least {side} pixels high and wide, got {height} x {width}")
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    return Geometry(left, top, side, bool(rng.random() < how.flip))


def draw_colour(how: Augmentation, rng: Generator) -> Colour:
    """Jitter, grey and blur. Every number is drawn, used or not, so that one probability does not move the others."""
    brightness, contrast, saturation, hue = how.jitter
    factors = [float(rng.uniform(1 - s, 1 + s)) for s in (brightness, contrast, saturation)]
    factors.append(float(rng.uniform(-hue, hue)))
    order = rng.permutation(4).tolist()
    jittered, grey, blurred = (bool(rng.random() < p) for p in (how.jitter_p, how.grey_p, how.blur_p))
    sigma = float(rng.uniform(*how.blur))
    return Colour(tuple((i, factors[i]) for i in order) if jittered else (), grey, sigma if blurred else 0.0)


def _cut(picture: UInt8, where: Geometry, size: int) -> UInt8:
    part = picture[where.top : where.top + where.side, where.left : where.left + where.side]
    if where.side != size:
        how = cv2.INTER_AREA if where.side > size else cv2.INTER_LINEAR
        part = cv2.resize(part, (size, size), interpolation=how).astype(np.uint8, copy=False)
    return cv2.flip(part, 1).astype(np.uint8, copy=False) if where.flipped else part


def _coloured(picture: UInt8, colour: Colour) -> UInt8:
    x = np.ascontiguousarray(picture)
    for kind, amount in colour.jitter:
        if kind == 0:
            x = _blended(x, None, amount)
        elif kind == 1:
            level = int(float(cv2.mean(x)[:3] @ _GREY) + 0.5)
            x = _blended(x, np.full_like(x, level), amount)
        elif kind == 2:
            x = _blended(x, _grey(x), amount)
        elif round(amount * 180):
            hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(amount * 180)) % 180
            x = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)
    if colour.grey:
        x = _grey(x)
    if colour.sigma > 0:
        x = cv2.GaussianBlur(x, (3, 3), colour.sigma, borderType=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)
    return x


def _blended(x: UInt8, other: UInt8 | None, amount: float) -> UInt8:
    """amount * x + (1 - amount) * other, clipped; without another picture, black."""
    mixed = cv2.convertScaleAbs(x, alpha=amount) if other is None else cv2.addWeighted(x, amount, other, 1 - amount, 0)
    return mixed.astype(np.uint8, copy=False)


def _grey(x: UInt8) -> UInt8:
    return cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def _normalised(x: UInt8, how: Augmentation) -> Float32:
    """(3, S, S), plane by plane: ten times as fast as over the whole picture and transposed."""
    out = np.empty((3, *x.shape[:2]), np.float32)
    for plane, target, mean, std in zip(cv2.split(x), out, how.mean, how.std, strict=True):
        np.multiply(plane, np.float32(1 / (255 * std)), out=target)
        target -= np.float32(mean / std)
    return out
