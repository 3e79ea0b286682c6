"""Who is rendered: one record binds shape, resting face, skin, hair and eyes of a person to one seed."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.synthesis.assets import EYE, EYE_SOCKET, FACE, GUMS, HAIR, HAT, HEAD, LASH, SOCKET, TEETH, Head, linear
from train.synthesis.expression import Body, body
from train.synthesis.seeds import generator
from train.synthesis.shade import CLOTH
from train.synthesis.textures import Look, Skin, draw_look, paint

Float32 = NDArray[np.float32]

_HABITS = {  # how much resting faces differ: standard deviation and limit of shapes that are nobody's expression
    "browDown": (0.20, 0.5),
    "browInnerUp": (0.12, 0.3),
    "browOuterUp": (0.15, 0.35),
    "eyeSquint": (0.18, 0.45),
    "eyeWide": (0.12, 0.3),
    "cheekSquint": (0.10, 0.25),
    "noseSneer": (0.05, 0.12),
    "mouthFrown": (0.12, 0.3),
    "mouthSmile": (0.06, 0.15),
    "mouthDimple": (0.06, 0.15),
    "mouthStretch": (0.05, 0.12),
    "mouthPress": (0.06, 0.15),
    "cheekPuff": (0.08, 0.2),
    "mouthRollUpper": (0.16, 0.35),
    "mouthRollLower": (0.12, 0.3),
    "mouthPucker": (0.06, 0.15),
    "jawForward": (0.1, 0.3),
}
_MEAN_HABIT = {"browDown": 0.35, "browInnerUp": -0.3, "mouthRollUpper": 0.08}  # the mesh's own face looks surprised
_MEN, _MEN_ODDS = ("short01", "short02", "short04"), (0.45, 0.45, 0.1)
_WOMEN, _WOMEN_ODDS = ("long01", "ponytail01", "braid01", "short04", "short02"), (0.27, 0.24, 0.24, 0.08, 0.17)


class Person(NamedTuple):
    """Everything of a person that stays the same from picture to picture."""

    seed: tuple[int, int]  # dataset, number
    neutral: Float32  # (V, 3) cm, without expression
    resting: Float32  # (V, 3) cm, the face at rest
    body: Body
    look: Look
    skin: Skin
    hair: str  # a style, "shaven" or "bald"
    hair_vertices: Float32  # (H, 3)
    scalp: Float32  # (V,) how much hair grows at each vertex
    colours: Float32  # (11, 3) of the materials
    iris: Float32  # (160, 160, 3)
    limbus: float
    roughness: float
    shine: float
    eye_centres: Float32  # (2, 3)
    lashes: tuple[float, float]  # darkness at the roots, length
    hem: float


def make_person(head: Head, dataset: int, number: int) -> Person:
    """Person `number` of a dataset; the same for the same seed, wherever it is made."""
    rng = generator("shape", dataset, number)
    weights = np.clip(rng.normal(0, 0.85, len(head.identity)), -2.2, 2.2).astype(np.float32)
    offset = (weights @ head.identity).reshape(-1, 3)
    neutral = head.neutral + offset
    habit = np.zeros(len(head.expression), np.float32)
    for shape, (sigma, limit) in _HABITS.items():
        both = _MEAN_HABIT.get(shape, 0.0) + float(np.clip(rng.normal(0, sigma), -limit, limit))
        for side in ("", "_L", "_R"):
            if shape + side in head.expression_index:
                habit[head.expression_index[shape + side]] = both + (rng.normal(0, sigma * 0.15) if side else 0.0)
    look = draw_look(generator("look", dataset, number))
    rng = generator("hair", dataset, number)
    style = _style(rng, look)
    hair_vertices = np.zeros((0, 3), np.float32)
    if style in head.hair:
        mesh = head.hair[style]
        hair_vertices = mesh.vertices + (offset[mesh.bind] * mesh.bind_weights[..., None]).sum(axis=1)
    growth = {"shaven": float(rng.uniform(0.4, 0.95)), "bald": 0.0, "fedora": float(rng.uniform(0.5, 0.95))}.get(
        style, 0.96
    )
    face = body(head, neutral, habit, look.age)
    rng = generator("colours", dataset, number)
    centres = head.eye_centres + np.stack([offset[eye].mean(axis=0) for eye in head.eyes])
    return Person(
        seed=(dataset, number),
        neutral=neutral,
        resting=(neutral + (face.rest @ head.expression).reshape(-1, 3)).astype(np.float32),
        body=face,
        look=look,
        skin=paint(head, look, generator("paint", dataset, number)),
        hair=style,
        hair_vertices=hair_vertices.astype(np.float32),
        scalp=(_scalp(head, rng) * growth).astype(np.float32),
        colours=_colours(look, rng),
        iris=_iris(head, look, rng),
        limbus=float(rng.uniform(0.36, 0.40)),
        roughness=float(rng.uniform(0.45, 0.62)),
        shine=float(rng.uniform(0.4, 1.1)),
        eye_centres=centres.astype(np.float32),
        lashes=(float(rng.uniform(0.2, 0.9 if look.female else 0.6)), float(rng.uniform(0.35, 1.0))),
        hem=float(rng.uniform(-15, -12)),
    )


def _style(rng: Generator, look: Look) -> str:
    kind = rng.random()
    if kind < 0.70:
        styles, odds = (_WOMEN, _WOMEN_ODDS) if look.female else (_MEN, _MEN_ODDS)
        return str(rng.choice(styles, p=odds))
    if kind < 0.74:
        return "afro01"
    if kind < 0.80:
        return "fedora"
    return "shaven" if kind < 0.92 or look.female else "bald"


def _colours(look: Look, rng: Generator) -> Float32:
    colours = np.zeros((11, 3), np.float32)
    colours[[FACE, HEAD]] = look.skin
    colours[EYE_SOCKET] = look.skin * [0.7, 0.5, 0.5]
    colours[SOCKET] = (0.17, 0.036, 0.036)
    colours[GUMS] = (0.42, 0.13, 0.13)
    teeth = linear(np.array([228, 218, 195]) / 255) * rng.uniform(0.8, 1.05)
    colours[TEETH] = teeth * [1, 1, rng.uniform(0.75, 1)]
    colours[EYE] = np.array([0.55, 0.525, 0.50]) * rng.uniform(0.75, 1.1) * (1 - 0.5 * look.tone / 7)  # or they glow
    colours[HAIR] = look.hair
    colours[HAT] = linear(rng.uniform(0.05, 0.8, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.05, 0.5)))
    colours[CLOTH] = linear(rng.uniform(0.05, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.05, 0.95)))
    colours[LASH] = (0.01, 0.008, 0.008)
    return colours


def _iris(head: Head, look: Look, rng: Generator) -> Float32:
    brown = look.tone > 3 or rng.random() < 0.55
    image = head.irises[int(rng.integers(len(head.irises)))]
    if brown:
        warm = max(head.irises, key=lambda each: float(each[60:100, 30:50, 0].mean() - each[60:100, 30:50, 2].mean()))
        image = warm * (float(rng.uniform(0.15, 0.7)) * np.array([1, 0.85, 0.7], np.float32))
    return np.ascontiguousarray(image * np.float32(rng.uniform(0.7, 1.3)), dtype=np.float32)


def _scalp(head: Head, rng: Generator) -> Float32:
    """(V,) 1 where hair grows: above a hairline that falls from the forehead round the ears to the neck."""
    x, y, z = head.neutral.T
    angle = np.degrees(np.arctan2(np.abs(x), z - 1.0))
    line = np.interp(angle, [0, 20, 40, 54, 69, 86, 120, 180], [10.0, 9.9, 9.2, 7.2, 4.0, 1.0, -3.0, -4.5])
    line += rng.normal(0, 0.4) + 0.3 * np.sin(angle / 7 + rng.uniform(0, 6))
    ears = (np.abs(x) > 7.2) & (np.abs(y - 2.5) < 4.5) & (z > -1.5) & (z < 4)
    return np.asarray(np.clip((y - line) / 2.2 + 0.5, 0, 1) * ~ears, dtype=np.float32)
