"""Light on the surfaces that the rasteriser found: one compiled pass over the pixels, in linear light.

colour = albedo * (ambient * occlusion + key * diffuse * shadow) + key * highlight + reflection of the surroundings.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from train.synthesis.assets import EYE, EYE_SOCKET, FACE, GUMS, HAIR, HAT, HEAD, SOCKET, TEETH

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

SHADOW_SIDE, SHADOW_HALF_CM = 256, 16.0
_WRAP = np.zeros(10, np.float32)  # how far light scatters round a surface of each material
_WRAP[[FACE, HEAD, GUMS, TEETH, EYE]] = 1.0, 1.0, 0.6, 0.5, 0.4
_ROUGH = np.full(10, 0.5, np.float32)
_ROUGH[[SOCKET, EYE_SOCKET, GUMS, TEETH, EYE, HAT]] = 0.35, 0.35, 0.28, 0.22, 0.12, 0.8
_SHINE = np.ones(10, np.float32)
_SHINE[[EYE, HAT, SOCKET]] = 1.6, 0.3, 0.5
CLOTH = 10  # the label of clothes in the segmentation; no triangle has it


class Surface(NamedTuple):
    """What is drawn: T triangles, V vertices in the camera's frame (cm), and their colours."""

    position: Float32  # (V, 3) camera frame: x right, y up, z towards the viewer
    rest: Float32  # (V, 3) unposed
    normal: Float32  # (V, 3) camera frame
    occlusion: Float32  # (V,) share of the sky seen
    scalp: Float32  # (V,) how much hair grows on it
    triangles: Int32  # (T, 3)
    material: UInt8  # (T,)
    uv: Float32  # (T, 3, 2)


class Paint(NamedTuple):
    """Colours of one person."""

    albedo: Float32  # (512, 512, 3)
    height: Float32  # (512, 512)
    gloss: Float32  # (512, 512)
    flat: Float32  # (11, 3) colour of each material without a texture; FACE and HEAD hold the skin
    iris: Float32  # (160, 160, 3)
    strand: Float32  # (S, S, 2)
    eye: Float32  # (2, 12) per eye: centre (3), rotation from the unposed face to the eye's axes (9)
    limbus: float
    roughness: float
    hem: float  # height below which the neck wears clothes, cm


class Light(NamedTuple):
    direction: Float32  # (3,) towards the key light, camera frame
    key: Float32  # (3,)
    ambient: Float32  # (9, 3) of 1, y, z, x, xy, yz, 3z²-1, xz, x²-y²
    shine: float


def shade(
    surface: Surface,
    paint: Paint,
    light: Light,
    ids: Int32,
    bary: Float32,
    shadow: Float32,
    basis: Float32,
    centre: Float32,
) -> tuple[Float32, UInt8]:
    """(H, W, 3) linear colour and (H, W) material + 1 (0 where nothing is) of the pixels in ids."""
    given: tuple[Any, ...] = (*surface, *paint, *light, ids, bary, shadow, basis, centre, _WRAP, _ROUGH, _SHINE)
    colour, labels = _shade(*given)
    return colour, labels


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _ambient(n: Float32, sh: Float32, channel: int) -> float:
    x, y, z = n[0], n[1], n[2]
    return float(
        sh[0, channel]
        + sh[1, channel] * y
        + sh[2, channel] * z
        + sh[3, channel] * x
        + sh[4, channel] * x * y
        + sh[5, channel] * y * z
        + sh[6, channel] * (3 * z * z - 1)
        + sh[7, channel] * x * z
        + sh[8, channel] * (x * x - y * y)
    )


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _shade(
    position: Float32, rest: Float32, normal: Float32, occlusion: Float32, scalp: Float32, triangles: Int32,
    material: UInt8, uv: Float32, albedo: Float32, height: Float32, gloss: Float32, flat: Float32, iris: Float32,
    strand: Float32, eye: Float32, limbus: float, roughness: float, hem: float, direction: Float32, key: Float32,
    ambient: Float32, shine: float, ids: Int32, bary: Float32, shadow: Float32, basis: Float32, centre: Float32,
    wrap: Float32, rough_of: Float32, shine_of: Float32,
) -> tuple[Float32, UInt8]:  # fmt: skip
    rows, columns = ids.shape
    out, labels = np.zeros((rows, columns, 3), np.float32), np.zeros((rows, columns), np.uint8)
    size = albedo.shape[0]
    n, p, q, colour = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    r = np.zeros(3, np.float32)
    lx, ly, lz = direction[0], direction[1], direction[2]
    scatter = (0.42, 0.18, 0.12)
    texel = shadow.shape[0] / 2 / SHADOW_HALF_CM
    for row in range(rows):
        for column in range(columns):
            t = ids[row, column]
            if t < 0:
                continue
            kind = material[t]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            wb, wc = bary[row, column, 0], bary[row, column, 1]
            wa = 1 - wb - wc
            for k in range(3):
                p[k] = wa * position[a, k] + wb * position[b, k] + wc * position[c, k]
                n[k] = wa * normal[a, k] + wb * normal[b, k] + wc * normal[c, k]
                q[k] = wa * rest[a, k] + wb * rest[b, k] + wc * rest[c, k]
                colour[k] = flat[kind, k]
            ao = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
            distance = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2)
            vx, vy, vz = -p[0] / distance, -p[1] / distance, -p[2] / distance
            rough = rough_of[kind]
            label = kind + 1
            hair = wa * scalp[a] + wb * scalp[b] + wc * scalp[c]
            if kind == FACE:
                u = wa * uv[t, 0, 0] + wb * uv[t, 1, 0] + wc * uv[t, 2, 0]
                v = wa * uv[t, 0, 1] + wb * uv[t, 1, 1] + wc * uv[t, 2, 1]
                x, y = u * size - 0.5, (1 - v) * size - 0.5
                x, y = min(max(x, 1.0), size - 3.0), min(max(y, 1.0), size - 3.0)
                i, j = int(y), int(x)
                fy, fx = y - i, x - j
                for k in range(3):
                    top = albedo[i, j, k] * (1 - fx) + albedo[i, j + 1, k] * fx
                    bottom = albedo[i + 1, j, k] * (1 - fx) + albedo[i + 1, j + 1, k] * fx
                    colour[k] = top * (1 - fy) + bottom * fy
                here = (height[i, j] * (1 - fx) + height[i, j + 1] * fx) * (1 - fy) + (
                    height[i + 1, j] * (1 - fx) + height[i + 1, j + 1] * fx
                ) * fy
                du = (height[i, j + 2] + height[i + 1, j + 2] - height[i, j] - height[i + 1, j]) * 0.25 * size
                dv = -(height[i + 2, j] + height[i + 2, j + 1] - height[i, j] - height[i, j + 1]) * 0.25 * size
                ub, vb = uv[t, 1, 0] - uv[t, 0, 0], uv[t, 1, 1] - uv[t, 0, 1]
                uc, vc = uv[t, 2, 0] - uv[t, 0, 0], uv[t, 2, 1] - uv[t, 0, 1]
                det = ub * vc - uc * vb
                if abs(det) > 1e-12:
                    tt, bb = 0.0, 0.0
                    for k in range(3):
                        eb, ec = position[b, k] - position[a, k], position[c, k] - position[a, k]
                        tangent, bitangent = (eb * vc - ec * vb) / det, (ec * ub - eb * uc) / det
                        tt += tangent * tangent
                        bb += bitangent * bitangent
                    su, sv = du * 0.020, dv * 0.020
                    steep = np.sqrt(su * su / tt + sv * sv / bb)
                    if steep > 0.9:
                        su, sv = su * 0.9 / steep, sv * 0.9 / steep
                    for k in range(3):
                        eb, ec = position[b, k] - position[a, k], position[c, k] - position[a, k]
                        n[k] -= su * (eb * vc - ec * vb) / det / tt + sv * (ec * ub - eb * uc) / det / bb
                if here < 0:
                    groove = 1 / (1 - 0.15 * here)
                    ao *= groove
                    colour[1] *= 0.85 + 0.15 * groove
                    colour[2] *= 0.85 + 0.15 * groove
                rough = min(max(roughness - gloss[i, j], 0.22), 0.8)
            if kind == HEAD and q[1] < hem + 0.04 * q[0] * q[0]:
                label = CLOTH + 1
                rough = 0.8
                for k in range(3):
                    colour[k] = flat[CLOTH, k]
            elif kind in (FACE, HEAD):
                for k in range(3):
                    colour[k] += hair * (flat[HAIR, k] - colour[k])
                rough += 0.2 * hair
            elif kind == EYE:
                side = 0 if q[0] < 0 else 1
                length = 0.0
                for k in range(3):
                    r[k] = q[k] - eye[side, k]
                    length += r[k] * r[k]
                length = np.sqrt(length)
                ex = (eye[side, 3] * r[0] + eye[side, 4] * r[1] + eye[side, 5] * r[2]) / length
                ey = (eye[side, 6] * r[0] + eye[side, 7] * r[1] + eye[side, 8] * r[2]) / length
                ez = (eye[side, 9] * r[0] + eye[side, 10] * r[1] + eye[side, 11] * r[2]) / length
                away = np.sqrt(ex * ex + ey * ey)
                redness = min(max((away - 0.45) / 0.5, 0.0), 1.0)
                colour[1] *= 1 - 0.28 * redness
                colour[2] *= 1 - 0.30 * redness
                radius = away / limbus
                if ez > 0 and radius < 1.08:
                    scale = iris.shape[0]
                    x, y = (0.5 + 0.39 * ex / limbus) * scale - 0.5, (0.5 - 0.39 * ey / limbus) * scale - 0.5
                    j, i = min(max(int(x), 0), scale - 2), min(max(int(y), 0), scale - 2)
                    fx, fy = x - j, y - i
                    blend = min(max((1.08 - radius) / 0.16, 0.0), 1.0)
                    for k in range(3):
                        top = iris[i, j, k] * (1 - fx) + iris[i, j + 1, k] * fx
                        bottom = iris[i + 1, j, k] * (1 - fx) + iris[i + 1, j + 1, k] * fx
                        colour[k] += blend * (top * (1 - fy) + bottom * fy - colour[k])
                d = 0  # the upper lid and its lashes shade the ball
                reach = max(rows // 35, 2)
                while d < reach and row - d > 0:
                    above = ids[row - d, column]
                    if above < 0 or material[above] != EYE:
                        break
                    d += 1
                ao *= 0.45 + 0.55 * min(d / (reach * 0.75), 1.0)
            elif kind == HAIR:
                u = wa * uv[t, 0, 0] + wb * uv[t, 1, 0] + wc * uv[t, 2, 0]
                v = wa * uv[t, 0, 1] + wb * uv[t, 1, 1] + wc * uv[t, 2, 1]
                scale = strand.shape[0]
                i = min(int((1 - (v - np.floor(v))) * scale), scale - 1)
                j = min(int((u - np.floor(u)) * scale), scale - 1)
                for k in range(3):
                    colour[k] *= 0.45 + 0.75 * strand[i, j, 0]
            elif kind == TEETH:
                ao = 0.25 + 0.75 * np.sqrt(ao)
            length = np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-9
            facing = (n[0] * vx + n[1] * vy + n[2] * vz) / length
            sign = -1.0 if kind >= HAIR and facing < 0 else 1.0
            for k in range(3):
                n[k] *= sign / length
            nl = n[0] * lx + n[1] * ly + n[2] * lz
            nv = max(n[0] * vx + n[1] * vy + n[2] * vz, 0.05)
            lit = 1.0
            if nl > -0.42:  # beyond, even scattered light does not come round
                lift = 0.35 * np.sqrt(max(1 - nl * nl, 0.0))
                sx, sy, sz = 0.0, 0.0, 0.0
                for k in range(3):
                    moved = p[k] + lift * n[k] - centre[k]
                    sx += basis[0, k] * moved
                    sy += basis[1, k] * moved
                    sz += basis[2, k] * moved
                px, py = sx * texel + shadow.shape[0] / 2, sy * texel + shadow.shape[0] / 2
                if 2 <= px < shadow.shape[0] - 3 and 2 <= py < shadow.shape[0] - 3:
                    lit, sz = 0.0, sz + 0.15
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            if shadow[int(py + 1.8 * dy), int(px + 1.8 * dx)] < sz:
                                lit += 1.0 / 9.0
            if kind in (SOCKET, GUMS, TEETH):
                lit = 0.5 * lit + 0.5 * ao
            w = wrap[kind] if label != CLOTH + 1 else 0.0
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            hl = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            nh = max((n[0] * hx + n[1] * hy + n[2] * hz) / hl, 0.0)
            vh = max((vx * hx + vy * hy + vz * hz) / hl, 0.0)
            strength = shine_of[kind] * shine * (0.3 if label == CLOTH + 1 else 1.0) * (1 - 0.6 * hair)
            if kind == HAIR:
                spec = nh * nh * nh
                spec = spec * spec
                spec = spec * spec
                spec = 0.10 * spec * spec * lit  # nh ** 24
            else:
                spec = 0.0
                if nl > 0 and lit > 0:
                    far = (1 - vh) * (1 - vh)
                    fresnel = 0.028 + 0.972 * far * far * (1 - vh)
                    for lobe in range(2):  # a sharp and a broad one
                        alpha = rough * (1.0 if lobe == 0 else 1.45)
                        alpha2 = alpha * alpha * alpha * alpha
                        d = nh * nh * (alpha2 - 1) + 1
                        spec += 0.5 * alpha2 / (d * d + 1e-9)
                    spec *= fresnel * 0.25 / ((0.7 * nl + 0.3) * (0.7 * nv + 0.3))
                    spec = min(spec * nl * lit * strength, 4.0)
            reddish = np.sqrt(ao) * np.sqrt(np.sqrt(ao))  # light that has gone through skin is red
            rx, ry, rz = 2 * nv * n[0] - vx, 2 * nv * n[1] - vy, 2 * nv * n[2] - vz
            grazing = (1 - nv) * (1 - nv)
            base = 0.008 if kind in (FACE, HEAD) else 0.02
            mirror = (base + 0.10 * (1 - rough) * grazing * grazing * (1 - nv)) * ao * strength
            for k in range(3):
                s = scatter[k] * w
                diffuse = max((nl + s) / (1 + s), 0.0)
                shaded = lit
                if k == 0 and w > 0:
                    shaded = lit + (1 - lit) * 0.18 * w * ao
                hollow = reddish if k == 0 and w > 0 else ao
                light = max(_ambient(n, ambient, k), 0.02) * hollow + key[k] * diffuse * shaded
                around = ambient[0, k] + ambient[1, k] * ry + ambient[2, k] * rz + ambient[3, k] * rx
                out[row, column, k] = colour[k] * light + key[k] * spec + max(around, 0.0) * mirror
            labels[row, column] = label
    return out, labels
