"""From a seed to a sample: picture, Action Units left and right, landmarks, pose, gaze, camera, what is where."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtau.facs import AU_COLUMNS
from train.synthesis.expression import Drawn, Expression, draw, express
from train.synthesis.occluders import REGIONS, Covered, cover
from train.synthesis.person import Person
from train.synthesis.picture import COVERED, Renderer
from train.synthesis.scene import Scene, draw_scene
from train.synthesis.seeds import generator
from train.synthesis.sensor import backdrop, compose, develop

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

SUPERSAMPLING = 1.15  # pictures are drawn this much larger


class Sample(NamedTuple):
    """One rendered picture. AU arrays are in the order of rtau.facs.CATALOGUE; NaN is unknown (covered)."""

    jpeg: bytes
    labels: bytes  # PNG: 0 background, material + 1, 11 clothes, 12 occluder
    au_right: Float32  # (20,) intensity 0-5, the subject's right
    au_left: Float32  # (20,)
    landmarks: Float32  # (478, 3) x, y in pixels, distance from the camera in cm
    visibility: UInt8  # (478,) 0 visible, 1 hidden by the face, 2 covered, 3 outside
    pose: Float32  # (3,) pitch, yaw, roll in degrees, signs as in rtau.structures.TrackedFaces
    gaze: Float32  # (2,) yaw to the subject's left, pitch up, radians
    camera: Float32  # (16,) rotation (9), shift (3) in cm, focal, cx, cy in pixels, size
    coefficients: Float32  # (57,)
    gap_mm: float
    aperture_mm: Float32  # (2,) right, left
    person: int
    number: int
    tone: float  # 0 light to 7 dark
    age: float
    female: bool
    hair: str
    frontal: bool


def render(renderer: Renderer, person: Person, number: int, size: int) -> Sample:
    """Sample `number` of a person, `size` pixels square."""
    dataset, who = person.seed
    drawn = draw(generator("expression", dataset, who, number))
    frontal = bool(generator("frontal", dataset, who, number).random() < 0.3)
    scene = draw_scene(generator("scene", dataset, who, number), size, person.shine, frontal=frontal)
    return picture(renderer, person, drawn, scene, number, frontal=frontal)


def picture(
    renderer: Renderer,
    person: Person,
    drawn: Drawn,
    scene: Scene,
    number: int,
    *,
    take: int = -1,
    frontal: bool = False,
    covered: bool = True,
) -> Sample:
    """The sample of a given expression in a given scene. Samples of one `take` share background and occluder.

    Nothing comes before the face where it is not to be `covered`.
    """
    dataset, who = person.seed
    shot = number if take < 0 else take
    size = scene.camera.size
    expression = express(renderer.head, person.neutral, person.body, drawn, lines=person.look.lines)
    large = scene._replace(camera=scene.camera.scaled(round(size * SUPERSAMPLING)))
    seen = renderer(person, expression, large)
    behind = backdrop(generator("background", dataset, who, shot), large.camera.size)
    front = Covered(seen.colour, seen.labels, seen.visibility)
    if covered:
        front = cover(seen, person, large.camera, generator("occluder", dataset, who, shot), behind)
    rng = generator("sensor", dataset, who, shot)
    linear = compose(front.colour, front.labels, behind, scene.exposure, size, rng)
    shown = cv2.resize(front.labels, (size, size), interpolation=cv2.INTER_NEAREST)
    landmarks = seen.landmarks * np.array([size / large.camera.size] * 2 + [1], np.float32)
    right, left = _known(renderer, expression, front.visibility)
    camera = scene.camera
    return Sample(
        jpeg=develop(linear, rng),
        labels=cv2.imencode(".png", shown)[1].tobytes(),
        au_right=right,
        au_left=left,
        landmarks=landmarks,
        visibility=front.visibility,
        pose=np.array(scene.pose, np.float32),
        gaze=np.array(drawn.gaze, np.float32),
        camera=np.array([*camera.rotation.ravel(), *camera.shift, camera.focal, *camera.centre, size], np.float32),
        coefficients=expression.coefficients.astype(np.float32),
        gap_mm=expression.gap_mm,
        aperture_mm=np.array(expression.aperture_mm, np.float32),
        person=who,
        number=number,
        tone=person.look.tone,
        age=person.look.age,
        female=person.look.female,
        hair=person.hair,
        frontal=frontal,
    )


def _known(renderer: Renderer, expression: Expression, visibility: UInt8) -> tuple[Float32, Float32]:
    """Labels of the right and the left side, NaN where more than half of what shows the AU is covered."""
    mirror = renderer.mirror
    right, left = expression.right.copy(), expression.left.copy()
    for i, column in enumerate(AU_COLUMNS):
        points = np.array(REGIONS[int(column[2:])])
        for side, where in ((right, points), (left, mirror[points])):
            if (visibility[where] == COVERED).mean() > 0.5:
                side[i] = np.nan
    return right, left
