"""Minutes of a person in front of a camera, seen a few times a second: rest, expressions, and long smiles if wanted.

Resting faces differ more here than in the training renders: everybody has a marked trait that is no Action Unit.
"""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.synthesis.assets import Head
from train.synthesis.expression import Drawn, body, draw
from train.synthesis.person import Person
from train.synthesis.picture import Renderer
from train.synthesis.sample import Sample, picture
from train.synthesis.scene import draw_scene
from train.synthesis.seeds import generator
from train.synthesis.sequence import BLINK, FPS, REST, between, turned

TRAITS: dict[str, dict[str, tuple[float, float]]] = {  # least and most of the shapes that make a marked resting face
    "drooping lids": {"eyeBlink": (0.15, 0.32)},
    "raised brows": {"browInnerUp": (0.15, 0.45), "browOuterUp": (0.15, 0.4)},
    "smiling mouth": {"mouthSmile": (0.12, 0.32)},
    "lowered brows": {"browDown": (0.2, 0.5)},
    "drooping mouth": {"mouthFrown": (0.2, 0.45)},
    "narrow eyes": {"eyeSquint": (0.25, 0.6), "cheekSquint": (0.1, 0.3)},
}
_SMILES: tuple[tuple[int, ...], ...] = ((12,), (6, 12), (6, 12, 25), (6, 7, 12, 25), (12, 25))
_SWAY_DEG, _SWAY_S = 3.0, 2.0  # how far the head wanders, and how long it takes to come back


def with_trait(head: Head, person: Person, number: int) -> tuple[Person, str]:
    """The person with a marked resting face, and which; traits take turns over the numbers."""
    name = list(TRAITS)[number % len(TRAITS)]
    rng = generator("trait", *person.seed)
    habit = person.body.rest.copy()
    for shape, (least, most) in TRAITS[name].items():
        both = float(rng.uniform(least, most))
        for side in ("", "_L", "_R"):
            if shape + side in head.expression_index:
                habit[head.expression_index[shape + side]] += both * float(rng.normal(1, 0.08))
    return person._replace(body=body(head, person.neutral, habit, person.body.age)), name


def session(
    renderer: Renderer, person: Person, *, take: int, seconds: float, fps: float, smiling: float, size: int
) -> Iterator[Sample]:
    """The person for some time in one scene; `smiling` is the share of the time that a smile takes.

    Without smiles half of the time is rest, half expressions as `draw` makes them; smiles take from both alike.
    """
    rng = generator("session", *person.seed, take)
    scene = draw_scene(generator("scene", *person.seed, take), size, person.shine, frontal=True)
    path, blinks, sway = _script(rng, seconds, smiling), _blinks(rng, seconds), _sway(rng, seconds)
    for number, t in enumerate(np.arange(0, round(seconds * FPS), FPS / fps).astype(int)):
        drawn = path[t]
        if blinks[t]:
            right, left = ({**side, 43: max(float(blinks[t]), side.get(43, 0.0))} for side in (drawn.right, drawn.left))
            drawn = drawn._replace(right=right, left=left)
        yield picture(renderer, person, drawn, turned(scene, sway[t]), number, take=take, frontal=True)


def rest(renderer: Renderer, person: Person, *, take: int, pictures: int, fps: float, size: int) -> Iterator[Sample]:
    """The resting face with a little movement of the head, as an enrolment clip shows it."""
    rng = generator("session", *person.seed, take)
    scene = draw_scene(generator("scene", *person.seed, take), size, person.shine, frontal=True)
    sway = _sway(rng, pictures / fps)
    for number in range(pictures):
        place = turned(scene, sway[round(number * FPS / fps)])
        yield picture(renderer, person, REST, place, number, take=take, frontal=True)


def _script(rng: Generator, seconds: float, smiling: float) -> list[Drawn]:
    """What the face does in each of 30 frames a second."""
    path: list[Drawn] = []
    spent = np.zeros(3)  # frames of smiling, rest, expressions
    wanted = np.array([smiling, (1 - smiling) / 2, (1 - smiling) / 2])
    now = REST
    while len(path) < seconds * FPS:
        before, kind = now, int(np.argmax(wanted * (len(path) + 1) - spent + rng.uniform(0, 60, 3) * (wanted > 0)))
        now = (_smile, lambda _: REST, draw)[kind](rng)
        least, most = ((1.5, 8.0), (0.5, 5.0), (0.3, 3.0))[kind]
        onset, hold = int(rng.integers(5, 22)), round(float(rng.uniform(least, most)) * FPS)
        ease = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, onset))
        path += [between(before, now, float(t)) for t in ease] + [now] * hold
        spent[kind] += onset + hold
    return path


def _smile(rng: Generator) -> Drawn:
    aus = _SMILES[int(rng.integers(len(_SMILES)))]
    strength = float(rng.uniform(1.3, 4.2))
    sides = {au: float(np.clip(strength + rng.normal(0, 0.4), 1.0, 5.0)) for au in aus}
    return REST._replace(right=sides, left=sides)


def _blinks(rng: Generator, seconds: float) -> NDArray[np.float64]:
    frames = round(seconds * FPS)
    blinks = np.zeros(frames + len(BLINK))
    for start in np.cumsum(rng.exponential(3.0 * FPS, 2 + round(seconds))).astype(int):
        if start < frames:
            blinks[start : start + len(BLINK)] = BLINK
    return blinks


def _sway(rng: Generator, seconds: float) -> NDArray[np.float64]:
    """(T, 3) degrees that the head is away from where it began."""
    keep = np.exp(-1 / (_SWAY_S * FPS))
    away = np.zeros((round(seconds * FPS) + 1, 3))
    steps = rng.normal(0, _SWAY_DEG * np.sqrt(1 - keep**2), away.shape)
    for t in range(1, len(away)):
        away[t] = keep * away[t - 1] + steps[t]
    return away
