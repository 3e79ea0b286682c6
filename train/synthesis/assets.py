"""The face model and what is drawn on it: ICT face model (MIT), MakeHuman hair and irises (CC0).

`assets_folder` names the folder with `ict_face/` (model, landmark maps, recipes of the Action Units) and
`makehuman_cc0/`; the model itself may come from `fetch` instead. `load_head` turns them into the renderer's arrays.
Frame of the model: centimetres, x to the subject's left, y up, z out of the face.
"""

import csv
import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.split import material
from train.synthesis.fetch import fetched_model

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

FACE, HEAD, SOCKET, EYE_SOCKET, GUMS, TEETH, EYE, HAIR, HAT, LASH = range(10)  # what a triangle is made of
_MAIN = {
    "face": FACE,
    "head_neck": HEAD,
    "mouth_socket": SOCKET,
    "eye_socket_left": EYE_SOCKET,
    "eye_socket_right": EYE_SOCKET,
    "gums_tongue": GUMS,
    "teeth": TEETH,
    "sclera_left": EYE,
    "sclera_right": EYE,
}
_LOWER_BROWS_PX = {  # texels: the mesh's brow ridges lie higher than people's brows, most at the inner end
    107: 4, 66: 4, 105: 4, 63: 3, 70: 1.5, 55: 4, 65: 4, 52: 4, 53: 3, 46: 1.5,
}  # fmt: skip
_LEFT_ALONE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 247, 30, 29, 27, 28, 56, 190, 6, 68, 104, 69, 108, 151)
_TEXTURE = 512  # texels along the face's texture, of the lengths above
_ADDED = {"AU04": ("browInnerUp", -0.3)}  # browDown hardly lowers the inner ends of the brows
HAIR_STYLES = ("short01", "short02", "short04", "long01", "ponytail01", "braid01", "afro01", "fedora")


class Recipe(NamedTuple):
    """How one Action Unit, on one side, moves the mesh."""

    shapes: Int32  # (S,) expression shapes
    weights: Float32  # (S,)
    coefficients: Float32  # (6,) at intensities 0-5


class HairMesh(NamedTuple):
    """A style fitted to the neutral head; `bind` carries it along with another identity."""

    vertices: Float32  # (V, 3)
    triangles: Int32  # (T, 3)
    uv: Float32  # (T, 3, 2)
    bind: Int32  # (V, 6) vertices of the head
    bind_weights: Float32  # (V, 6)
    strand: Float32  # (512, 512, 2) brightness about 1, opacity; ones where the style has no image


class Head(NamedTuple):
    """The parts of the model that are drawn, V vertices and T triangles; lashes are the last triangles."""

    neutral: Float32  # (V, 3)
    identity: Float32  # (100, V * 3)
    expression: Float32  # (57, V * 3)
    expression_index: dict[str, int]
    triangles: Int32  # (T, 3)
    material: UInt8  # (T,)
    uv: Float32  # (T, 3, 2) inside the tile of the triangle's material, v up
    lashes: int  # triangles from here on are lashes
    landmark_vertices: Int32  # (478, 3)
    landmark_weights: Float32  # (478, 3)
    landmark_uv: Float32  # (478, 2) place in the face's texture
    mirror: Int32  # (478,) the landmark on the other side
    eyes: tuple[slice, slice]  # vertices of the right and the left eyeball
    eye_centres: Float32  # (2, 3) right, left, in the neutral face
    recipes: dict[str, Recipe]  # such as "AU01_L" or, for Action Units without sides, "AU17"
    hair: dict[str, HairMesh]
    irises: list[Float32]  # (160, 160, 3) linear
    sha256: str  # of the mesh, for the index of what is rendered from it


def assets_folder() -> Path:
    """`assets` of the open material: $RTAU_SHARED, or `shared` beside the checkout."""
    return material() / "assets"


@functools.cache
def load_head(folder: Path) -> Head:
    """Read the assets once per process. Raises FileNotFoundError naming what is missing."""
    path = folder / "ict_face" / "ict_face.npz"
    if not path.exists():
        path = fetched_model()
    if not path.exists():
        cure = "fetch it with `python -m train fetch-face-model`, or name the folder that has ict_face/ with --assets"
        raise FileNotFoundError(f"{folder / 'ict_face' / 'ict_face.npz'}: the face model is missing; {cure}")
    for derived in ("ict_face/landmark_maps.npz", "ict_face/facs_map.csv", "makehuman_cc0/hair_on_ict.npz"):
        if not (folder / derived).exists():
            raise FileNotFoundError(f"{folder / derived}: missing; name the folder of the open assets with --assets")
    model = np.load(path, allow_pickle=False)
    maps = np.load(folder / "ict_face" / "landmark_maps.npz", allow_pickle=False)
    regions = {str(name): i for i, name in enumerate(model["region_names"])}
    ranges = model["region_tri_range"]
    chosen: list[NDArray[np.int64]] = []
    materials: list[UInt8] = []
    for name, kind in (*_MAIN.items(), ("eyelashes_left", LASH), ("eyelashes_right", LASH)):
        first, last = ranges[regions[name]]
        chosen.append(np.arange(first, last))
        materials.append(np.full(last - first, kind, np.uint8))
    picked, material_of = np.concatenate(chosen), np.concatenate(materials)
    source = model["tri"][picked]
    used = np.unique(np.concatenate([source.ravel(), maps["mp478_tri"].ravel()]))
    place = np.full(len(model["neutral"]), -1, np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    corners = model["uv"][model["tri_uv"][picked]].astype(np.float32)
    corners[..., 0] -= np.floor(corners[..., 0].mean(axis=1, keepdims=True))
    vertex_uv = np.zeros((len(used), 2), np.float32)
    vertex_uv[place[source[: (material_of == FACE).sum()]]] = corners[: (material_of == FACE).sum()]
    mirror = np.concatenate([maps["mp468_mirror"], np.arange(473, 478), np.arange(468, 473)]).astype(np.int32)
    triangles, face = place[source], material_of == FACE
    landmark_vertices, weights = _lower_brows(
        place[maps["mp478_tri"]],
        maps["mp478_bary"].astype(np.float32),
        vertex_uv,
        triangles[face],
        corners[face],
        mirror,
    )
    names = [str(name) for name in model["expression_names"]]
    eyes = []
    for side in ("right", "left"):
        first, last = model["region_vert_range"][regions[f"sclera_{side}"]]
        eyes.append(slice(int(place[first]), int(place[last - 1]) + 1))
    index = {name: i for i, name in enumerate(names)}
    neutral = model["neutral"][used].astype(np.float32)
    return Head(
        neutral=neutral,
        identity=_offsets(model["identity"], used),
        expression=_offsets(model["expression"], used),
        expression_index=index,
        triangles=np.ascontiguousarray(triangles),
        material=material_of,
        uv=np.ascontiguousarray(corners),
        lashes=int((material_of != LASH).sum()),
        landmark_vertices=landmark_vertices,
        landmark_weights=weights,
        landmark_uv=(vertex_uv[landmark_vertices] * weights[..., None]).sum(axis=1),
        mirror=mirror,
        eyes=(eyes[0], eyes[1]),
        eye_centres=np.stack([maps[f"eye_centre_radius_{side}"][:3] for side in ("right", "left")]).astype(np.float32),
        recipes=_recipes(folder / "ict_face" / "facs_map.csv", index),
        hair={style: _hair(folder / "makehuman_cc0", style, place) for style in HAIR_STYLES},
        irises=[_linear_image(path) for path in sorted((folder / "makehuman_cc0").glob("iris_*.png"))],
        sha256=hashlib.sha256(neutral.tobytes()).hexdigest(),
    )


def _offsets(shapes: NDArray[np.float16], used: NDArray[np.int64]) -> Float32:
    return np.ascontiguousarray(shapes[:, used].astype(np.float32).reshape(len(shapes), -1))


def _lower_brows(
    vertices: Int32, weights: Float32, vertex_uv: Float32, triangles: Int32, uv: Float32, mirror: Int32
) -> tuple[Int32, Float32]:
    """Move the landmarks of the brows, and smoothly what lies about them, down over the skin.

    landmarks (478, 3) vertices and weights, uv of the V vertices, triangles (T, 3) and uv (T, 3, 2) of the face.
    """
    vertices, weights = vertices.copy(), weights.copy()
    where = (vertex_uv[vertices] * weights[..., None]).sum(axis=1)
    anchors = {**_LOWER_BROWS_PX, **dict.fromkeys(_LEFT_ALONE, 0.0)}
    anchors |= {int(mirror[point]): texels for point, texels in anchors.items()}
    fixed, texels = where[list(anchors)], np.array(list(anchors.values()))
    (ax, ay), (bx, by), (cx, cy) = (uv[:, k].T for k in range(3))
    doubled = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    for point in range(468):
        near = np.exp(-(((where[point] - fixed) * _TEXTURE / 9) ** 2).sum(axis=1))
        down = anchors.get(point, float(near @ texels / (near.sum() + 0.1)))
        if down < 0.05:
            continue
        x, y = where[point] - [0, down / _TEXTURE]
        b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / doubled
        c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / doubled
        t = int(np.minimum(np.minimum(b, c), 1 - b - c).argmax())
        vertices[point], weights[point] = triangles[t], (1 - b[t] - c[t], b[t], c[t])
    return vertices, weights


def _recipes(path: Path, index: dict[str, int]) -> dict[str, Recipe]:
    recipes = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["recipe"] or "|" in row["recipe"]:
                continue  # no usable shape; or gaze, which is no Action Unit here
            number = row["au"].removeprefix("AU")
            name = f"AU{int(number):02d}" if number.isdigit() else row["au"]
            parts = [part.split(":") for part in row["recipe"].split(";")]
            if name in _ADDED:
                shape, weight = _ADDED[name]
                parts.append([f"{shape}_{row['side']}", str(weight)])
            recipes[name if row["side"] == "both" else f"{name}_{row['side']}"] = Recipe(
                np.array([index[shape] for shape, _ in parts], np.int32),
                np.array([float(weight) for _, weight in parts], np.float32),
                np.array([0.0, *(float(row[f"coef_{level}"]) for level in "ABCDE")], np.float32),
            )
    return recipes


def _hair(folder: Path, style: str, place: Int32) -> HairMesh:
    data = np.load(folder / "hair_on_ict.npz", allow_pickle=False)
    image = folder / f"hair_{style}.png"
    strand = np.ones((8, 8, 2), np.float32)
    if image.exists():
        grey = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
        assert grey is not None
        grey = grey.reshape(*grey.shape[:2], -1)
        strand = np.stack([grey[..., 0] / 128, grey[..., -1] / 255], axis=-1).astype(np.float32)
    bind = place[data[f"{style}/bind_idx"]]
    weights = np.where(bind >= 0, data[f"{style}/bind_w"], 0).astype(np.float32)
    return HairMesh(
        vertices=data[f"{style}/verts"].astype(np.float32),
        triangles=data[f"{style}/tri"].astype(np.int32),
        uv=np.ascontiguousarray(data[f"{style}/uv"][data[f"{style}/tri_uv"]].astype(np.float32)),
        bind=bind.clip(min=0),
        bind_weights=weights / weights.sum(axis=1, keepdims=True).clip(min=1e-6),
        strand=np.ascontiguousarray(strand),
    )


def _linear_image(path: Path) -> Float32:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(linear(image[..., ::-1] / np.float32(255)))


def linear(srgb: NDArray[np.floating]) -> Float32:
    """sRGB in 0-1 -> linear light."""
    x = np.asarray(srgb, np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
