"""Glasses, hands and things in front of the face, drawn over the rendered picture."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.synthesis.assets import linear
from train.synthesis.person import Person
from train.synthesis.picture import COVERED, VISIBLE, Rendered
from train.synthesis.scene import Camera

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

OCCLUDER = 12  # label in the segmentation: material + 1 of what covers the face
REGIONS: dict[int, tuple[int, ...]] = {  # landmarks that show an Action Unit on the subject's right
    1: (55, 107, 66, 69), 2: (63, 70, 53, 46), 4: (55, 107, 65, 9), 5: (159, 158, 160), 6: (50, 117, 118, 31),
    7: (145, 153, 144, 159), 9: (193, 122, 129, 168), 10: (37, 39, 203, 129), 12: (61, 50, 216, 206), 14: (61, 216, 57),
    15: (61, 202, 57), 17: (199, 17, 18, 152), 18: (61, 0, 17, 291), 20: (61, 57, 202), 23: (61, 0, 17, 291),
    24: (61, 0, 17, 291), 25: (13, 14, 0, 17), 26: (14, 17, 199, 152), 28: (13, 14, 0, 17), 43: (159, 145, 33, 133),
}  # fmt: skip


class Covered(NamedTuple):
    colour: Float32  # (S, S, 3) linear
    labels: UInt8  # (S, S)
    visibility: UInt8  # (478,)


def cover(picture: Rendered, person: Person, camera: Camera, rng: Generator, backdrop: Float32) -> Covered:
    """Put something in front of the face, or nothing; most faces stay free."""
    colour, labels = picture.colour, picture.labels.copy()
    glasses = rng.random() < 0.18
    hidden, brightness = np.zeros(labels.shape, np.float32), 0.0
    if glasses:
        brightness = _brightness(picture)
        colour = _glasses(colour, picture, person, camera, rng, brightness, hidden)
    thing = rng.random() < 0.08
    if not (glasses or thing):
        return Covered(colour, labels, picture.visibility)
    if thing:
        brightness = brightness or _brightness(picture)
        mask, paint = _thing(picture, person, rng, brightness, backdrop)
        colour = colour + mask[..., None] * (paint - colour)
        hidden = np.maximum(hidden, mask)
    labels[hidden > 0.5] = OCCLUDER
    x, y = (picture.landmarks[:, k].astype(int).clip(0, len(labels) - 1) for k in (0, 1))
    visibility = picture.visibility.copy()
    visibility[(hidden[y, x] > 0.5) & (visibility == VISIBLE)] = COVERED
    return Covered(colour.astype(np.float32), labels, visibility)


def _brightness(picture: Rendered) -> float:
    """The median of what is drawn; what is put before it is lit alike."""
    drawn = picture.colour[picture.labels > 0]
    return float(np.median(drawn.mean(axis=-1))) if len(drawn) else 0.1


def _polyline(shape: tuple[int, ...], points: NDArray[np.floating], width: float, *, closed: bool) -> Float32:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.polylines(
        mask, [np.round((points - 0.5) * 16).astype(np.int32)], closed, 255, max(round(width), 1), cv2.LINE_AA, 4
    )
    return (mask / np.float32(255) * np.float32(min(width, 1.0))).astype(np.float32)


def _filled(shape: tuple[int, ...], points: NDArray[np.floating]) -> Float32:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round((points - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return (mask / np.float32(255)).astype(np.float32)


def _glasses(
    colour: Float32,
    picture: Rendered,
    person: Person,
    camera: Camera,
    rng: Generator,
    brightness: float,
    hidden: Float32,
) -> Float32:
    """Two lenses before the eyes, a bridge and temples; sunglasses hide what is behind them."""
    width, height = rng.uniform(2.4, 3.0), rng.uniform(1.5, 2.5)
    power = float(rng.uniform(2.0, 5.0))  # from oval to box
    a = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack(
        [np.sign(np.cos(a)) * abs(np.cos(a)) ** (2 / power), np.sign(np.sin(a)) * abs(np.sin(a)) ** (2 / power)], 1
    )
    scale = camera.focal / -picture.eyes_cm[:, 2].mean()  # pixels per cm
    thick = float(rng.uniform(0.06, 0.35)) * scale
    frame_colour = linear(np.full(3, rng.uniform(0.02, 0.35)) * rng.uniform(0.7, 1.3, 3)) * np.float32(brightness * 3)
    dark = rng.random() < 0.15
    out, drop = colour.copy(), rng.uniform(-0.5, 0.1)
    tips, legs = [], []
    for side, sign in ((0, -1.0), (1, 1.0)):
        eye = person.eye_centres[side]
        lens = np.zeros((40, 3))
        lens[:, 0] = eye[0] + sign * 0.15 + outline[:, 0] * width
        lens[:, 1] = eye[1] + drop + outline[:, 1] * height
        lens[:, 2] = eye[2] + 3.1 - 0.06 * (np.abs(lens[:, 0]) - 1) ** 2
        seen = camera.project(camera.to_camera(lens))[:, :2]
        inside = _filled(colour.shape, seen)
        if dark:
            tint = linear(np.full(3, rng.uniform(0.03, 0.2))) * np.float32(brightness * 4)
            out += 0.94 * inside[..., None] * (tint - out)
            hidden[:] = np.maximum(hidden, inside)
        else:
            gradient = np.linspace(1, 0, len(out), dtype=np.float32)[:, None]
            glare = float(rng.uniform(0, 0.12) if rng.random() < 0.8 else rng.uniform(0.1, 0.5)) * gradient
            out *= 1 - 0.06 * inside[..., None]
            out += (inside * glare * brightness * 3)[..., None]
        rim = _polyline(colour.shape, seen, thick, closed=True)
        out += rim[..., None] * (frame_colour - out)
        outer, inner = lens[np.argmax(sign * lens[:, 0])], lens[np.argmin(sign * lens[:, 0])]
        tips.append(inner + [0, 0.35, 0.1])
        ear = np.array([sign * 7.6, eye[1] - 0.2, 1.5])
        temple = np.stack([outer * (1 - t) + ear * t for t in np.linspace(0, 1, 14)]) + [0, 0.3, 0]
        flat = camera.project(camera.to_camera(temple))
        x, y = (flat[:, k].astype(int).clip(0, len(out) - 1) for k in (0, 1))
        before = flat[:, 2] < 1 / np.maximum(picture.depth[y, x], 1e-6) + 0.2
        legs.append(flat[: len(flat) if before.all() else max(int(before.argmin()), 1), :2])
    bridge = camera.project(camera.to_camera(np.stack([tips[0], (tips[0] + tips[1]) / 2 + [0, 0.25, 0.2], tips[1]])))
    frame = _polyline(colour.shape, bridge[:, :2], thick, closed=False)
    for leg in legs:
        frame = np.maximum(frame, _polyline(colour.shape, leg, thick * 0.9, closed=False))
    out += frame[..., None] * (frame_colour - out)
    return out


def _thing(
    picture: Rendered, person: Person, rng: Generator, brightness: float, backdrop: Float32
) -> tuple[Float32, Float32]:
    """A hand, a mask over the mouth, a microphone or a piece of something: coverage (S, S) and its colour."""
    size, lm = picture.colour.shape[:2], picture.landmarks
    scale = float(np.linalg.norm(lm[33, :2] - lm[263, :2])) / 9.0  # pixels per cm
    light = np.float32(brightness / max(float(person.look.skin.mean()), 0.05))
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32) / size[0] - 0.5
    slope = 1 + float(rng.uniform(-0.5, 0.5)) * x + float(rng.uniform(-0.5, 0.5)) * y
    kind = rng.random()
    if kind < 0.45:  # fingers
        mask = np.zeros(size, np.float32)
        start = lm[int(rng.choice([50, 280, 152, 61, 291, 4, 151, 205, 425])), :2]
        angle = rng.uniform(0, 2 * np.pi)
        along = np.array([np.cos(angle), np.sin(angle)])
        for finger in range(int(rng.integers(1, 5))):
            tip = start + finger * 1.7 * scale * np.array([-along[1], along[0]]) + rng.normal(0, 0.3 * scale, 2)
            bend = tip + along * 5 * scale + rng.normal(0, 0.8 * scale, 2)
            end = bend + along * 14 * scale
            mask = np.maximum(mask, _polyline(size, np.stack([tip, bend, end]), 1.7 * scale, closed=False))
        shading = cv2.GaussianBlur(mask, (0, 0), max(0.35 * scale, 0.5))
        paint = (person.look.skin * light) * (slope * (0.55 + 0.45 * shading))[..., None]
        return mask, paint.astype(np.float32)
    if kind < 0.6:  # a mask
        line = lm[
            [127, 116, 50, 6 if rng.random() < 0.5 else 195, 280, 345, 356, 361, 397, 378, 152, 149, 172, 132], :2
        ]
        colour = linear(rng.uniform(0.55, 1.0, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.05, 0.3)))
        folds = 1 + 0.06 * np.sin(y * size[0] * 0.5 / max(scale, 1))
        return _filled(size, line), (colour * np.float32(brightness * 3) * (slope * folds)[..., None]).astype(
            np.float32
        )
    centre = lm[int(rng.choice([152, 17, 50, 280, 10, 61, 1])), :2] + rng.normal(0, 2.5 * scale, 2)
    mask8 = np.zeros(size, np.uint8)
    axes = (int(rng.uniform(1.5, 5) * scale), int(rng.uniform(1.5, 6) * scale))
    middle = (int(centre[0]), int(centre[1]))
    if rng.random() < 0.5:
        cv2.ellipse(mask8, middle, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
        cv2.line(mask8, middle, (int(centre[0] + rng.normal(0, 3) * scale), size[0]), 255, max(int(1.2 * scale), 1))
    else:
        box = cv2.boxPoints((middle, (axes[0] * 2.0, axes[1] * 2.0), float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(mask8, box.astype(np.int32), 255, cv2.LINE_AA)
    if rng.random() < 0.5:
        paint = np.roll(backdrop, rng.integers(0, size[0], 2), (0, 1))
    else:
        paint = linear(rng.uniform(0.02, 0.9, 3)) * np.float32(brightness * 3) * slope[..., None]
    return (mask8 / np.float32(255)).astype(np.float32), paint.astype(np.float32)
