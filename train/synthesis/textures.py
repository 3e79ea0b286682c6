"""Skin painted in the face's texture: tone, blotches, lips, brows, beard, pores, and lines that come with expression.

Everything is drawn at the places of the landmarks in the texture. The right half is drawn and mirrored with its own
random differences. Colours are linear light; heights are in units of the bump map (0 is the skin, -1 a deep line).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numba
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from train.synthesis.assets import Head, linear

Float32 = NDArray[np.float32]

SIDE = 512
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
_BROW_TOP, _BROW_BOTTOM = (107, 66, 105, 63, 70), (55, 65, 52, 53, 46)  # from the nose outwards
_MOUSTACHE = (216, 206, 98, 97, 2, 326, 327, 426, 436, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61)
_GOATEE = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 422, 430, 394, 379, 378, 400, 377, 152, 148, 176, 149, 150, 169,
    210, 202,
)  # fmt: skip
_BEARD = (
    234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 366, 376,
    411, 427, 436, 426, 2, 206, 216, 207, 187, 147, 137,
)  # fmt: skip
SKIN_TONES = linear(
    np.array(
        [(250, 222, 202), (241, 201, 174), (226, 178, 145), (201, 149, 112),
         (162, 112, 78), (120, 79, 54), (82, 54, 39), (58, 38, 29)], np.float32,
    ) / 255
)  # fmt: skip
_HAIR = linear(
    np.array(
        [(18, 15, 14), (36, 26, 20), (62, 42, 30), (96, 64, 40), (140, 100, 60), (190, 155, 105), (120, 60, 30)],
        np.float32,
    ) / 255
)  # fmt: skip
_HAIR_ODDS, _DARK_HAIR_ODDS = (0.26, 0.24, 0.19, 0.14, 0.07, 0.06, 0.04), (0.62, 0.28, 0.10, 0, 0, 0, 0)
_GREY = linear(np.array([(165, 162, 158)], np.float32) / 255)[0]
BEARDS = ("none", "beard", "moustache", "goatee", "moustache and goatee", "stubble")


class Look(NamedTuple):
    """What the skin of one person is like; drawn once, painted once."""

    tone: float  # 0 light to 7 dark
    skin: Float32  # (3,) linear
    hair: Float32  # (3,)
    brow: Float32  # (3,) goes grey later than the hair
    female: bool
    age: float  # 0-1
    beard: str
    beard_density: float
    brow_density: float
    made_up: bool
    lines: bool  # whether lines follow expressions


class Line(NamedTuple):
    """One wrinkle map: a piece of the height map, (h, w) in -1-0, at row and column of the texture."""

    name: str
    side: int  # 0 the subject's right, 1 left
    row: int
    column: int
    height: Float32


class Skin(NamedTuple):
    albedo: Float32  # (512, 512, 3)
    height: Float32  # (512, 512) fine bump of the resting skin
    gloss: Float32  # (512, 512) how much smoother than the cheek: nose, forehead, lips; negative under a beard
    lines: list[Line]


def draw_look(rng: Generator) -> Look:
    """A person's skin, hair and age, with ties between them."""
    tone = float(rng.uniform(0, 7))
    low = min(int(tone), 6)
    skin = SKIN_TONES[low] * (1 - (tone - low)) + SKIN_TONES[low + 1] * (tone - low)
    skin = skin * np.exp(rng.normal(0, 0.05, 3)) * [1.03, 0.97, 0.92] * np.exp(rng.normal(0, 0.06))
    female, age = bool(rng.random() < 0.5), float(rng.uniform(0, 1) ** 1.3)
    colour = _HAIR[rng.choice(7, p=_DARK_HAIR_ODDS if tone > 3.8 else _HAIR_ODDS)] * np.exp(rng.normal(0, 0.15))
    grey = float(np.clip((age - 0.45) * rng.uniform(0, 3.2), 0, 1)) if rng.random() < 0.7 else 0.0
    white = _GREY * float(rng.uniform(0.45, 1))
    hair = colour * (1 - grey) + white * grey
    beard = "none"
    if not female and rng.random() < 0.6:
        beard = str(rng.choice(BEARDS[1:], p=[0.25, 0.12, 0.08, 0.2, 0.35]))
    return Look(
        tone,
        skin.astype(np.float32),
        hair.astype(np.float32),
        (colour * (1 - 0.4 * grey) + white * 0.4 * grey).astype(np.float32),
        female,
        age,
        beard,
        float(rng.uniform(0.15, 1)),
        float(rng.uniform(0.25, 1)),
        bool(female and rng.random() < 0.45),
        bool(rng.random() < 0.85),
    )


class Masks(NamedTuple):
    """Where things are in the texture; all (512, 512) in 0-1."""

    lips: Float32
    cheeks: Float32
    nose: Float32
    under_eye: Float32
    lids: Float32
    lid_line: Float32
    moustache: Float32
    goatee: Float32
    beard: Float32
    t_zone: Float32
    mouth_line: Float32


_CACHE: dict[str, Masks] = {}


def masks(head: Head) -> Masks:
    """The masks of a head, made once."""
    if head.sha256 not in _CACHE:
        _CACHE[head.sha256] = _masks(head)
    return _CACHE[head.sha256]


def places(head: Head) -> Float32:
    """(478, 2) x, y of the landmarks in the texture, pixels."""
    return (head.landmark_uv * [SIDE, -SIDE] + [0, SIDE]).astype(np.float32)


def paint(head: Head, look: Look, rng: Generator) -> Skin:
    """The textures of one person."""
    m, p = masks(head), places(head)
    dark = look.tone / 7
    albedo = np.broadcast_to(look.skin, (SIDE, SIDE, 3)).astype(np.float32)
    fine = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    pores = cv2.GaussianBlur(fine, (0, 0), 1.0) * 2.5
    middle, coarse = _noise(rng, 40, 3), _noise(rng, 5, 3)
    flush = float(rng.uniform(0.1, 0.75)) * (1 - 0.5 * dark)
    tints: list[tuple[Float32, tuple[float, float, float], float]] = [
        (m.cheeks, (1.02, 0.74, 0.72), flush),
        (m.nose, (1.02, 0.74, 0.72), flush * float(rng.uniform(0.5, 1.2))),
        (np.clip(coarse / 2 + 0.5, 0, 1), (1.04, 0.90, 0.87), 0.7 * float(rng.uniform(0.3, 1))),
        (m.under_eye, (0.80, 0.70, 0.74), float(rng.uniform(0.05, 0.8))),
        (m.lids, (0.86, 0.74, 0.74), float(rng.uniform(0.1, 0.7))),
        (m.lid_line, (0.55, 0.42, 0.42), float(rng.uniform(0.35, 0.9))),
        (m.mouth_line, (0.55, 0.38, 0.38), float(rng.uniform(0.2, 0.7))),
    ]
    lips = (0.85, 0.66, 0.68) if dark > 0.6 else (0.92, 0.62, 0.62)
    redness = float(rng.uniform(0.82, 1.12))
    tints.append((m.lips, (lips[0] * redness, lips[1] * redness, lips[2] * redness), float(rng.uniform(0.4, 1))))
    for mask, colour, amount in tints:
        _tint(albedo, mask, np.array(colour, np.float32), amount)
    grain = 0.035 * rng.uniform(0.4, 1.6) * middle + 0.07 * rng.uniform(0.2, 1.2) * pores
    albedo *= (1 + grain)[..., None].astype(np.float32)
    _marks(albedo, rng, dark)
    if look.made_up:
        _make_up(albedo, m, rng, 1 - 0.6 * dark)
    brow, brow_soft = _brows(p, look, rng)
    under = look.brow * 0.6 + look.skin * 0.4
    _mix(albedo, brow_soft, under, 1.0)
    _mix(albedo, brow, look.brow * float(rng.uniform(0.6, 1.0)), 1.0)
    beard = _beard(m, look, rng)
    if beard is not None:
        _mix(albedo, beard, look.hair * float(rng.uniform(0.7, 1.2)), 1.0)
    bump = (0.35 * pores + 0.12 * middle) * float(rng.uniform(0.3, 1)) * 0.9 + 0.6 * brow * fine
    gloss = float(rng.uniform(0.3, 1.3)) * m.t_zone * 0.13 + float(rng.uniform(0, 1.2)) * m.lips * 0.14
    if beard is not None:
        bump += 0.5 * beard * fine
        gloss -= 0.12 * beard
    return Skin(
        np.ascontiguousarray(albedo.clip(0.004, 0.98)),
        bump.astype(np.float32),
        gloss.astype(np.float32),
        _lines(p, rng),
    )


def _noise(rng: Generator, cells: int, octaves: int) -> Float32:
    """Smooth noise (512, 512), about -1 to 1."""
    out = np.zeros((SIDE, SIDE), np.float32)
    for k in range(octaves):
        grid = rng.standard_normal((cells * 2**k, cells * 2**k)).astype(np.float32)
        out += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.5**k
    return out * np.float32(0.6)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _tint(albedo: Float32, mask: Float32, colour: Float32, amount: float) -> None:
    """Multiply by a colour where the mask is, in place."""
    for i in range(albedo.shape[0]):
        for j in range(albedo.shape[1]):
            share = amount * mask[i, j]
            if share != 0:
                for k in range(3):
                    albedo[i, j, k] *= 1 + share * (colour[k] - 1)


def _mix(albedo: Float32, mask: Float32, colour: NDArray[np.floating], amount: float) -> None:
    _cover(albedo, mask, np.asarray(colour, np.float32), amount)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _cover(albedo: Float32, mask: Float32, colour: Float32, amount: float) -> None:
    """Paint a colour where the mask is, in place."""
    for i in range(albedo.shape[0]):
        for j in range(albedo.shape[1]):
            share = amount * mask[i, j]
            if share != 0:
                for k in range(3):
                    albedo[i, j, k] += share * (colour[k] - albedo[i, j, k])


def _blob(centre: NDArray[np.floating], radius_x: float, radius_y: float) -> Float32:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    squared = ((x - centre[0]) / radius_x) ** 2 + ((y - centre[1]) / radius_y) ** 2
    return np.asarray(np.exp(-squared), dtype=np.float32)


def _polygon(points: NDArray[np.floating], blur: float) -> Float32:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return (cv2.GaussianBlur(mask, (0, 0), blur) / np.float32(255)).astype(np.float32)


def _stroke(points: NDArray[np.floating], width: float, blur: float) -> Float32:
    """A line about `width` px wide, at least one."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 255, max(round(width), 1), cv2.LINE_AA, 4)
    return (cv2.GaussianBlur(mask, (0, 0), blur) / np.float32(255)).astype(np.float32)


def _both(mask: Float32) -> Float32:
    return np.maximum(mask, mask[:, ::-1])


def _masks(head: Head) -> Masks:
    p = places(head)
    lips = _polygon(p[list(_LIPS)], 1.2)
    line = np.maximum(_stroke(p[list(_UPPER_LID)], 2, 0.7), 0.6 * _stroke(p[list(_LOWER_LID)], 2, 0.7))
    upper_lid = _polygon(np.concatenate([p[list(_UPPER_LID)], p[[190, 56, 28, 27, 29, 30, 247]]]), 3)
    moustache = _polygon(p[list(_MOUSTACHE)], 3)
    goatee = _polygon(p[list(_GOATEE)], 5)
    no_lips = 1 - np.clip(lips * 1.5, 0, 1)
    return Masks(
        lips=lips,
        cheeks=_both(_blob(p[50], 44, 34)),
        nose=_blob(p[4], 26, 24),
        under_eye=_both(_blob(p[230] + [0, 4], 26, 9)),
        lids=_both(upper_lid),
        lid_line=_both(line),
        moustache=moustache * no_lips,
        goatee=goatee * no_lips,
        beard=_polygon(p[list(_BEARD)], 7) * no_lips,
        t_zone=np.maximum(_blob(p[4], 22, 70), _blob(p[9], 80, 30)),
        mouth_line=_stroke(p[[78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]], 2, 0.8),
    )


def _marks(albedo: Float32, rng: Generator, dark: float) -> None:
    """Freckles, moles and spots."""
    kinds = [
        (int(rng.integers(60, 500)) if rng.random() < 0.3 * (1 - dark) + 0.05 else 0, (0.5, 1.4), (0.85, 0.7, 0.6)),
        (int(rng.poisson(2)), (0.8, 2.2), (0.45, 0.35, 0.32)),
        (int(rng.integers(4, 30)) if rng.random() < 0.15 else 0, (1.0, 2.5), (1.0, 0.7, 0.66)),
    ]
    for count, radii, colour in kinds:
        if not count:
            continue
        spots = np.zeros((SIDE, SIDE), np.uint8)
        for x, y in rng.uniform(60, SIDE - 60, (count, 2)):
            radius = rng.uniform(*radii)
            cv2.circle(
                spots, (int(x * 16), int(y * 16)), int(radius * 16), int(rng.integers(90, 230)), -1, cv2.LINE_AA, 4
            )
        _tint(albedo, (spots / 255).astype(np.float32), np.array(colour, np.float32), 1.0)


def _make_up(albedo: Float32, m: Masks, rng: Generator, brightness: float) -> None:
    lip = linear(np.array([rng.uniform(110, 205), rng.uniform(15, 95), rng.uniform(30, 110)]) / 255)
    _mix(albedo, m.lips, lip * brightness, float(rng.uniform(0.25, 0.85)))
    lid = linear(np.array([rng.uniform(60, 190), rng.uniform(40, 150), rng.uniform(40, 170)]) / 255)
    _mix(albedo, m.lids, lid * brightness, float(rng.uniform(0.05, 0.5)))
    _mix(albedo, m.lid_line, np.array([0.01, 0.008, 0.008]), float(rng.uniform(0.3, 0.95)))


def _brows(p: Float32, look: Look, rng: Generator) -> tuple[Float32, Float32]:
    """Hairs and the soft shade under them, each (512, 512)."""
    hairs, soft = np.zeros((SIDE * 2, SIDE * 2), np.uint8), np.zeros((SIDE, SIDE), np.float32)
    count = int(220 + 400 * look.brow_density)
    thickness, arch = float(rng.uniform(0.7, 1.5)), float(rng.uniform(-2.5, 3.5))
    tail, shift = float(rng.uniform(0.72, 1.0)), rng.normal(0, [1.5, 1.6])
    bushy = float(rng.uniform(0.6, 1.3))
    under = float(rng.uniform(0.2, 0.75))
    for mirrored in (False, True):
        top, bottom = p[list(_BROW_TOP)].copy(), p[list(_BROW_BOTTOM)].copy()
        top[:, 1] -= arch * np.array([0, 0.4, 1, 0.8, 0])
        bottom[:, 1] -= arch * np.array([0, 0.4, 1, 0.8, 0]) * 0.7
        middle = (top + bottom) / 2
        upper, lower = middle + (top - middle) * thickness, middle + (bottom - middle) * thickness
        curve = [make_interp_spline(np.linspace(0, 1, 5), side, k=3) for side in (upper, lower)]
        along = rng.uniform(0, tail, count)
        across = rng.beta(2.2, 2.2, count)
        taper = np.where(along > 0.6, 1 - 0.75 * (along - 0.6) / 0.4, 1.0)
        a, b = curve[0](along), curve[1](along)
        root = (a + b) / 2 + (a - b) * (across - 0.5)[:, None] * taper[:, None]
        direction = np.stack([-(0.25 + 0.9 * along), -(1.0 - 1.15 * along)], axis=1)
        direction += rng.normal(0, 0.22, (count, 2))
        length = rng.uniform(2.4, 5.0, count) * bushy
        tips = root + direction / np.linalg.norm(direction, axis=1, keepdims=True) * length[:, None]
        ends = np.stack([root, tips], axis=1) + shift + rng.normal(0, 0.4, 2)
        if mirrored:
            ends[..., 0] = SIDE - ends[..., 0]
        lines = np.round(ends * 32).astype(np.int32)
        cv2.polylines(hairs, list(lines), False, 255, 1, cv2.LINE_AA, 4)
        edge = np.concatenate([curve[0](np.linspace(0, tail, 12)), curve[1](np.linspace(tail, 0, 12))]) + shift
        if mirrored:
            edge[:, 0] = SIDE - edge[:, 0]
        soft = np.maximum(soft, _polygon(edge, 2.5))
    strong = cv2.resize(hairs, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / np.float32(255)
    return np.clip(strong * float(rng.uniform(0.75, 1.15)), 0, 1), soft * under


def _beard(m: Masks, look: Look, rng: Generator) -> Float32 | None:
    if look.beard == "none":
        return None
    area = {
        "beard": np.maximum(m.beard, np.maximum(m.moustache, m.goatee)),
        "moustache": m.moustache,
        "goatee": m.goatee,
        "moustache and goatee": np.maximum(m.moustache, m.goatee),
        "stubble": np.maximum(m.beard, np.maximum(m.moustache, m.goatee)),
    }[look.beard]
    hairs = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 0.5, sigmaY=1.5)
    hairs = np.clip(hairs * 1.5 + 0.6, 0, 1)
    edge = np.clip(area * 1.6 + 0.25 * _noise(rng, 24, 2) - 0.3, 0, 1)
    density = 0.35 * look.beard_density if look.beard == "stubble" else 0.35 + 0.6 * look.beard_density
    return np.asarray(edge * (0.35 + 0.65 * hairs) * density, dtype=np.float32)


def _curve(points: NDArray[np.floating], steps: int = 24) -> NDArray[np.floating]:
    """A smooth line through a few points."""
    return np.asarray(_through(len(points), steps) @ points)


@functools.cache
def _through(count: int, steps: int) -> NDArray[np.float64]:
    """(steps, count) what every point of a curve takes from each of the points that it goes through."""
    spline = make_interp_spline(np.linspace(0, 1, count), np.eye(count), k=min(3, count - 1))
    return np.asarray(spline(np.linspace(0, 1, steps)))


class _Plan(NamedTuple):
    """One family of lines on the right half: curves through points (n, 2), width and softness in px, strength."""

    curves: Sequence[tuple[NDArray[np.floating], float]]
    width: float
    blur: float


@functools.cache
def _unit_noise(seed: int) -> Float32:
    return _noise(np.random.default_rng(seed), 28, 2)


def _plans(p: Float32) -> dict[str, _Plan]:
    """The wrinkle maps of the right half in a texture without jitter."""

    def between(a: int, b: int, t: float) -> NDArray[np.floating]:
        return np.asarray(p[a] * (1 - t) + p[b] * t)

    forehead = []
    for t in (0.15, 0.75, 1.35):
        outer, mid, inner = between(63, 68, 0.35 + t), between(105, 104, 0.35 + t), between(66, 69, 0.35 + t)
        centre = between(9, 151, 0.3 + t)
        forehead.append((np.stack([outer, mid, inner, centre]), 0.7))
    inner_forehead = []
    for t in (0.15, 0.7):
        inner_forehead.append(
            (
                np.stack([between(66, 69, 0.45 + t) + [-2, -2], between(107, 108, 0.35 + t), between(9, 151, 0.2 + t)]),
                0.9,
            )
        )
    inner_brow = p[55]
    glabella = [
        (np.stack([inner_brow + [7, 12], inner_brow + [6, 0], p[107] + [8, -6]]), 1.0),
        (np.stack([inner_brow + [15, 10], inner_brow + [15, -4]]), 0.45),
    ]
    crow = []
    for angle in (-35, -8, 18, 42):
        a = np.radians(angle)
        ray = np.array([-np.cos(a), np.sin(a)])
        crow.append((np.stack([p[33] + 9 * ray, p[33] + 22 * ray + [0, 1.5], p[33] + 34 * ray + [0, 4]]), 0.8))
    lower = p[[33, 7, 163, 144, 145, 153, 154, 155, 133]]
    under = [(np.add(lower[1:], (0, 4.5)), 0.8), (np.add(lower[2:], (0, 11.0)), 0.7)]
    root = []
    for offset in (-6, 1, 8):
        root.append((np.stack([p[193] + [-7, offset + 5], p[122] + [1, offset], p[6] + [-3, offset - 5]]), 0.85))
    fold = p[[129, 203, 206, 216, 212]] + np.array([[4, 0], [4, 0], [4, 0], [3, 0], [3, 0]])
    pit = [
        (np.stack([p[61] + [-6, -9], p[61] + [-9, 0], p[61] + [-6, 9]]), 1.0),
        (np.stack([p[61] + [-3, -4], p[61] + [-4.5, 0], p[61] + [-3, 4]]), 0.8),
    ]
    below = [(np.stack([p[61] + [-1, 3], p[61] + [-4, 14], p[61] + [-5, 30]]), 0.9)]
    lip_lines = []
    for i, j in ((37, 167), (39, 165), (40, 92), (84, 83), (181, 182), (91, 106)):
        lip_lines.append((np.stack([p[i], p[i] * 0.5 + p[j] * 0.5]), 0.6))
    return {
        "forehead": _Plan(forehead, 3, 1.8),
        "inner forehead": _Plan(inner_forehead, 3, 1.7),
        "glabella": _Plan(glabella, 3, 1.5),
        "crow's feet": _Plan(crow, 2, 1.2),
        "under eye": _Plan(under, 2, 1.5),
        "nose root": _Plan(root, 2, 1.4),
        "nasolabial": _Plan([(fold, 1.0)], 4, 2.6),
        "mouth corner": _Plan(pit, 3, 1.6),
        "below corner": _Plan(below, 3, 1.9),
        "lip lines": _Plan(lip_lines, 1, 0.9),
    }


def _lines(p: Float32, rng: Generator) -> list[Line]:
    """Wrinkle maps of one person: every curve is shifted and broken up in its own way, each map has its own gain."""
    found = []
    breaks = np.clip(0.75 + 0.45 * np.roll(_unit_noise(int(rng.integers(8))), rng.integers(0, SIDE, 2), (0, 1)), 0, 1.4)
    for name, plan in _plans(p).items():
        gain, shift = float(rng.uniform(0.35, 1.3)), rng.normal(0, 1.2, 2)
        kept = [curve for curve in plan.curves if len(plan.curves) < 3 or rng.random() < 0.85]
        for side in (0, 1):
            drawn = [_curve(c + shift + rng.normal(0, 1.0, c.shape)) for c, _ in kept]
            if not drawn:
                continue
            everything = np.concatenate(drawn)
            pad = 4 * plan.blur + plan.width
            x0, y0 = np.floor(everything.min(axis=0) - pad).astype(int).clip(0, SIDE - 2)
            x1, y1 = np.ceil(everything.max(axis=0) + pad).astype(int).clip(2, SIDE)
            mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
            for curve, (_, strength) in zip(drawn, kept, strict=True):
                points = np.round((curve - [x0, y0]) * 16).astype(np.int32)
                cv2.polylines(mask, [points], False, int(255 * strength), round(plan.width), cv2.LINE_AA, 4)
            height = cv2.GaussianBlur(mask, (0, 0), plan.blur) / np.float32(-255) * np.float32(1.6)
            height = height * breaks[y0:y1, x0:x1] * gain
            column = x0
            if side == 1:
                height, column = height[:, ::-1], SIDE - x1
            found.append(Line(name, side, int(y0), int(column), np.ascontiguousarray(height, dtype=np.float32)))
    chin = p[199]
    x0, y0 = (int(v) for v in chin - [36, 34])
    dimples = cv2.GaussianBlur(rng.standard_normal((68, 72)).astype(np.float32), (0, 0), 3.0) * 8
    y, x = np.mgrid[-34:34, -36:36].astype(np.float32)
    height = -np.clip(dimples, 0, 1.0) * np.exp(-((x / 24) ** 2) - (y / 22) ** 2) * float(rng.uniform(0.35, 1.2))
    found.append(Line("chin", 0, y0, x0, height.astype(np.float32)))
    return found


def skin_height(skin: Skin, drive: dict[str, tuple[float, float]]) -> Float32:
    """(512, 512) the height map of an expression; `drive` says how strong each family of lines is, right and left."""
    height = skin.height.copy()
    for line in skin.lines:
        k = drive.get(line.name, (0.0, 0.0))[line.side]
        if k > 0.02:
            rows, columns = line.height.shape
            height[line.row : line.row + rows, line.column : line.column + columns] += np.float32(2.4 * k) * line.height
    return height
