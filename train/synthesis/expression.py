"""What a face does: sets of Action Units as people show them, their coefficients, and labels read from the mesh.

Labels say what is to be seen, not what was drawn: AU25 comes from the gap between the lips, AU43 from the gap between
the lids relative to what this gaze and these other AUs leave open, AU26 from the jaw.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtau.facs import AU_COLUMNS, CATALOGUE
from train.synthesis.assets import Head

Float32 = NDArray[np.float32]

UPPER_LIP, LOWER_LIP = 13, 14  # inner mid points of the mesh
LIDS = ((159, 145), (386, 374))  # upper, lower: right eye, left eye
SIDED = frozenset((1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 20, 33, 43))
_LEVELS = ((0.3, 1.2), (1.2, 2.2), (2.2, 3.2), (3.2, 4.2), (4.2, 5.0))
_LEVEL_ODDS = (0.15, 0.25, 0.27, 0.22, 0.11)
GAP_LADDER_MM = (0.5, 1.5, 2.5, 4.0, 6.0, 9.0)  # lip gap at AU25 intensity 0-5
CLOSURE_LADDER = (0.15, 0.30, 0.45, 0.60, 0.80, 0.97)  # lid closure at AU43 intensity 0-5
_OPEN_BY_CONTACT_MM = -0.3  # lips that would cross further push each other apart
CLOSED_LIDS_MM = 1.5

COMBINATIONS: tuple[tuple[float, tuple[int, ...]], ...] = (  # how often, which AUs
    (1.0, (12,)),
    (1.6, (6, 12)),
    (2.0, (6, 12, 25)),
    (1.2, (6, 7, 12, 25, 26)),
    (0.6, (6, 12, 27)),
    (0.7, (12, 25)),
    (0.6, (12, 17)),
    (0.5, (12, 14)),
    (1.0, (1, 2)),
    (1.0, (1, 2, 5)),
    (1.0, (1, 2, 5, 25, 26)),
    (0.5, (1, 2, 5, 27)),
    (1.0, (1, 4)),
    (1.0, (1, 4, 15)),
    (0.8, (1, 4, 15, 17)),
    (0.7, (1, 2, 4)),
    (0.9, (1, 2, 4, 5, 20, 25)),
    (0.7, (1, 4, 5, 20, 26)),
    (1.2, (4, 7)),
    (1.0, (4, 5, 7, 23)),
    (1.0, (4, 7, 24)),
    (0.7, (4, 5, 7, 10, 25)),
    (0.6, (4, 7, 17, 24)),
    (0.9, (4, 6, 7, 9, 10, 25)),
    (1.0, (4, 9, 10)),
    (1.0, (9, 10, 17)),
    (0.7, (7, 9)),
    (0.7, (9, 10, 15)),
    (0.8, (10,)),
    (0.7, (10, 25)),
    (1.0, (14,)),
    (0.6, (14, 17)),
    (1.0, (15, 17)),
    (0.7, (17,)),
    (0.6, (17, 23)),
    (0.8, (17, 24)),
    (0.7, (14, 24)),
    (0.9, (18,)),
    (0.6, (18, 22, 25)),
    (0.5, (22, 25)),
    (1.0, (20,)),
    (0.8, (20, 25)),
    (0.8, (23,)),
    (0.9, (28,)),
    (0.7, (24, 28)),
    (0.8, (25, 26)),
    (0.6, (16, 25)),
    (0.7, (26,)),
    (0.5, (27,)),
    (1.0, (43,)),
    (0.6, (4, 6, 7, 43)),
    (0.5, (5,)),
    (0.6, (4,)),
    (0.4, (33,)),
)
_SINGLE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 33, 43)
_EXCLUDED = ((26, 27), (43, 5), (17, 27), (28, 22), (18, 20)) + tuple(
    (a, b)
    for a, others in ((24, (25, 26, 27, 22)), (23, (27,)), (28, (25, 26, 27)), (18, (12, 14)), (22, (12, 14, 20)))
    for b in others
)


class Drawn(NamedTuple):
    """What was asked of the face: AU number -> intensity 0-5 on the right and the left, and what is no AU."""

    right: dict[int, float]
    left: dict[int, float]
    gaze: tuple[float, float]  # yaw to the subject's left, pitch up, radians
    droop: tuple[float, float]  # resting lids, eyeBlink right and left
    jaw: tuple[float, float]  # jawForward; sideways, to the subject's left > 0
    lips_shut: bool  # a dropped jaw behind closed lips


class Expression(NamedTuple):
    """Coefficients of the 57 shapes, and what they show."""

    coefficients: Float32  # (57,)
    right: Float32  # (20,) intensity 0-5 in the order of rtau.facs.CATALOGUE, the subject's right
    left: Float32  # (20,)
    wrinkles: dict[str, tuple[float, float]]  # drive of the wrinkle maps, right and left, 0-1
    gap_mm: float
    aperture_mm: tuple[float, float]  # right, left
    drawn: Drawn


class Body(NamedTuple):
    """What an identity brings to every expression of it."""

    rest: Float32  # (57,) its resting face: lip seal, brows, lids, lips; no AU
    close: tuple[float, float]  # eyeBlink that shuts the eye, right and left
    age: float  # 0-1


def draw(rng: Generator, *, gaze: tuple[float, float] | None = None) -> Drawn:
    """A set of Action Units as people show them: 12 % none, 46 % combinations, 28 % random sets, 14 % single."""
    kind = rng.random()
    if kind < 0.12:
        chosen: tuple[int, ...] = ()
    elif kind < 0.58:
        odds = np.array([weight for weight, _ in COMBINATIONS])
        members = COMBINATIONS[rng.choice(len(COMBINATIONS), p=odds / odds.sum())][1]
        chosen = tuple(au for au in members if rng.random() > 0.12)
        if rng.random() < 0.3:
            chosen = (*chosen, int(rng.choice(_SINGLE)))
    elif kind < 0.86:
        chosen = tuple(int(au) for au in rng.choice(_SINGLE, int(rng.integers(2, 7)), replace=False))
    else:
        chosen = (int(rng.choice(_SINGLE)),)
    return draw_levels(rng, chosen, gaze=gaze)


def draw_levels(rng: Generator, chosen: tuple[int, ...], *, gaze: tuple[float, float] | None = None) -> Drawn:
    """The chosen AUs, without those that contradict an earlier one, with intensities, sides, gaze, lids and jaw."""
    chosen = _compatible(chosen)
    common = _level(rng)
    right, left = dict[int, float](), dict[int, float]()
    for au in chosen:
        strength = _level(rng) if rng.random() < 0.6 else float(np.clip(common + rng.normal(0, 0.5), 0.4, 5))
        right[au], left[au] = _sides(rng, au, strength)
    if gaze is None:
        yaw, pitch = np.clip(rng.normal(0, 0.14, 2), -0.4, 0.4)
        gaze = (0.0, 0.0) if rng.random() < 0.3 else (float(yaw), float(0.7 * pitch))
    droop = (0.0, 0.0)
    if rng.random() < 0.5:
        both = float(rng.uniform(0, 0.16))
        droop = (both, both * float(rng.uniform(0.7, 1.3)))
    jaw = (0.0, 0.0)
    if rng.random() < 0.1:
        jaw = (float(rng.uniform(0, 0.5)), float(rng.uniform(-0.6, 0.6)))
    return Drawn(right, left, gaze, droop, jaw, lips_shut=26 in chosen and 25 not in chosen and rng.random() < 0.3)


def express(head: Head, neutral: Float32, body: Body, drawn: Drawn, *, lines: bool = True) -> Expression:
    """Coefficients and labels of what was drawn, for a person with a neutral mesh (V, 3)."""
    index = head.expression_index
    e = body.rest.copy()
    for side, intensities in (("R", drawn.right), ("L", drawn.left)):
        for au, value in intensities.items():
            if au not in (25, 43) and (au in SIDED or side == "R"):
                recipe = head.recipes[f"AU{au:02d}_{side}" if au in SIDED else f"AU{au:02d}"]
                e[recipe.shapes] += recipe.weights * np.interp(value, range(6), recipe.coefficients)
    yaw, pitch = drawn.gaze
    for side in "RL":
        e[index[f"eyeLook{'Up' if pitch > 0 else 'Down'}_{side}"]] += abs(pitch) / 0.45
        outwards = (yaw > 0) == (side == "L")
        e[index[f"eyeLook{'Out' if outwards else 'In'}_{side}"]] += abs(yaw) / 0.6
    forward, sideways = drawn.jaw
    e[index["jawForward"]] += forward
    e[index["jawLeft" if sideways > 0 else "jawRight"]] += abs(sideways)
    if drawn.lips_shut:
        e[index["mouthClose"]] += 0.84 * e[index["jawOpen"]]

    slopes = _slopes(head)
    gap0 = _opening(head, neutral, UPPER_LIP, LOWER_LIP)
    gap = gap0 + float(slopes[:, 2] @ e)
    parting = head.recipes["AU25"]
    if 25 in drawn.right:
        wanted = float(np.interp(drawn.right[25], range(6), GAP_LADDER_MM))
        e[parting.shapes] += parting.weights * max(wanted - gap, 0) / float(slopes[parting.shapes, 2] @ parting.weights)
    elif gap < _OPEN_BY_CONTACT_MM:
        both = [index[f"{shape}_{side}"] for shape in ("mouthLowerDown", "mouthUpperUp") for side in "RL"]
        e[both] += (_OPEN_BY_CONTACT_MM - gap) / float(slopes[both, 2].sum())
    gap = gap0 + float(slopes[:, 2] @ e)

    apertures, closures = [], []
    for eye, side in enumerate("RL"):
        reference = _opening(head, neutral, *LIDS[eye]) + float(slopes[:, eye] @ e)
        blink = index[f"eyeBlink_{side}"]
        asked = (drawn.right, drawn.left)[eye].get(43)
        shut = np.interp(asked, range(6), CLOSURE_LADDER) if asked else 0.0
        amount = shut * (reference - CLOSED_LIDS_MM) / -slopes[blink, eye] if asked else drawn.droop[eye]
        e[blink] += np.clip(amount, 0, max((reference - CLOSED_LIDS_MM) / -slopes[blink, eye], 0))
        aperture = _opening(head, neutral, *LIDS[eye]) + float(slopes[:, eye] @ e)
        apertures.append(aperture)
        open_mm = max(reference - CLOSED_LIDS_MM, 2.0)
        closures.append(float(np.clip((reference - aperture) / open_mm, 0, 1)))

    labels = []
    for eye, intensities in enumerate((drawn.right, drawn.left)):
        shown = {au: intensities.get(au, 0.0) for au in (unit.number for unit in CATALOGUE)}
        shown[25] = float(np.interp(gap, GAP_LADDER_MM, range(6)))
        shown[26] = max(shown[26], 5.0 if intensities.get(27) else 0.0)
        closure = closures[eye] if intensities.get(43) else 0.0
        shown[43] = float(np.interp(closure, CLOSURE_LADDER, range(6)))
        labels.append(np.array([shown[unit.number] for unit in CATALOGUE], np.float32))
    right, left = labels
    for i, unit in enumerate(CATALOGUE):
        if not unit.sided:
            right[i] = left[i] = max(right[i], left[i])
    drive = _wrinkle_drive(right, left, drawn, body.age, lines=lines)
    return Expression(e, right, left, drive, gap, (apertures[0], apertures[1]), drawn)


def _level(rng: Generator) -> float:
    low, high = _LEVELS[int(rng.choice(5, p=_LEVEL_ODDS))]
    return float(rng.uniform(low, high))


def _sides(rng: Generator, au: int, strength: float) -> tuple[float, float]:
    """Right and left: mostly nearly alike, sometimes lopsided, seldom on one side only."""
    if au not in SIDED:
        return strength, strength
    kind = rng.random()
    if kind < 0.72:
        weak = strength * (1 - abs(float(rng.normal(0, 0.10))))
    elif kind < 0.9:
        weak = strength * float(rng.uniform(0.3, 0.8))
    else:
        weak = 0.0 if au in (1, 2, 4, 10, 12, 14, 15, 20, 43) else strength * 0.8
    weak = max(weak, 0.0)
    return (strength, weak) if rng.random() < 0.5 else (weak, strength)


def _compatible(chosen: tuple[int, ...]) -> tuple[int, ...]:
    """The AUs without those that contradict an earlier one."""
    kept: list[int] = []
    for au in dict.fromkeys(chosen):
        if not any({au, other} == set(pair) for pair in _EXCLUDED for other in kept):
            kept.append(au)
    return tuple(kept)


def opening_slopes(head: Head) -> Float32:
    """(57, 3) mm that one unit of each shape opens the right lids, the left lids and the lips."""
    columns = []
    moved = head.expression.reshape(len(head.expression), -1, 3)
    for above, below in (*LIDS, (UPPER_LIP, LOWER_LIP)):
        y = [
            (moved[:, head.landmark_vertices[point], 1] * head.landmark_weights[point]).sum(axis=1)
            for point in (above, below)
        ]
        columns.append(10 * (y[0] - y[1]))
    return np.stack(columns, axis=1).astype(np.float32)


_SLOPES: dict[str, Float32] = {}


def _slopes(head: Head) -> Float32:
    if head.sha256 not in _SLOPES:
        _SLOPES[head.sha256] = opening_slopes(head)
    return _SLOPES[head.sha256]


def _opening(head: Head, vertices: Float32, above: int, below: int) -> float:
    y = [float((vertices[head.landmark_vertices[p], 1] * head.landmark_weights[p]).sum()) for p in (above, below)]
    return 10 * (y[0] - y[1])


def body(head: Head, neutral: Float32, habit: Float32, age: float) -> Body:
    """The resting face of a person: `habit` (57,) of the shapes, lips sealed, and how far the lids have to go."""
    slopes, index = _slopes(head), head.expression_index
    rest = habit.copy()
    gap = _opening(head, neutral, UPPER_LIP, LOWER_LIP) + float(slopes[:, 2] @ rest)
    both = [index[f"{shape}_{side}"] for shape in ("mouthLowerDown", "mouthUpperUp") for side in "RL"]
    rest[both] -= gap / float(slopes[both, 2].sum())
    close = []
    for eye, side in enumerate("RL"):
        aperture = _opening(head, neutral, *LIDS[eye]) + float(slopes[:, eye] @ rest)
        close.append((aperture - CLOSED_LIDS_MM) / float(-slopes[index[f"eyeBlink_{side}"], eye]))
    return Body(rest, (close[0], close[1]), age)


def _wrinkle_drive(
    right: Float32, left: Float32, drawn: Drawn, age: float, *, lines: bool
) -> dict[str, tuple[float, float]]:
    """How strong each wrinkle map is on the right and the left; age leaves some at rest."""
    g = 0.5 + age
    place = {column: i for i, column in enumerate(AU_COLUMNS)}
    sides = []
    for values, asked in ((right, drawn.right), (left, drawn.left)):
        k = {au: float(values[place[f"AU{au:02d}"]]) / 5 for au in (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 18, 23)}
        k[22] = asked.get(22, 0.0) / 5
        active = g if lines else 0.0
        sides.append(
            {
                "forehead": 2.0 * active * k[2] * (0.6 + 0.4 * k[1]) + 0.45 * age,
                "inner forehead": 1.8 * active * max(k[1] - 0.4 * k[2], 0),
                "glabella": 2.8 * max(active, 0.6) * k[4] + 0.35 * age,
                "crow's feet": 2.2 * active * max(k[6], 0.7 * k[12] * k[7]) + 0.6 * age**2,
                "under eye": 1.4 * active * max(k[6], 0.9 * k[7]) + 0.7 * age,
                "nose root": 2.6 * active * k[9],
                "nasolabial": (3.0 * (0.6 + 0.4 * age) if lines else 0) * min(1, max(k[12], 0.8 * k[10], 0.9 * k[9]))
                + 1.4 * age**1.5,
                "mouth corner": 3.0 * bool(lines) * k[14],
                "below corner": 2.5 * bool(lines) * k[15] + 1.1 * age**2,
                "chin": 2.2 * active * k[17],
                "lip lines": 1.0 * bool(lines) * max(k[18], 0.8 * k[23], 0.5 * k[22]) + 0.4 * age,
            }
        )
    return {name: (sides[0][name], sides[1][name]) for name in sides[0]}
