"""AUs coded by eye: what is written, what counts as present, and what it teaches."""

import numpy as np
import pytest

from rtau.facs import AU_COLUMNS
from train.data.coded import Coded, load_coded, load_coded_renders, read_codes, taught_by_coding
from train.data.pseudo_labels import TrainingLabels


def column(au: str) -> int:
    return AU_COLUMNS.index(au)


def coded(*faces: tuple[str, str, str]) -> Coded:
    """Faces a, b, ... with their readings: first, second, close."""
    readings = [[read_codes(face[i], np.nan if i == 2 else 0.0) for face in faces] for i in range(3)]
    return Coded(tuple("abcdefgh"[: len(faces)]), np.stack(readings))


def labels(faces: int, intensity: float = 0.0, weight: float = 0.0) -> TrainingLabels:
    sides = [np.full((faces, len(AU_COLUMNS)), value, np.float32) for value in (intensity, intensity, weight)]
    return TrainingLabels(*sides, np.zeros((faces, len(AU_COLUMNS)), bool))


def test_the_right_of_a_face_is_on_the_left_of_its_picture() -> None:
    left, right = read_codes("12=3/1", 0.0)
    assert (left[column("AU12")], right[column("AU12")]) == (1, 3)


def test_a_code_is_an_intensity_a_doubt_or_hidden() -> None:
    reading = read_codes("4=2 9? hidden:20", 0.0)
    assert [reading[0, column(au)] for au in ("AU04", "AU09", "AU12")] == [2, 0.5, 0]
    assert np.isnan(reading[:, column("AU20")]).all()
    assert np.isnan(read_codes("bad", 0.0)).all()


@pytest.mark.parametrize("word", ["13=2", "12", "12=much", "hidden", "12=3/"])
def test_what_is_no_code_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=word):
        read_codes(f"4=1 {word}", 0.0)


def test_two_readings_make_an_occurrence_and_a_doubt_makes_none() -> None:
    found = coded(("9=2", "9=1", ""), ("9=1", "", ""), ("", "", ""), ("9=3", "hidden:9", ""), ("9?", "", "9=0"))
    nose = column("AU09")
    assert found.present[:, nose].tolist() == [True, False, False, False, False]
    assert found.absent[:, nose].tolist() == [False, False, True, False, True]
    assert found.intensity[0, 0, nose] == 1.5


def test_faces_are_looked_up_by_name_and_unknown_ones_tell_nothing() -> None:
    found = coded(("9=2", "9=2", ""), ("12=3", "12=3", "")).of(["b", "unknown", "a"])
    assert found.present[:, column("AU09")].tolist() == [False, False, True]
    assert found.present[:, column("AU12")].tolist() == [True, False, False]
    assert not found.absent[1].any()
    assert np.isnan(found.intensity[1]).all()


def test_coding_replaces_the_teacher_and_stands_beside_it_where_it_sees_well() -> None:
    taught = taught_by_coding(labels(2, intensity=4, weight=1), ["a", "unknown"], coded(("4=2 12=2", "4=2 12=2", "")))
    assert (taught.left[0, column("AU04")], taught.left[0, column("AU12")]) == (2, 3)
    assert taught.known[0, column("AU04")]
    assert (taught.left[1] == 4).all()


def test_rare_aus_are_not_drowned_by_their_absence() -> None:
    faces = [("9=2 12=2", "9=2 12=2", ""), *[("12=2", "12=2", "")] * 7]
    several = Coded(tuple("abcdefgh"), coded(*faces).readings)
    taught = taught_by_coding(labels(8), list("abcdefgh"), several)
    nose, smile = column("AU09"), column("AU12")
    assert taught.weight[0, nose] == 1
    assert taught.weight[:, smile].tolist() == [1] * 8
    assert taught.weight[1, column("AU20")] == 0  # that nobody shows tells nothing
    assert taught.known[:, nose].all()


def test_all_that_was_coded_can_be_read() -> None:
    assert len(load_coded_renders()) == 360
    every = load_coded()
    assert len(set(every.names)) == len(every.names) > 2400
    assert np.nanmin(every.readings) >= 0
    assert np.nanmax(every.readings) <= 5
    assert every.present.any(axis=0).sum() == len(AU_COLUMNS)
