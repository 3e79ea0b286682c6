import numpy as np
import pytest

from rtau.align import apply, invert, region
from train.data.augment import GREY, coloured_like, jittered, occlude, photometric, warp

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("length", [60.0, 128.0, 250.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_dot_lands_where_the_transform_says(length: float, mirror: bool) -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[194:207, 244:257] = 255  # centre (250.5, 200.5)
    transform = region(np.array([245.0, 196.0]), length, 0.4, 128)
    out = warp(image, transform, (128, 128), mirror=mirror)[..., 0].astype(float)
    out[out <= GREY] = 0
    y, x = np.mgrid[0:128, 0:128] + 0.5
    seen = np.array([(out * x).sum(), (out * y).sum()]) / out.sum()
    expected = apply(invert(transform), np.array([250.5, 200.5]))
    if mirror:
        expected = expected * [-1, 1] + [128, 0]
    np.testing.assert_allclose(seen, expected, atol=0.15)


def test_outside_the_picture_is_grey() -> None:
    out = warp(np.zeros((50, 50, 3), np.uint8), region(np.array([500.0, 500.0]), 64, 0, 32), (32, 32))
    assert (out == GREY).all()


def test_jitter_moves_a_little_and_keeps_a_similarity() -> None:
    exact = region(np.array([100.0, 80.0]), 90, 0.2, 128)
    for _ in range(50):
        moved = jittered(exact, 128, RNG, 0.03, 1.08, 5)
        a, b = moved[:, 0], moved[:, 1]
        assert a @ b == pytest.approx(0)
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b))
        assert np.abs(apply(moved, np.full(2, 64.0)) - [100, 80]).max() < 15


def test_pixels_keep_their_shape_and_type_whatever_happens_to_them() -> None:
    image = RNG.integers(0, 256, (128, 128, 3)).astype(np.uint8)
    for _ in range(200):
        out = photometric(occlude(image, RNG, image), RNG)
        assert (out.shape, out.dtype) == (image.shape, np.uint8)


def test_a_picture_takes_over_the_colours_of_another() -> None:
    grey = np.clip(RNG.normal(120, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    red = np.clip(RNG.normal([200, 80, 60], 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(coloured_like(grey, red).mean(axis=(0, 1)), [200, 80, 60], atol=8)
