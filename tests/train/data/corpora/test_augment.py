import msgspec
import numpy as np
import pytest

from tests.train.data.corpora.trees import face
from train.data.corpora.augment import (
    AUNCE,
    CLP,
    CROP_FLIP,
    IMAGENET,
    Augmentation,
    Colour,
    _coloured,
    centre,
    draw_colour,
    views,
)

PICTURE = face(0, (256, 256), 110)
PLAIN = {"jitter_p": 0.0, "grey_p": 0.0, "blur_p": 0.0}


def _bytes(view: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A normalised view (3, S, S) as the picture that it shows."""
    mean, std = (np.array(values)[:, None, None] for values in IMAGENET)
    return np.round((view * std + mean) * 255).astype(np.uint8).transpose(1, 2, 0)


def test_views_depend_on_seed_epoch_and_row_alone() -> None:
    first = views(PICTURE[None], AUNCE, 3, 5, 7)
    assert first.shape == (2, 1, 3, 224, 224)
    views(PICTURE[None], AUNCE, 3, 5, 8)
    np.testing.assert_array_equal(first, views(PICTURE[None], AUNCE, 3, 5, 7))
    for other in ((4, 5, 7), (3, 6, 7), (3, 5, 8)):
        assert not np.array_equal(first, views(PICTURE[None], AUNCE, *other))
    assert not np.array_equal(first[0], first[1])


def test_a_view_is_a_window_of_the_picture_perhaps_mirrored() -> None:
    windows = set()
    for row in range(40):
        for view in views(PICTURE[None], CROP_FLIP, 0, 0, row):
            shown = _bytes(view[0])
            where = [
                (x, y, flipped)
                for flipped in (False, True)
                for y in range(33)
                for x in range(33)
                if np.array_equal(shown[::31, ::31], _mirrored(PICTURE[y : y + 224, x : x + 224], flipped)[::31, ::31])
            ]
            assert len(where) == 1
            windows.add(where[0])
    assert len(windows) > 70
    assert 0.3 < np.mean([flipped for _, _, flipped in windows]) < 0.7


def _mirrored(
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], flipped: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return picture[:, ::-1] if flipped else picture


def test_the_test_view_is_the_middle() -> None:
    np.testing.assert_array_equal(_bytes(centre(PICTURE, AUNCE)), PICTURE[16:240, 16:240])


def test_the_frames_of_a_clip_share_place_and_colours_in_all_views() -> None:
    clip = np.stack([PICTURE] * 3)
    how = msgspec.structs.replace(CLP, **PLAIN)
    query, key = views(clip, how, 0, 0, 1)
    np.testing.assert_array_equal(query[0], query[2])
    np.testing.assert_array_equal(query, key)  # nothing but geometry, and that is shared
    query, key = views(clip, CLP, 0, 0, 1)
    np.testing.assert_array_equal(query[0], query[2])
    assert not np.array_equal(query, key)  # colours are not shared between the views


def test_crops_of_clp_take_80_to_100_percent_of_the_area() -> None:
    from train.data.corpora.augment import draw_geometry

    rng = np.random.default_rng(0)
    sides = [draw_geometry(CLP, (256, 256), rng).side for _ in range(200)]
    assert 256 * 0.8**0.5 - 1 <= min(sides) < 235
    assert 250 < max(sides) <= 256
    with pytest.raises(ValueError, match="at least 224 pixels high and wide, got 200 x 256"):
        draw_geometry(AUNCE, (200, 256), rng)


def test_colours_come_as_often_and_as_strong_as_they_should() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_colour(AUNCE, rng) for _ in range(3000)]
    assert np.mean([bool(colour.jitter) for colour in drawn]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([colour.grey for colour in drawn]) == pytest.approx(0.2, abs=0.03)
    assert all(0.1 <= colour.sigma <= 2 for colour in drawn)
    factors = {kind: [dict(c.jitter)[kind] for c in drawn if c.jitter] for kind in range(4)}
    for kind in (0, 1, 2):
        assert (min(factors[kind]), max(factors[kind])) == (pytest.approx(0.6, abs=0.01), pytest.approx(1.4, abs=0.01))
    assert (min(factors[3]), max(factors[3])) == (pytest.approx(-0.1, abs=0.01), pytest.approx(0.1, abs=0.01))
    assert len({tuple(kind for kind, _ in c.jitter) for c in drawn if c.jitter}) == 24  # every order


def test_each_colour_change_does_what_its_name_says() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:, :4], rgb[:, 4:] = (200, 100, 40), (50, 150, 90)
    grey = rgb @ np.array([0.299, 0.587, 0.114])

    def changed(kind: int, amount: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return _coloured(rgb, Colour(((kind, amount),), False, 0.0)).astype(np.float64)

    np.testing.assert_allclose(changed(0, 0.5), rgb * 0.5, atol=1)
    np.testing.assert_allclose(changed(1, 0.5), rgb * 0.5 + grey.mean() * 0.5, atol=1.5)
    np.testing.assert_allclose(changed(2, 0.5), rgb * 0.5 + grey[..., None] * 0.5, atol=1.5)
    np.testing.assert_allclose(changed(3, 1 / 3)[0, 0], (40, 200, 100), atol=4)  # a third round: red becomes green
    np.testing.assert_allclose(_coloured(rgb, Colour((), True, 0.0)), np.repeat(grey[..., None], 3, 2), atol=1)


def test_an_augmentation_is_read_from_a_config_and_unknown_keys_are_refused() -> None:
    assert msgspec.convert({"crop": [0.8, 1.0], "blur_p": 0.5}, Augmentation) == CLP
    with pytest.raises(msgspec.ValidationError, match="unknown field `sharpen`"):
        msgspec.convert({"sharpen": 1}, Augmentation)
