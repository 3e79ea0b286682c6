"""The fused kernel against the same arithmetic written plainly in float64."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from rtau.align import region
from rtau.crop import MAX_TAPS, TAP_SPACING, colour_transform, crop, shrink, to_rgb
from rtau.structures import Picture, PictureFormat

RNG = np.random.default_rng(0)
NO_NORM = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SUBSAMPLING = {"4:2:0": (1, 1), "4:2:2": (1, 0), "4:4:4": (0, 0)}


def picture(width: int = 61, height: int = 47, **format: object) -> Picture:
    """Random samples inside the range that the format allows; odd size."""
    shift_x, shift_y = SUBSAMPLING[str(format.pop("subsampling", "4:2:0"))]
    values = {"bits": 8, "matrix": "bt601", "full_range": False, "rotation": 0} | format
    f = PictureFormat(width, height, shift_x, shift_y, **values)  # type: ignore[arg-type]
    dtype = np.uint8 if f.bits == 8 else np.uint16
    planes = [RNG.integers(0, 2**f.bits, shape).astype(dtype) for shape in ((height, width), *[f.chroma_shape] * 2)]
    return Picture(f, *planes)


def bilinear(plane: NDArray[np.generic], x: float, y: float) -> float:
    """Position in samples, centres at whole numbers; borders repeated."""
    rows, columns = plane.shape
    x, y = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
    j, i = int(x), int(y)
    j1, i1 = min(j + 1, columns - 1), min(i + 1, rows - 1)
    p = plane.astype(np.float64)
    top = p[i, j] + (p[i, j1] - p[i, j]) * (x - j)
    return float(top + (p[i1, j] + (p[i1, j1] - p[i1, j]) * (x - j) - top) * (y - i))


def reference(source: Picture, transform: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(3, size, size) RGB in [0, 1]."""
    f, out = source.format, np.empty((3, size, size))
    width, height = f.stored_width, f.stored_height
    stored = {
        0: lambda x, y: (x, y),
        90: lambda x, y: (width - y, x),
        180: lambda x, y: (width - x, height - y),
        270: lambda x, y: (y, height - x),
    }[f.rotation]
    taps = min(max(int(np.ceil(np.hypot(*transform[:, 0]) / TAP_SPACING)), 1), MAX_TAPS)
    chroma_taps = (taps + 1) // 2 if f.chroma_shift_x else taps
    kx, ky = 2.0**-f.chroma_shift_x, 2.0**-f.chroma_shift_y

    def mean(plane: NDArray[np.generic], i: int, j: int, n: int, *, chroma: bool) -> float:
        values = []
        for a, b in itertools.product(range(n), repeat=2):
            point = np.array([j + (b + 0.5) / n, i + (a + 0.5) / n])
            x, y = stored(*(transform[:, :2] @ point + transform[:, 2]))
            values.append(
                bilinear(plane, (x - 0.5) * kx, y * ky - 0.5) if chroma else bilinear(plane, x - 0.5, y - 0.5)
            )
        return float(np.mean(values))

    for i, j in itertools.product(range(size), repeat=2):
        x, y = stored(*(transform[:, :2] @ [j + 0.5, i + 0.5] + transform[:, 2]))
        if not (0 <= x < width and 0 <= y < height):
            out[:, i, j] = 0.5
            continue
        yuv = [mean(source.y, i, j, taps, chroma=False)]
        yuv += [mean(plane, i, j, chroma_taps, chroma=True) for plane in (source.u, source.v)]
        out[:, i, j] = np.clip(colour_transform(f) @ [*yuv, 1.0], 0, 1)
    return out


def check(source: Picture, transform: NDArray[np.float64], size: int = 14) -> None:
    ours = crop(source, transform[None], (size, size), *NO_NORM)[0]
    wrong = np.abs(ours - reference(source, transform, size))
    # on the very edge of the picture float32 and float64 may disagree about inside and outside
    assert np.quantile(wrong, 0.99) < 1 / 255
    assert (wrong > 1 / 255).mean() < 0.01


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("subsampling", list(SUBSAMPLING))
def test_every_format_equals_the_reference(subsampling: str, bits: int, matrix: str, full_range: bool) -> None:
    source = picture(subsampling=subsampling, bits=bits, matrix=matrix, full_range=full_range)
    check(source, region(np.array([30.0, 23.0]), 25.0, 0.4, 14))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("length", [6.0, 14.0, 30.0, 44.0, 70.0])
def test_every_rotation_and_scale_equals_the_reference(rotation: int, length: float) -> None:
    source = picture(rotation=rotation)
    middle = np.array([source.format.width, source.format.height]) / 2
    check(source, region(middle, length, -0.3, 14))


def test_known_colours_come_out_by_the_standards() -> None:
    """Limited-range BT.709 red (63, 102, 240) and BT.601 red (81, 90, 240); white is 235, black 16."""
    for matrix, yuv, rgb in (
        ("bt709", (63, 102, 240), (1, 0, 0)),
        ("bt601", (81, 90, 240), (1, 0, 0)),
        ("bt601", (235, 128, 128), (1, 1, 1)),
        ("bt709", (16, 128, 128), (0, 0, 0)),
    ):
        f = PictureFormat(8, 8, 1, 1, 8, matrix, full_range=False)  # type: ignore[arg-type]
        planes = [np.full(shape, v, np.uint8) for shape, v in zip(((8, 8), (4, 4), (4, 4)), yuv, strict=True)]
        out = crop(Picture(f, *planes), region(np.array([4.0, 4.0]), 6, 0, 4)[None], (4, 4), *NO_NORM)
        np.testing.assert_allclose(out[0].mean(axis=(1, 2)), rgb, atol=0.012)


def test_normalisation_is_applied_after_clipping() -> None:
    source = picture()
    transform = region(np.array([30.0, 23.0]), 20.0, 0.0, 8)[None]
    plain = crop(source, transform, (8, 8), *NO_NORM)
    normal = crop(source, transform, (8, 8), (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))
    expected = (plain - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / np.reshape([0.25, 0.2, 0.1], (3, 1, 1))
    np.testing.assert_allclose(normal, expected, atol=1e-4)


def test_outside_the_picture_is_mid_grey() -> None:
    out = crop(picture(), region(np.array([500.0, 500.0]), 20, 0, 8)[None], (8, 8), *NO_NORM)
    assert (out == 0.5).all()


def test_padded_rows_are_honoured() -> None:
    tight = picture()
    padded = [np.pad(plane, ((0, 0), (0, 19)))[:, : plane.shape[1]] for plane in tight[1:]]
    transform = region(np.array([30.0, 23.0]), 25.0, 0.4, 14)[None]
    np.testing.assert_array_equal(
        crop(tight, transform, (14, 14), *NO_NORM), crop(Picture(tight.format, *padded), transform, (14, 14), *NO_NORM)
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 5)])
def test_the_smallest_pictures_are_read_inside_their_bounds(size: tuple[int, int]) -> None:
    out = crop(picture(*size), region(np.array([0.5, 0.5]), 2, 0, 4)[None], (4, 4), *NO_NORM)
    assert np.isfinite(out).all()


def marked(rotation: int, squeeze: int, *, mirrored: bool) -> Picture:
    """A bright top left corner as displayed, stored turned, mirrored, and `squeeze` times as narrow."""
    shown = np.full((40, 60), 30, np.uint8)
    shown[:10, :10] = 220
    stored = np.rot90(shown, -(rotation // 90))
    stored = np.ascontiguousarray((stored[:, ::-1] if mirrored else stored)[:, squeeze // 2 :: squeeze])
    height, width = stored.shape
    f = PictureFormat(width, height, 0, 0, 8, "bt601", True, rotation, mirrored, squeeze)  # type: ignore[arg-type]
    grey = np.full(stored.shape, 128, np.uint8)
    return Picture(f, stored, grey, grey)


@pytest.mark.parametrize("squeeze", [1, 2])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_top_left_of_the_display_stays_there(rotation: int, mirrored: bool, squeeze: int) -> None:
    source = marked(rotation, squeeze, mirrored=mirrored)
    assert (source.format.width, source.format.height) == (60, 40)
    whole = crop(source, np.eye(3)[None, :2], (60, 40), *NO_NORM)[0, 0]
    small = shrink(source, (30, 20), (32, 32), *NO_NORM)[0, 0]
    drawn = to_rgb(source)
    for image, scale in ((whole * 255, 1), (small * 255, 2), (drawn[..., 0], 1)):
        assert image[4 // scale, 4 // scale] == pytest.approx(220, abs=2)
        assert image[30 // scale, 4 // scale] == pytest.approx(30, abs=2)
        assert image[4 // scale, 50 // scale] == pytest.approx(30, abs=2)
    assert (small[20:] == 0.5).all()


@pytest.mark.parametrize("bits", [8, 10])
def test_shrinking_and_drawing_agree_with_the_kernel_on_smooth_pictures(bits: int) -> None:
    f = PictureFormat(64, 48, 1, 1, bits, "bt709", full_range=False)
    unit, dtype = 2 ** (bits - 8), np.uint8 if bits == 8 else np.uint16
    y = (np.linspace(40, 200, 64)[None].repeat(48, 0) * unit).astype(dtype)
    u = (np.linspace(110, 140, 32)[None].repeat(24, 0) * unit).astype(dtype)
    source = Picture(f, y, u, u[:, ::-1].copy())
    exact = crop(source, np.eye(3)[None, :2], (64, 48), *NO_NORM)[0]
    np.testing.assert_allclose(to_rgb(source).transpose(2, 0, 1) / 255, exact, atol=0.03)
    halves = exact.reshape(3, 24, 2, 32, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(shrink(source, (32, 24), (32, 24), *NO_NORM)[0], halves, atol=0.03)
