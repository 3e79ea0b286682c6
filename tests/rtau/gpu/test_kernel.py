"""crop.cu, compiled for the CPU, against the numba kernel: the very source that PyCUDA compiles for the GPU."""

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtau.align import region
from rtau.crop import Triple, View, crop
from rtau.gpu.views import FACE, pack
from rtau.structures import Picture
from tests.rtau.gpu.host import crops
from tests.rtau.test_crop import SUBSAMPLING, picture

NORM: tuple[Triple, Triple] = ((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
SIZE = (20, 20)


def some_regions(source: Picture) -> NDArray[np.float64]:
    """Inside, turned, shrinking, over the edge, and outside."""
    middle = np.array([source.format.width, source.format.height]) / 2
    return np.stack(
        [
            region(middle, 15.0, 0.4, SIZE[0]),
            region(middle, 70.0, -1.2, SIZE[0]),
            region(middle, 170.0, 3.0, SIZE[0]),
            region(np.array([0.0, 3.0]), 21.0, 0.1, SIZE[0]),
            region(np.array([400.0, -90.0]), 21.0, 0.1, SIZE[0]),
        ]
    )


def same(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> None:
    """Within 1/255 of the range of rgb; on the very edge rounding may decide otherwise about inside and outside."""
    wrong = np.abs(ours.astype(np.float64) - theirs) * np.reshape(NORM[1], (3, 1, 1))
    assert np.isfinite(wrong).all()
    assert (wrong > 1 / 255).mean() < 0.01


def on_the_gpu(views: list[View], size: tuple[int, int] = SIZE) -> NDArray[np.float16]:
    """Packed, copied to where the kernel reads, and sampled there; what was not packed is poisoned."""
    packed = pack(views, size, *NORM)
    memory = np.full(packed.nbytes + 64, 255, np.uint8)
    packed.write(memory)
    return crops(packed.placed(memory.ctypes.data), size)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("subsampling", list(SUBSAMPLING))
def test_every_format_equals_numba(subsampling: str, bits: int, matrix: str, full_range: bool) -> None:
    source = picture(subsampling=subsampling, bits=bits, matrix=matrix, full_range=full_range)
    regions = some_regions(source)
    same(on_the_gpu([View(source, regions)]), crop(source, regions, SIZE, *NORM))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_every_rotation_equals_numba(rotation: int) -> None:
    source = picture(rotation=rotation)
    regions = some_regions(source)
    same(on_the_gpu([View(source, regions)]), crop(source, regions, SIZE, *NORM))


def test_pictures_of_different_formats_share_a_batch() -> None:
    sources = [picture(), picture(80, 33, bits=10), picture(20, 90, subsampling="4:4:4", rotation=90)]
    views = [View(source, some_regions(source)) for source in sources]
    expected = np.concatenate([crop(source, regions, SIZE, *NORM) for source, regions in views])
    same(on_the_gpu(views), expected)


def test_padded_rows_are_honoured() -> None:
    tight = picture()
    padded = Picture(tight.format, *(np.pad(plane, ((0, 0), (0, 19)))[:, : plane.shape[1]] for plane in tight[1:]))
    regions = some_regions(tight)
    np.testing.assert_array_equal(on_the_gpu([View(tight, regions)]), on_the_gpu([View(padded, regions)]))


@pytest.mark.parametrize("bits", [8, 10])
def test_what_is_packed_is_all_that_is_read(bits: int) -> None:
    source = picture(200, 150, bits=bits)
    rng = np.random.default_rng(1)
    regions = np.stack(
        [region(rng.uniform(-20, 220, 2), rng.uniform(4, 120), rng.uniform(-3, 3), SIZE[0]) for _ in range(300)]
    )
    packed = pack([View(source, regions)], SIZE, *NORM)
    whole = packed.faces.copy()
    for name, plane in zip(("y", "u", "v"), source[1:], strict=True):
        whole[name] = plane.ctypes.data
    whole["luma_pitch"], whole["chroma_pitch"] = source.y.shape[1], source.u.shape[1]
    np.testing.assert_array_equal(on_the_gpu([View(source, regions)]), crops(whole, SIZE))
    assert packed.nbytes < 300 * source.format.nbytes / 2


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 5)])
def test_the_smallest_pictures_are_read_inside_their_bounds(size: tuple[int, int]) -> None:
    regions = region(np.array([0.5, 0.5]), 2, 0, SIZE[0])[None]
    assert np.isfinite(on_the_gpu([View(picture(*size), regions)])).all()


@pytest.mark.parametrize("bits", [8, 10])
def test_interleaved_chroma_with_padded_rows_is_nv12_and_p010(bits: int) -> None:
    """As NVDEC leaves frames: u and v alternate, rows are padded, 10 bits stand at the upper end of 16."""
    source = picture(62, 48, bits=bits)
    regions = some_regions(source)
    faces = pack([View(source, regions)], SIZE, *NORM).faces.copy()
    up = 0 if bits == 8 else 16 - bits
    luma = np.full((48, 80), 99, source.y.dtype)
    luma[:, :62] = source.y << up
    chroma = np.full((24, 40, 2), 99, source.y.dtype)
    chroma[:, :31, 0], chroma[:, :31, 1] = source.u << up, source.v << up
    faces["y"], faces["u"] = luma.ctypes.data, chroma.ctypes.data
    faces["v"] = chroma.ctypes.data + chroma.itemsize
    faces["luma_pitch"], faces["chroma_pitch"], faces["chroma_step"] = 80, 80, 2
    faces["colour"][:, :, :3] /= 2**up
    same(crops(faces, SIZE), crop(source, regions, SIZE, *NORM))


def test_a_place_without_a_face_becomes_zero() -> None:
    assert (crops(np.zeros(2, FACE), SIZE) == 0).all()


def test_nvcc_compiles_the_kernel(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    source = str(files("rtau") / "gpu" / "crop.cu")
    done = subprocess.run(
        [nvcc, "--cubin", "-arch", "sm_90", "-o", str(tmp_path / "crop.cubin"), source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""  # PyCUDA makes a warning of anything it says
