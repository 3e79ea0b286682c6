"""A person, an expression and a scene become a picture in linear light, with landmarks and a map of what is where."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from train.synthesis.assets import EYE, FACE, GUMS, HAIR, HAT, HEAD, SOCKET, TEETH, HairMesh, Head
from train.synthesis.expression import Expression
from train.synthesis.person import Person
from train.synthesis.raster import (
    ambient_occlusion,
    depth_map,
    orthographic,
    rasterise,
    rasterise_cut,
    vertex_normals,
    view_basis,
)
from train.synthesis.scene import Scene, gaze_rotation
from train.synthesis.shade import SHADOW_HALF_CM, SHADOW_SIDE, Paint, Surface, shade
from train.synthesis.textures import skin_height

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

VISIBLE, SELF_HIDDEN, COVERED, OUTSIDE = range(4)
_HIDDEN_CM = 0.3  # a landmark this far behind what is seen at its place is hidden
_UNDER_HAIR_CM = 0.35  # skin that hair grows on lies this much deeper
_SHUT_MM = 0.1  # below this gap the lips hide the mouth
_IRIS = ((468, 473), (473, 478))  # landmarks of the right and the left iris


class Rendered(NamedTuple):
    colour: Float32  # (S, S, 3) linear, 0 where nothing is
    labels: UInt8  # (S, S) material + 1, 0 where nothing is
    landmarks: Float32  # (478, 3) x, y in pixels, distance in cm
    visibility: UInt8  # (478,)
    eyes_cm: Float32  # (2, 3) centres of the eyeballs, camera frame
    vertices: Float32  # (V, 3) camera frame
    depth: Float32  # (S, S) 1 / distance


class Renderer:
    """Holds what does not change from picture to picture: the head, its occlusion with the mouth shut and open."""

    def __init__(self, head: Head) -> None:
        self.head, self.mirror = head, head.mirror
        self._skin = head.triangles[: head.lashes]
        self._culled = np.isin(head.material, (FACE, HEAD, EYE, TEETH)).astype(np.uint8)
        self._none = np.zeros(100_000, np.uint8)
        opened = head.neutral + 0.45 * head.expression[head.expression_index["jawOpen"]].reshape(-1, 3)
        self._occlusion = [
            ambient_occlusion(v.astype(np.float32), vertex_normals(v.astype(np.float32), self._skin), self._skin)
            for v in (head.neutral, opened)
        ]
        used = np.isin(head.material, (FACE, HEAD))
        self._casters = np.ascontiguousarray(head.triangles[used])
        self._lips_shut = self._culled.copy()
        self._lips_shut[np.isin(head.material, (SOCKET, GUMS, TEETH))] = 2  # nothing of the mouth is seen

    def __call__(self, person: Person, expression: Expression, scene: Scene) -> Rendered:
        """Draw one picture of scene.camera.size."""
        head, camera = self.head, scene.camera
        rest = person.resting.copy()
        change = expression.coefficients - person.body.rest
        for shape in np.flatnonzero(change):
            rest += (change[shape] * head.expression[shape]).reshape(-1, 3)
        position = camera.to_camera(rest)
        normal = vertex_normals(position, self._skin)
        opened = float(np.clip(expression.coefficients[head.expression_index["jawOpen"]] / 0.45, 0, 1))
        occlusion = self._occlusion[0] * (1 - opened) + self._occlusion[1] * opened
        surface = Surface(position, rest, normal, occlusion, person.scalp, head.triangles, head.material, head.uv)
        hair = head.hair.get(person.hair)
        if hair is not None:
            under = surface.position - (_UNDER_HAIR_CM * person.scalp)[:, None] * normal  # no scalp comes through
            surface = surface._replace(position=under)
            surface = _with_hair(surface, hair, person, camera.to_camera(person.hair_vertices))
        seen = camera.project(surface.position)
        xy, inverse = np.ascontiguousarray(seen[:, :2]), np.asarray(1 / seen[:, 2], np.float32)
        size = camera.size
        ids, depth = np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32)
        bary = np.zeros((size, size, 2), np.float32)
        culled = self._lips_shut if expression.gap_mm < _SHUT_MM else self._culled
        rasterise(xy, inverse, self._skin, culled[: self.head.lashes], 0, ids, depth, bary)
        bare = depth.copy()
        if hair is not None:
            first = len(head.triangles)
            rasterise_cut(
                xy, inverse, surface.triangles[first:], surface.uv[first:], hair.strand, 0.45, first, ids, depth, bary
            )
        basis, centre, shadow = self._shadow(surface, scene)
        paint = self._paint(person, expression, hair)
        colour, labels = shade(surface, paint, scene.light, ids, bary, shadow, basis, centre)
        self._lashes(colour, depth, xy, inverse, person)
        landmarks = camera.project(camera.to_camera(self.landmarks(person, expression, rest)))
        visibility = _visibility(landmarks, bare, depth)
        return Rendered(colour, labels, landmarks, visibility, camera.to_camera(person.eye_centres), position, depth)

    def landmarks(self, person: Person, expression: Expression, rest: Float32) -> Float32:
        """(478, 3) in the unposed face; those of the irises turn with the gaze."""
        head = self.head
        points = (rest[head.landmark_vertices] * head.landmark_weights[..., None]).sum(axis=1)
        for side, (first, last) in enumerate(_IRIS):
            centre = person.eye_centres[side]
            turned = (
                (points[first:last] - centre)
                @ gaze_rotation(0, 0, side).T
                @ gaze_rotation(*expression.drawn.gaze, side)
            )
            points[first:last] = centre + turned
        return np.asarray(points, dtype=np.float32)

    def _shadow(self, surface: Surface, scene: Scene) -> tuple[Float32, Float32, Float32]:
        direction = scene.light.direction
        centre = scene.camera.to_camera(np.array([0.0, 2.0, 3.0]))
        shadow = np.full((SHADOW_SIDE, SHADOW_SIDE), -1e9, np.float32)
        if scene.light.key.max() > 0.15:
            pixels, height = orthographic(surface.position, direction, centre, SHADOW_HALF_CM, SHADOW_SIDE)
            depth_map(pixels, height, self._casters, shadow, True)
            depth_map(pixels, height, surface.triangles[len(self.head.triangles) :], shadow, False)
        return view_basis(direction), centre, shadow

    def _paint(self, person: Person, expression: Expression, hair: HairMesh | None) -> Paint:
        eye = np.zeros((2, 12), np.float32)
        for side in (0, 1):
            eye[side, :3] = person.eye_centres[side]
            eye[side, 3:] = gaze_rotation(*expression.drawn.gaze, side).ravel()
        strand = hair.strand if hair is not None else np.ones((8, 8, 2), np.float32)
        return Paint(
            person.skin.albedo,
            skin_height(person.skin, expression.wrinkles),
            person.skin.gloss,
            person.colours,
            person.iris,
            strand,
            eye,
            person.limbus,
            person.roughness,
            person.hem,
        )

    def _lashes(self, colour: Float32, depth: Float32, xy: Float32, inverse: Float32, person: Person) -> None:
        """Lashes are thinner than a pixel: they darken what is behind them, most at their roots."""
        head, size = self.head, len(depth)
        triangles = head.triangles[head.lashes :]
        x, y = (np.clip(xy[triangles, k], 0, size) for k in (0, 1))
        left, right = int(x.min()), min(int(np.ceil(x.max())) + 1, size)
        top, bottom = int(y.min()), min(int(np.ceil(y.max())) + 1, size)
        if left >= right or top >= bottom:
            return
        near = depth[top:bottom, left:right] * np.float32(0.998)
        ids, bary = np.full(near.shape, -1, np.int32), np.zeros((*near.shape, 2), np.float32)
        rasterise(xy - np.array([left, top], np.float32), inverse, triangles, self._none, 0, ids, near, bary)
        rows, columns = np.nonzero(ids >= 0)
        t, b = ids[rows, columns], bary[rows, columns]
        v = head.uv[head.lashes :][t][..., 1]
        root = (1 - b.sum(axis=1)) * v[:, 0] + b[:, 0] * v[:, 1] + b[:, 1] * v[:, 2]
        darkness, length = person.lashes
        keep = 1 - darkness * np.clip((root - (1 - length)) / length, 0, 1)
        colour[rows + top, columns + left] *= keep[:, None]


def _with_hair(surface: Surface, hair: HairMesh, person: Person, position: Float32) -> Surface:
    """The surface with a hair style behind its last triangle."""
    vertices, count = len(surface.position), len(position)
    kind = HAT if person.hair == "fedora" else HAIR
    normal = vertex_normals(position, hair.triangles)
    return Surface(
        np.concatenate([surface.position, position]),
        np.concatenate([surface.rest, person.hair_vertices]),
        np.concatenate([surface.normal, normal]),
        np.concatenate([surface.occlusion, np.full(count, 0.8, np.float32)]),
        np.concatenate([surface.scalp, np.zeros(count, np.float32)]),
        np.concatenate([surface.triangles, hair.triangles + vertices]).astype(np.int32),
        np.concatenate([surface.material, np.full(len(hair.triangles), kind, np.uint8)]),
        np.concatenate([surface.uv, hair.uv]),
    )


def _visibility(landmarks: Float32, bare: Float32, depth: Float32) -> UInt8:
    """(478,) whether each landmark is seen, hidden by the face itself, covered by hair, or outside the picture."""
    size = len(depth)
    x, y = landmarks[:, 0], landmarks[:, 1]
    out = np.full(len(landmarks), VISIBLE, np.uint8)
    i, j = (np.floor(v).astype(int) for v in (y, x))
    outside = (i < 0) | (j < 0) | (i >= size) | (j >= size)
    i, j = i.clip(0, size - 1), j.clip(0, size - 1)
    for buffer, reason in ((bare, SELF_HIDDEN), (depth, COVERED)):
        # on contours the point may lie just outside the face: the farthest of its neighbours counts
        around = cv2.erode(buffer, np.ones((3, 3), np.uint8))
        nearest = 1 / np.maximum(around[i, j], 1e-6)
        out[(nearest < landmarks[:, 2] - _HIDDEN_CM) & (out == VISIBLE)] = reason
    out[outside] = OUTSIDE
    return out
