"""Long sessions: shares of time, resting faces that are no AU, and the same pictures for the same seed."""

import numpy as np
import pytest

from train.synthesis.assets import assets_folder, load_head
from train.synthesis.expression import express
from train.synthesis.person import make_person
from train.synthesis.sequence import REST
from train.synthesis.session import TRAITS, _blinks, _script, _sway, with_trait

needs_assets = pytest.mark.skipif(
    not (assets_folder() / "ict_face" / "ict_face.npz").exists(), reason="the face model is not here"
)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_smiles_take_their_share_of_the_time_and_rest_half_of_the_remainder(share: float) -> None:
    path = _script(np.random.default_rng(0), 600, share)[: 600 * 30]
    resting = np.mean([not drawn.right for drawn in path])
    smiling = np.mean([12 in drawn.right for drawn in path])
    assert resting == pytest.approx((1 - share) / 2, abs=0.12)
    assert smiling >= share - 0.1
    if share == 0:
        assert smiling < 0.35


def test_blinks_and_sway_are_as_long_as_the_session() -> None:
    rng = np.random.default_rng(0)
    assert len(_blinks(rng, 60)) >= 1800
    begun = np.diff(_blinks(rng, 60) > 0, prepend=False)
    assert 8 <= begun.sum() / 2 <= 40  # one in three seconds
    away = _sway(rng, 60)
    assert away.shape[0] > 1800
    assert np.abs(away).max() < 20


@needs_assets
def test_a_trait_changes_the_resting_face_and_no_label() -> None:
    head = load_head(assets_folder())
    for number, name in enumerate(TRAITS):
        plain = make_person(head, 2, number)
        marked, trait = with_trait(head, plain, number)
        assert trait == name
        shown = express(head, marked.neutral, marked.body, REST)
        assert max(shown.right.max(), shown.left.max()) < 0.3
        shapes = [i for shape, i in head.expression_index.items() if shape.split("_")[0] in TRAITS[name]]
        assert (marked.body.rest[shapes] > plain.body.rest[shapes]).all()
        again, _ = with_trait(head, plain, number)
        np.testing.assert_array_equal(again.body.rest, marked.body.rest)
