"""The same person moving from expression to expression, with gaze, blinks and a drifting head, 30 frames a second."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.synthesis.activities import ACTIVITIES
from train.synthesis.expression import Drawn, draw
from train.synthesis.person import Person
from train.synthesis.picture import Renderer
from train.synthesis.sample import Sample, picture
from train.synthesis.scene import Scene, draw_scene, posed
from train.synthesis.seeds import generator

FPS = 30
ACTIVITY_STEP = 6  # frames of an activity's film between two samples
REST = Drawn({}, {}, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), lips_shut=False)
BLINK = (2.0, 4.5, 5.0, 4.0, 2.0, 0.7)  # AU43 over the frames of a blink


def sequence(renderer: Renderer, person: Person, frames: int, size: int) -> Iterator[Sample]:
    """`frames` samples of a person in one scene: rest, an expression, rest or the next one, and so on."""
    yield from _filmed(renderer, person, generator("sequence", *person.seed), draw, range(frames), size, first=0)


def activities(renderer: Renderer, person: Person, frames: int, size: int) -> Iterator[Sample]:
    """A clip of `frames` samples, 5 a second, of every activity in turn, all in one scene."""
    for k, activity in enumerate(ACTIVITIES):
        rng = generator("activity", *person.seed, k)
        film = range(0, frames * ACTIVITY_STEP, ACTIVITY_STEP)
        yield from _filmed(renderer, person, rng, activity.draw, film, size, first=k * frames)


def _filmed(
    renderer: Renderer, person: Person, rng: Generator, drawn: Callable[[Generator], Drawn],
    film: range, size: int, first: int,
) -> Iterator[Sample]:  # fmt: skip
    """Samples of the frames `film` of a course of expressions, numbered from `first`."""
    dataset, who = person.seed
    frames = film.stop
    scene = draw_scene(generator("scene", dataset, who, 0), size, person.shine, frontal=True)
    drift = np.cumsum(rng.normal(0, 0.25, (frames, 3)), axis=0) * 0.6
    drift -= np.linspace(0, 1, frames)[:, None] * drift[-1]
    wanted, now = REST, 0
    path: list[Drawn] = []
    while len(path) < frames:
        before, wanted = wanted, drawn(rng) if now % 2 == 0 or rng.random() < 0.5 else REST
        onset, hold = int(rng.integers(5, 22)), int(rng.integers(6, 30))
        ease = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, onset))
        path += [between(before, wanted, float(t)) for t in ease] + [wanted] * hold
        now += 1
    blinks = np.zeros(frames)
    for start in np.cumsum(rng.exponential(3.0 * FPS, 1 + frames // FPS)).astype(int):
        for i, value in enumerate(BLINK):
            if start + i < frames:
                blinks[start + i] = value
    for n, t in enumerate(film):
        shown = path[t]
        if blinks[t]:
            right, left = ({**side, 43: max(float(blinks[t]), side.get(43, 0.0))} for side in (shown.right, shown.left))
            shown = shown._replace(right=right, left=left)
        yield picture(renderer, person, shown, turned(scene, drift[t]), first + n, take=0, frontal=True)


def turned(scene: Scene, by_degrees: NDArray[np.floating]) -> Scene:
    pitch, yaw, roll = (float(v) for v in np.array(scene.pose) + by_degrees)
    return posed(scene, (pitch, yaw, roll))


def between(a: Drawn, b: Drawn, t: float) -> Drawn:
    def mixed(x: dict[int, float], y: dict[int, float]) -> dict[int, float]:
        return {au: (1 - t) * x.get(au, 0.0) + t * y.get(au, 0.0) for au in {*x, *y}}

    def blend(x: tuple[float, float], y: tuple[float, float]) -> tuple[float, float]:
        return (1 - t) * x[0] + t * y[0], (1 - t) * x[1] + t * y[1]

    return Drawn(
        mixed(a.right, b.right),
        mixed(a.left, b.left),
        blend(a.gaze, b.gaze),
        blend(a.droop, b.droop),
        blend(a.jaw, b.jaw),
        lips_shut=b.lips_shut if t > 0.5 else a.lips_shut,
    )
