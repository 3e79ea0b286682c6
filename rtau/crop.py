"""From YUV planes to normalised network input, without a full-frame RGB copy in between.

`crop` is the fused kernel: similarity transform, sampling, colour conversion, normalisation, for all faces of a
picture. `shrink` makes the detector's small picture of the whole frame. Both honour the stream's colour matrix, range,
bit depth, chroma position, rotation and the shape of its pixels.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import msgspec
import numba
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rtau.structures import ColourMatrix, Float32, Picture, PictureFormat, Plane

Triple = tuple[float, float, float]

MAX_TAPS = 4  # when shrinking, an output pixel is the mean of up to 4 x 4 samples
_FASTMATH = {"contract", "arcp", "nsz", "reassoc"}
TAP_SPACING = np.float32(2)  # source pixels between them at most: as far as bilinear sampling sees
_LUMA_WEIGHTS: dict[ColourMatrix, tuple[float, float]] = {  # of red and blue, ITU-R BT.601, BT.709, BT.2020
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


class View(NamedTuple):
    """Crops of one picture."""

    picture: Picture
    transforms: NDArray[np.float64]  # (F, 2, 3) from crop pixels to pixels of the displayed picture


def colour_transform(format: PictureFormat) -> NDArray[np.float64]:
    """(3, 4) affine map from stored sample values (y, u, v, 1) to RGB in [0, 1]."""
    red, blue = _LUMA_WEIGHTS[format.matrix]
    green = 1 - red - blue
    unit = 2 ** (format.bits - 8)
    black, luma, chroma = (0.0, 2**format.bits - 1, 2**format.bits - 1) if format.full_range else (
        16.0 * unit, 219.0 * unit, 224.0 * unit
    )  # fmt: skip
    matrix = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
            [1, 2 * (1 - blue), 0],
        ]
    ) / np.array([luma, chroma, chroma])
    offset = -matrix @ np.array([black, 128.0 * unit, 128.0 * unit])
    return np.concatenate([matrix, offset[:, None]], axis=1)


def to_stored(format: PictureFormat) -> NDArray[np.float64]:
    """(2, 3) from displayed to stored picture coordinates."""
    width, height = map(float, format.unturned)
    turned = {
        0: np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        90: np.array([[0.0, -1.0, width], [1.0, 0.0, 0.0]]),
        180: np.array([[-1.0, 0.0, width], [0.0, -1.0, height]]),
        270: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, height]]),
    }[format.rotation]
    if format.mirrored:
        turned[0] = np.array([0.0, 0.0, width]) - turned[0]
    turned[0] *= format.stored_width / width
    return turned


def crop(
    picture: Picture,
    transforms: NDArray[np.float64],
    size: tuple[int, int],
    mean: Triple,
    std: Triple,
    out: Float32 | None = None,
) -> Float32:
    """Crops (F, 3, height, width) of `size` (width, height), RGB, (rgb - mean) / std with rgb in [0, 1].

    Transforms (F, 2, 3) are similarities from crop pixels to displayed picture pixels; pixel centres are at +0.5.
    Sampling is bilinear; a crop that shrinks averages a regular grid of samples inside each output pixel. What lies
    outside the picture is mid-grey. The crops are written to `out` where it is given.
    """
    format = picture.format
    if not format.as_stored:
        turn = to_stored(format)
        linear = turn[:, :2] @ transforms
        linear[:, :, 2] += turn[:, 2]
        transforms = linear
    if out is None:
        out = np.empty((len(transforms), 3, size[1], size[0]), np.float32)
    (luma, luma_pitch), (u, chroma_pitch), (v, v_pitch) = _flat(picture.y), _flat(picture.u), _flat(picture.v)
    assert chroma_pitch == v_pitch  # one table of offsets serves both
    _crop(
        luma, luma_pitch, u, v, chroma_pitch,
        format.stored_width, format.stored_height, format.chroma_shift_x, format.chroma_shift_y,
        transforms.astype(np.float32), *normalised_colour(format, mean, std), out,
    )  # fmt: skip
    return out


class CropBuffer:
    """Memory for the crops of one network, kept from frame to frame: fresh pages cost as much as the sampling."""

    def __init__(self, side: int) -> None:
        self._memory = np.empty((1, 3, side, side), np.float32)

    def take(self, count: int) -> Float32:
        """(count, 3, side, side), to be overwritten; valid until the next call."""
        if count > len(self._memory):
            self._memory = np.empty((count, *self._memory.shape[1:]), np.float32)
        return self._memory[:count]


def shrink(picture: Picture, size: tuple[int, int], canvas: tuple[int, int], mean: Triple, std: Triple) -> Float32:
    """The whole displayed picture at `size` (width, height) in the top left corner of a `canvas`: (1, 3, h, w).

    Pixels are averaged over their area (or interpolated, when the picture is smaller); the rest is mid-grey.
    """
    format = picture.format
    turned = format.rotation in (90, 270)
    stored = (size[1], size[0]) if turned else size
    smaller = stored[0] <= format.stored_width and stored[1] <= format.stored_height
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    planes = [
        np.ascontiguousarray(_turned(cv2.resize(plane, stored, interpolation=how), format)) for plane in picture[1:]
    ]
    out = np.empty((1, 3, canvas[1], canvas[0]), np.float32)
    _convert(planes[0], planes[1], planes[2], *normalised_colour(format, mean, std), out[0])
    return out


def to_rgb(picture: Picture) -> NDArray[np.uint8]:
    """The displayed picture as (H, W, 3) uint8, for drawing: quick, chroma up to half a sample from its place."""
    format = picture.format
    planes = [(plane >> (format.bits - 8)).astype(np.uint8, copy=False) for plane in picture[1:]]
    yuv = cv2.merge([cv2.resize(plane, format.unturned) for plane in planes])
    rgb = cv2.transform(yuv, colour_transform(msgspec.structs.replace(format, bits=8)) * 255)
    return np.ascontiguousarray(_turned(rgb, format), dtype=np.uint8)


def _turned(image: NDArray[Any], format: PictureFormat) -> NDArray[Any]:
    """From stored to displayed, for a picture whose pixels are square already."""
    return np.rot90(image[:, ::-1] if format.mirrored else image, format.rotation // 90)


@lru_cache(maxsize=16)
def normalised_colour(format: PictureFormat, mean: Triple, std: Triple) -> tuple[Float32, Float32, Float32]:
    """Colour map (3, 4), and the lowest and highest value (3,) of each channel, after normalisation."""
    colour = colour_transform(format)
    colour[:, 3] -= mean
    scale = 1 / np.array(std)
    low = -np.array(mean) * scale
    return (
        (colour * scale[:, None]).astype(np.float32),
        low.astype(np.float32),
        (low + scale).astype(np.float32),
    )


def _flat(plane: Plane) -> tuple[Plane, int]:
    """A plane with padded rows as one run of samples, and the samples from row to row."""
    if min(plane.shape) < 2:
        return _flat(plane.repeat(2, axis=0).repeat(2, axis=1))
    rows, columns = plane.shape
    pitch = plane.strides[0] // plane.itemsize
    flat: Plane = as_strided(plane, ((rows - 1) * pitch + columns,), (plane.itemsize,), writeable=False)  # type: ignore[assignment]
    return flat, pitch


@numba.njit(fastmath=_FASTMATH, error_model="numpy", nogil=True, inline="always")
def _add_row(plane, pitch, last_column, last_row, x, dx, y, dy, out):  # type: ignore[no-untyped-def]
    """Add to out (W,) a row of bilinear samples that begin at (x, y) and go on by (dx, dy).

    Counted in samples, centres at whole numbers; borders are repeated. Without branches, so that the compiler can use
    vectors. All float32 and int32: numba would widen a mixture.
    """
    edge_x, edge_y = np.float32(last_column), np.float32(last_row)
    before_x, before_y = max(last_column - np.int32(1), np.int32(0)), max(last_row - np.int32(1), np.int32(0))
    for j in range(out.shape[0]):
        step = np.float32(j)
        sx = min(max(x + dx * step, np.float32(0)), edge_x)
        sy = min(max(y + dy * step, np.float32(0)), edge_y)
        column, row = min(np.int32(sx), before_x), min(np.int32(sy), before_y)
        fx, fy = sx - np.float32(column), sy - np.float32(row)
        first = np.uintp(row * pitch + column)  # unsigned: numba need not look for negative places
        below = first + np.uintp(pitch)
        a, b = np.float32(plane[first]), np.float32(plane[first + np.uintp(1)])
        c, d = np.float32(plane[below]), np.float32(plane[below + np.uintp(1)])
        top = a + (b - a) * fx
        out[j] += top + (c + (d - c) * fx - top) * fy


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", nogil=True)
def _crop(  # type: ignore[no-untyped-def]
    luma, luma_pitch, u, v, chroma_pitch, width, height, shift_x, shift_y, transforms, colour, low, high, out
):
    half, one, nothing = np.float32(0.5), np.float32(1), np.float32(0)
    right, bottom = np.int32(width - 1), np.int32(height - 1)
    chroma_right, chroma_bottom = np.int32(right >> shift_x), np.int32(bottom >> shift_y)
    luma_pitch, chroma_pitch = np.int32(luma_pitch), np.int32(chroma_pitch)
    to_x, to_y = np.float32(1.0 / (1 << shift_x)), np.float32(1.0 / (1 << shift_y))
    off_x = half * to_x  # chroma lies on the left luma column of its group, and midway between the rows
    edge_x, edge_y = np.float32(width), np.float32(height)
    columns = out.shape[3]
    yy, uu, vv = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    for f in range(out.shape[0]):
        m00, m01, m02 = transforms[f, 0, 0], transforms[f, 0, 1], transforms[f, 0, 2]
        m10, m11, m12 = transforms[f, 1, 0], transforms[f, 1, 1], transforms[f, 1, 2]
        taps = min(max(int(np.ceil(np.sqrt(m00 * m00 + m10 * m10) / TAP_SPACING)), 1), MAX_TAPS)
        chroma_taps = (taps + 1) >> 1 if shift_x else taps
        step, chroma_step = one / np.float32(taps), one / np.float32(chroma_taps)
        share, chroma_share = step * step, chroma_step * chroma_step
        for i in range(out.shape[2]):
            down = np.float32(i) + half
            x, y = m00 * half + m01 * down + m02, m10 * half + m11 * down + m12  # centre of the row's first pixel
            yy[:], uu[:], vv[:] = nothing, nothing, nothing
            for a in range(taps):
                v_off = (np.float32(a) + half) * step - half
                for b in range(taps):
                    u_off = (np.float32(b) + half) * step - half
                    sx, sy = x + m00 * u_off + m01 * v_off - half, y + m10 * u_off + m11 * v_off - half
                    _add_row(luma, luma_pitch, right, bottom, sx, m00, sy, m10, yy)
            for a in range(chroma_taps):
                v_off = (np.float32(a) + half) * chroma_step - half
                for b in range(chroma_taps):
                    u_off = (np.float32(b) + half) * chroma_step - half
                    sx = (x + m00 * u_off + m01 * v_off) * to_x - off_x
                    sy = (y + m10 * u_off + m11 * v_off) * to_y - half
                    dx, dy = m00 * to_x, m10 * to_y
                    _add_row(u, chroma_pitch, chroma_right, chroma_bottom, sx, dx, sy, dy, uu)
                    _add_row(v, chroma_pitch, chroma_right, chroma_bottom, sx, dx, sy, dy, vv)
            for c in range(3):
                from_y, from_u, from_v = colour[c, 0] * share, colour[c, 1] * chroma_share, colour[c, 2] * chroma_share
                constant, least, greatest, line = colour[c, 3], low[c], high[c], out[f, c, i]
                for j in range(columns):
                    value = from_y * yy[j] + from_u * uu[j] + from_v * vv[j] + constant
                    line[j] = min(max(value, least), greatest)
            last = np.float32(columns - 1)
            x_end, y_end = x + m00 * last, y + m10 * last
            if min(x, x_end) < nothing or min(y, y_end) < nothing or max(x, x_end) >= edge_x or max(y, y_end) >= edge_y:
                for j in range(columns):
                    px, py = x + m00 * np.float32(j), y + m10 * np.float32(j)
                    if px < nothing or py < nothing or px >= edge_x or py >= edge_y:
                        for c in range(3):
                            out[f, c, i, j] = (low[c] + high[c]) * half


@numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", nogil=True)
def _convert(y, u, v, colour, low, high, out):  # type: ignore[no-untyped-def]
    rows, columns = y.shape
    for c in range(3):
        out[c] = np.float32(0.5) * (low[c] + high[c])
        for i in range(rows):
            for j in range(columns):
                value = colour[c, 0] * y[i, j] + colour[c, 1] * u[i, j] + colour[c, 2] * v[i, j] + colour[c, 3]
                out[c, i, j] = min(max(value, low[c]), high[c])
