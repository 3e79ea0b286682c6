import csv

import pytest

from train.data.split import material, part_of_clip, part_of_photo

needs_material = pytest.mark.skipif(not material().is_dir(), reason="the open photos and clips are not here")


@pytest.mark.parametrize(
    "clip",
    ["crema_1001_DFA_ANG_XX.flv", "pexels_langer_expressions.mp4", "intel_walking_three.mp4", "pyfeat_no_face.mp4"],
)
def test_evaluation_clips_never_train(clip: str) -> None:
    assert part_of_clip(clip) == "evaluation"


def test_other_clips_train_or_validate() -> None:
    assert part_of_clip("grid_bbaf2n.mpg") == "train"
    assert part_of_clip("grid_swiz3n.mpg") == "validation"


def test_london_never_trains() -> None:
    assert part_of_photo("london_001_smile.jpg") == "evaluation"


def test_the_tenth_of_fairface_stays_the_same() -> None:
    held_out = [i for i in range(60) if part_of_photo(f"ff_{i:04d}.jpg") == "evaluation"]
    assert held_out == [0, 21, 36, 41, 43, 52, 54]


@needs_material
def test_parts_have_their_sizes() -> None:
    for collection in ("fairface", "open_faces"):
        with (material() / "data" / collection / "labels.csv").open() as file:
            parts = [part_of_photo(row["file"]) for row in csv.DictReader(file)]
        assert 0.07 < parts.count("evaluation") / len(parts) < 0.16
        assert 0.06 < parts.count("validation") / len(parts) < 0.13
