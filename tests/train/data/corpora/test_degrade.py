import numpy as np
import pytest

from tests.train.data.corpora.trees import made_up
from train.data.corpora.degrade import noisy, thinned
from train.data.corpora.index import CorpusError


def test_thinning_reaches_the_rates_and_keeps_what_it_can() -> None:
    corpus = made_up(50, 200)  # three AUs present in 5, 27.5 and 50 % of frames
    corpus.occurrence[0] = -1
    rows = thinned(corpus, {"AU02": 0.1, "AU03": 0.3}, seed=0)
    assert 0 not in rows
    assert corpus.occurrence[rows].mean(axis=0)[1:].tolist() == pytest.approx([0.1, 0.3], abs=0.02)
    assert len(rows) > 4000
    np.testing.assert_array_equal(rows, thinned(corpus, {"AU02": 0.1, "AU03": 0.3}, seed=0))


def test_thinning_says_what_cannot_be_reached() -> None:
    corpus = made_up(5, 40)
    corpus.occurrence[:, 0] = 0
    with pytest.raises(CorpusError, match=r"no choice of frames shows AU01 in 5\.0%"):
        thinned(corpus, {"AU01": 0.05}, seed=0)
    with pytest.raises(CorpusError, match="no labels of AU99"):
        thinned(corpus, {"AU99": 0.05}, seed=0)


def test_noise_flips_its_share_of_known_labels() -> None:
    occurrence = made_up(50, 200).occurrence
    occurrence[::7] = -1
    found = noisy(occurrence, 0.1, seed=0)
    assert (found[::7] == -1).all()
    known = occurrence >= 0
    assert (found != occurrence)[known].mean() == pytest.approx(0.1, abs=0.01)
