"""Which triangle is seen at each pixel, and where in it. Compiled kernels, no textures but the opacity of hair.

Depth is 1 / distance (larger is nearer, 0 is nothing). Pixel (i, j) has its centre at (i + 0.5, j + 0.5).
"""

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

_EDGE = -1e-6  # pixels on an edge belong to both triangles


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def rasterise(
    xy: Float32,
    inverse: Float32,
    triangles: Int32,
    culled: UInt8,
    first: int,
    ids: Int32,
    depth: Float32,
    bary: Float32,
) -> None:
    """Draw triangles (T, 3) of vertices xy (V, 2) in pixels and inverse distance (V,) over ids, depth (H, W).

    `first` is added to the triangles' numbers; `culled` (T,) is 1 where only the front shows (clockwise in the
    picture) and 2 where nothing does. `bary` (H, W, 2) receives the perspective-correct weights of corners 1 and 2.
    """
    height, width = ids.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if culled[t] == 2 or (area > -1e-9 and (culled[t] or area < 1e-9)):
            continue
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        x0, x1 = max(int(np.ceil(low_x - 0.5)), 0), min(int(np.floor(high_x - 0.5)), width - 1)
        y0, y1 = max(int(np.ceil(low_y - 0.5)), 0), min(int(np.floor(high_y - 0.5)), height - 1)
        if x0 > x1 or y0 > y1:
            continue
        scale = 1.0 / area
        za, zb, zc = inverse[a], inverse[b], inverse[c]
        step_b, step_c = (cy - ay) * scale, -(by - ay) * scale
        for y in range(y0, y1 + 1):
            py = y + 0.5
            px = x0 + 0.5
            wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * scale
            wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * scale
            for x in range(x0, x1 + 1):
                wa = 1.0 - wb - wc
                if wa >= _EDGE and wb >= _EDGE and wc >= _EDGE:
                    z = wa * za + wb * zb + wc * zc
                    if z > depth[y, x]:
                        depth[y, x] = z
                        ids[y, x] = t + first
                        bary[y, x, 0] = wb * zb / z
                        bary[y, x, 1] = wc * zc / z
                wb += step_b
                wc += step_c


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def rasterise_cut(
    xy: Float32,
    inverse: Float32,
    triangles: Int32,
    uv: Float32,
    strand: Float32,
    threshold: float,
    first: int,
    ids: Int32,
    depth: Float32,
    bary: Float32,
) -> None:
    """As `rasterise`, both sides, where the opacity strand[..., 1] at uv (T, 3, 2) reaches the threshold."""
    height, width = ids.shape
    rows, columns = strand.shape[:2]
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        x0, x1 = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0), min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        y0, y1 = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0), min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        scale = 1.0 / area
        za, zb, zc = inverse[a], inverse[b], inverse[c]
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * scale
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * scale
                wa = 1.0 - wb - wc
                if wa < _EDGE or wb < _EDGE or wc < _EDGE:
                    continue
                z = wa * za + wb * zb + wc * zc
                if z <= depth[y, x]:
                    continue
                qb, qc = wb * zb / z, wc * zc / z
                qa = 1.0 - qb - qc
                u = qa * uv[t, 0, 0] + qb * uv[t, 1, 0] + qc * uv[t, 2, 0]
                v = qa * uv[t, 0, 1] + qb * uv[t, 1, 1] + qc * uv[t, 2, 1]
                row = int((1.0 - (v - np.floor(v))) * rows)
                column = int((u - np.floor(u)) * columns)
                if strand[min(row, rows - 1), min(column, columns - 1), 1] >= threshold:
                    depth[y, x] = z
                    ids[y, x] = t + first
                    bary[y, x, 0] = qb
                    bary[y, x, 1] = qc


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def depth_map(xy: Float32, height: Float32, triangles: Int32, out: Float32, front: bool) -> None:
    """The largest height (V,) towards the viewer of an orthographic view at each pixel of out (S, S).

    `front`: only triangles that show their front (counter-clockwise, y up), enough where the surface is closed.
    """
    side = out.shape[0]
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area < 1e-9 and (front or area > -1e-9):
            continue
        x0, x1 = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0), min(int(np.floor(max(ax, bx, cx) - 0.5)), side - 1)
        y0, y1 = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0), min(int(np.floor(max(ay, by, cy) - 0.5)), side - 1)
        scale = 1.0 / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5, y + 0.5
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * scale
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * scale
                wa = 1.0 - wb - wc
                if wa >= _EDGE and wb >= _EDGE and wc >= _EDGE:
                    h = wa * height[a] + wb * height[b] + wc * height[c]
                    out[y, x] = max(out[y, x], h)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def vertex_normals(vertices: Float32, triangles: Int32) -> Float32:
    """(V, 3), (T, 3) -> (V, 3) unit normals, weighted by area."""
    out = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + 1e-12
        for k in range(3):
            out[i, k] /= length
    return out


def ambient_occlusion(vertices: Float32, normals: Float32, triangles: Int32, directions: int = 96) -> Float32:
    """(V,) share of the sky that each vertex sees, cosine-weighted: depth maps from `directions` all round."""
    side, half = 420, 17.0
    golden = np.pi * (3 - 5**0.5)
    centre = vertices.mean(axis=0)
    seen, whole = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    for i in range(directions):
        z = 1 - 2 * (i + 0.5) / directions
        r = np.sqrt(1 - z * z)
        d = np.array([r * np.cos(golden * i), r * np.sin(golden * i), z], np.float32)
        pixels, height = orthographic(vertices, d, centre, half, side)
        out = np.full((side, side), -1e9, np.float32)
        depth_map(pixels, height, triangles, out, False)
        x, y = (pixels[:, k].astype(int).clip(0, side - 1) for k in (0, 1))
        weight = np.maximum(normals @ d, 0)
        whole += weight
        seen += weight * (height >= out[y, x] - 0.25)
    return np.asarray(seen / whole, dtype=np.float32)


def orthographic(
    vertices: Float32, direction: Float32, centre: Float32, half: float, side: int
) -> tuple[Float32, Float32]:
    """The view along `direction` (towards the viewer): pixels (V, 2) of a square of 2 * half cm, and heights (V,)."""
    moved = vertices - centre
    across = view_basis(direction)[:2]
    return (moved @ across.T * (side / 2 / half) + side / 2).astype(np.float32), (moved @ direction).astype(np.float32)


def view_basis(direction: Float32) -> Float32:
    """(3, 3) rows: right and up in the view along `direction`, and `direction` itself."""
    up = np.array([0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0], np.float32)
    right = np.cross(up, direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction]).astype(np.float32)
