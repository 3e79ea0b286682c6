"""Clips of activities: what is asked of the face, and what the corpus says of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from train.data.corpora.rendered import read
from train.synthesis.activities import ACTIVITIES
from train.synthesis.assets import assets_folder
from train.synthesis.shards import RenderConfig, render_all


def test_a_joke_brings_out_lip_corners_and_a_bad_smell_does_not() -> None:
    rng = np.random.default_rng(0)
    shown = {a.text: Counter(au for _ in range(300) for au in a.draw(rng).right) for a in ACTIVITIES}
    assert shown["hear a joke"][12] > 150 > 100 > shown["unpleasant smell"][12]
    assert shown["unpleasant smell"][10] > 150 > 100 > shown["hear a joke"][10]


def test_pictures_must_divide_into_the_activities(tmp_path: Path) -> None:
    for wrong in ({"pictures": 12, "activities": True}, {"pictures": 16, "activities": True, "sequences": True}):
        config = RenderConfig(out=str(tmp_path / "out"), split="test", persons=1, size=64, **wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"pictures"):
            render_all(config, tmp_path, 1, lambda done, count, rate: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not assets_folder().is_dir(), reason="the face model is not here")
def test_a_clip_of_every_activity_is_a_session(tmp_path: Path) -> None:
    config = RenderConfig(out=str(tmp_path), split="test", persons=1, pictures=16, size=64, activities=True)
    render_all(config, assets_folder(), 1, lambda done, count, rate: None)
    corpus = read(tmp_path).corpus
    assert corpus.session.tolist() == [f"activity{k + 1}" for k in range(8) for _ in range(2)]
    assert corpus.frame.tolist() == [0, 1] * 8
    assert corpus.text["activity"][2:4].tolist() == [ACTIVITIES[1].text] * 2
    render_all(config, assets_folder(), 1, lambda done, count, rate: None)  # nothing is left to do
    stills = RenderConfig(out=str(tmp_path), split="test", persons=1, pictures=16, size=64)
    with pytest.raises(FileExistsError, match="other settings"):
        render_all(stills, assets_folder(), 1, lambda done, count, rate: None)
