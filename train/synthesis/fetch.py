"""The ICT face model (MIT) from its public home, packed into the arrays that `assets` reads.

`python -m train fetch-face-model`

Two checks stand between the network and the renderer. git computes the hash of every object that it receives, and the
commit's hash covers all of them, so other bytes cannot come under this commit. The sha256 of mesh and texture
coordinates after the conversion says that they were read as they were meant.
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.errors import SourceError

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

_FOLDER = "FaceXModel"
_NEUTRAL = "generic_neutral_mesh"
_NEGLIGIBLE_CM = 5e-5  # smaller offsets of an expression are rounding noise of its file
REGIONS = {  # of the light model: first vertex, first triangle
    "face": (0, 0),
    "head_neck": (9409, 18460),
    "mouth_socket": (11248, 22288),
    "eye_socket_left": (13294, 26452),
    "eye_socket_right": (13678, 27260),
    "gums_tongue": (14062, 28068),
    "teeth": (17039, 33876),
    "sclera_left": (21451, 42572),
    "iris_left": (22221, 44108),
    "sclera_right": (23021, 45704),
    "iris_right": (23791, 47240),
    "lacrimal_left": (24591, 48836),
    "lacrimal_right": (24795, 49162),
    "eye_blend_left": (24999, 49488),
    "eye_blend_right": (25023, 49518),
    "eye_occlusion_left": (25047, 49548),
    "eye_occlusion_right": (25199, 49804),
    "eyelashes_left": (25351, 50060),
    "eyelashes_right": (26035, 51140),
}


class Origin(NamedTuple):
    """A revision of the face model."""

    url: str  # anything that git can fetch from
    commit: str
    sha256: str  # of neutral, triangles, their texture corners, texture coordinates


ICT_FACEKIT = Origin(
    url="https://github.com/ICT-VGL/ICT-FaceKit",
    commit="da5f95a607f5e6b37755b38d3385d7f2853732e5",
    sha256="73b688b5306108276f682ba026e969ef8acd7275a5ed84c3995f73752d06343d",
)


class Mesh(NamedTuple):
    """One OBJ file; polygons are cut into triangles along the shorter diagonal."""

    vertices: Float64  # (V, 3) cm
    texture: NDArray[np.float32]  # (U, 2)
    triangles: Int32  # (T, 3) of vertices
    corners: Int32  # (T, 3) of texture coordinates


def fetched_model() -> Path:
    """Where the fetched model lies: the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "rtau" / "assets" / "ict_face" / "ict_face.npz"


def fetch(out: Path, origin: Origin = ICT_FACEKIT) -> None:
    """Fetch, check, convert, and write `out` with the model's licence beside it.

    Raises SourceError where git is missing, the home cannot be reached, or what came is something else.
    """
    with tempfile.TemporaryDirectory(prefix="rtau-face-model-") as scratch:
        folder = Path(scratch)
        _checkout(origin, folder)
        arrays = convert(folder / _FOLDER)
        got = _sha256(arrays)
        if got != origin.sha256:
            raise SourceError(f"{origin.url}: sha256 of the mesh is {got[:12]}…, expected {origin.sha256[:12]}…")
        out.parent.mkdir(parents=True, exist_ok=True)
        (out.parent / "LICENSE").write_bytes((folder / "LICENSE").read_bytes())
        unfinished = out.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        unfinished.replace(out)


def convert(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of `ict_face.npz` from a folder of OBJ files: neutral, shapes as offsets in float16, regions."""
    paths = {path.stem: path for path in sorted(folder.glob("*.obj"))}
    if _NEUTRAL not in paths:
        raise SourceError(f"{folder}: {_NEUTRAL}.obj is missing")
    mesh = read_obj(paths.pop(_NEUTRAL))
    identities = [name for name in paths if name.startswith("identity")]
    expressions = [name for name in paths if not name.startswith("identity")]
    offsets = {name: _vertices(path.read_bytes(), path) for name, path in paths.items()}
    for name, vertices in offsets.items():
        if vertices.shape != mesh.vertices.shape:
            raise SourceError(f"{paths[name]}: {len(vertices)} vertices, the neutral mesh has {len(mesh.vertices)}")
        vertices -= mesh.vertices
        if name in expressions:
            vertices[np.abs(vertices) < _NEGLIGIBLE_CM] = 0
    starts = np.array([*REGIONS.values(), (len(mesh.vertices), len(mesh.triangles))], np.int32)
    ranges = np.stack([starts[:-1], starts[1:]], axis=1)  # (R, 2, 2) first and last, of vertices and triangles
    return {
        "neutral": mesh.vertices.astype(np.float32),
        "identity": _packed([offsets[name] for name in identities]),
        "expression": _packed([offsets[name] for name in expressions]),
        "identity_names": np.array(identities),
        "expression_names": np.array(expressions),
        "tri": mesh.triangles,
        "tri_uv": mesh.corners,
        "uv": mesh.texture,
        "region_names": np.array(list(REGIONS)),
        "region_vert_range": np.ascontiguousarray(ranges[..., 0]),
        "region_tri_range": np.ascontiguousarray(ranges[..., 1]),
    }


def read_obj(path: Path) -> Mesh:
    """Vertices, texture coordinates and polygons of three or four corners. Raises SourceError naming the file."""
    data = path.read_bytes()
    vertices = _vertices(data, path)
    lines = data.splitlines()
    texture = np.array([line.split()[1:3] for line in lines if line.startswith(b"vt ")], np.float64)
    triangles: list[list[list[int]]] = []
    for line in lines:
        if not line.startswith(b"f "):
            continue
        corners = [[int(part) - 1 for part in corner.split(b"/")[:2]] for corner in line.split()[1:]]
        if len(corners) == 3:
            triangles.append(corners)
            continue
        if len(corners) != 4:
            raise SourceError(f"{path}: a polygon with {len(corners)} corners; 3 or 4 were expected")
        a, b, c, d = corners
        at = [np.asarray(vertices[k[0]], np.float32).astype(np.float64) for k in corners]
        if ((at[0] - at[2]) ** 2).sum() <= ((at[1] - at[3]) ** 2).sum():
            triangles += [[a, b, c], [a, c, d]]
        else:
            triangles += [[a, b, d], [b, c, d]]
    indices = np.array(triangles, np.int32)
    if not len(indices) or indices.shape[1:] != (3, 2):
        raise SourceError(f"{path}: no polygons with texture coordinates")
    return Mesh(
        vertices,
        texture.astype(np.float32),
        np.ascontiguousarray(indices[..., 0]),
        np.ascontiguousarray(indices[..., 1]),
    )


def _vertices(data: bytes, path: Path) -> Float64:
    try:
        vertices = np.array([line.split()[1:4] for line in data.splitlines() if line.startswith(b"v ")], np.float64)
    except ValueError as error:
        raise SourceError(f"{path}: damaged: {error}") from error
    if vertices.ndim != 2:
        raise SourceError(f"{path}: no vertices")
    return vertices


def _packed(offsets: list[Float64]) -> NDArray[np.float16]:
    return np.stack(offsets).astype(np.float16) if offsets else np.zeros((0, 0, 3), np.float16)


def _sha256(arrays: dict[str, NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for name in ("neutral", "tri", "tri_uv", "uv"):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _checkout(origin: Origin, folder: Path) -> None:
    """The face model's files at one commit, and nothing of the repository besides."""
    _git(folder, origin, "init", "--quiet")
    _git(folder, origin, "remote", "add", "origin", origin.url)
    _git(folder, origin, "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", origin.commit)
    _git(folder, origin, "sparse-checkout", "set", "--no-cone", f"/{_FOLDER}/*.obj", "/LICENSE")
    _git(folder, origin, "-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD")
    got = _git(folder, origin, "rev-parse", "HEAD").strip()
    if got != origin.commit:
        raise SourceError(f"{origin.url}: commit {got[:12]} came, {origin.commit[:12]} was asked for")


def _git(folder: Path, origin: Origin, *arguments: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise SourceError("git is missing; install it, or name a folder that has ict_face/ with --assets") from error
    except subprocess.CalledProcessError as error:
        reason = next((line for line in reversed(error.stderr.splitlines()) if line.strip()), "git failed")
        cure = "name a mirror with --source, or a folder that has ict_face/ with --assets"
        raise SourceError(f"{origin.url}: {reason.strip()}; {cure}") from error
    return done.stdout
