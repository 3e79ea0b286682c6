import itertools
from collections import Counter

import numpy as np
import pytest

from tests.train.data.corpora.trees import made_up
from train.data.corpora.clips import clips_of_tracks, windows
from train.data.corpora.samplers import Plan, State, activities, batches, label_aware, shuffle, subject_balanced

CORPUS = made_up(20, 40)
ROWS = np.arange(0, 800, 2)
PLANS: dict[str, Plan] = {
    "shuffle": shuffle(ROWS, 64),
    "label_aware": label_aware(ROWS, 64, CORPUS.occurrence),
    "subject_balanced": subject_balanced(ROWS, 16, CORPUS.subject),
    "activities": activities(np.arange(800), CORPUS.text["activity"], CORPUS.subject, kinds=2, images=8),
}


def _epoch(plan: Plan, seed: int = 1) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return plan(np.random.default_rng(seed))


@pytest.mark.parametrize("name", PLANS)
def test_a_run_that_was_killed_goes_on_with_the_batch_it_would_have_had(name: str) -> None:
    whole = list(itertools.islice(batches(PLANS[name], State(3)), 150))
    assert {batch.epoch for batch in whole} > {0, 1}
    for cut in (0, 1, 37, 149):
        seed, epoch, batch = whole[cut - 1].after if cut else State(3)  # plain numbers, as a checkpoint keeps them
        rest = list(itertools.islice(batches(PLANS[name], State(seed, epoch, batch)), 150 - cut))
        for a, b in zip(whole[cut:], rest, strict=True):
            np.testing.assert_array_equal(a.rows, b.rows)
            assert (a.epoch, a.after) == (b.epoch, b.after)


@pytest.mark.parametrize("name", PLANS)
def test_epochs_and_seeds_differ(name: str) -> None:
    first, other = (next(batches(PLANS[name], State(seed))).rows for seed in (1, 2))
    later = next(batches(PLANS[name], State(1, epoch=1))).rows
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, later)


def test_shuffle_gives_every_row_once_and_keeps_the_last_batch() -> None:
    planned = _epoch(PLANS["shuffle"])
    assert [len(batch) for batch in planned] == [64] * 6 + [16]
    assert sorted(np.concatenate(planned).tolist()) == ROWS.tolist()


def test_label_aware_has_two_frames_of_each_label_of_rare_aus() -> None:
    rng = np.random.default_rng(0)
    occurrence = (rng.random((2000, 3)) < [0.02, 0.5, 0.97]).astype(np.int8)
    occurrence[::7, 0] = -1
    rows = np.arange(1000, 2000)
    planned = _epoch(label_aware(rows, 32, occurrence))
    for batch in planned:
        assert len(set(batch.tolist())) == 32
        for a, value in itertools.product(range(3), (0, 1)):
            assert (occurrence[batch, a] == value).sum() >= 2
    given = Counter(np.concatenate(planned).tolist())
    assert set(given) <= set(rows.tolist())
    assert set(rows[occurrence[rows, 0] == 1].tolist()) <= set(given)  # no rare frame is forgotten
    assert len(given) > 900
    lucky = sum((occurrence[batch, 0] == 1).sum() < 2 for batch in _epoch(shuffle(rows, 32)))
    assert lucky > 10  # plain shuffling would not do


def test_label_aware_says_when_a_batch_is_too_small() -> None:
    with pytest.raises(ValueError, match="batches of 3 are too small"):
        _epoch(label_aware(ROWS, 3, CORPUS.occurrence))


def test_subjects_are_balanced_and_distinct_inside_a_batch() -> None:
    people = np.array([f"p{i}" for i in [0] * 500 + [1] * 20 + [2] * 20 + [3] * 20 + [4] * 20])
    planned = _epoch(subject_balanced(np.arange(580), 4, people))
    for batch in planned:
        assert len(set(people[batch])) == 4
    counts = Counter(people[np.concatenate(planned)].tolist())
    assert max(counts.values()) - min(counts.values()) <= 1


def test_activities_have_distinct_subjects_inside_an_activity() -> None:
    activity, subject = CORPUS.text["activity"], CORPUS.subject
    for batch in _epoch(PLANS["activities"]):
        assert len(batch) == 16
        for part in (batch[:8], batch[8:]):
            assert len(set(activity[part])) == 1
            assert len(set(subject[part])) == 8
        assert len(set(activity[batch])) == 2


def test_activities_say_what_is_too_few() -> None:
    activity, subject = CORPUS.text["activity"], CORPUS.subject
    with pytest.raises(ValueError, match="8 activities a batch, but there are 1: talk"):
        activities(ROWS, activity, subject, images=2)
    with pytest.raises(ValueError, match="21 subjects a batch in each activity, but 'sing' has 20"):
        activities(np.arange(800), activity, subject, kinds=2, images=21)


def test_clips_are_consecutive_frames_of_one_session() -> None:
    corpus = made_up(2, 10)
    keep = np.array([i for i in range(20) if i != 5])  # the first subject's frame 5 is missing
    found = windows(corpus, keep, length=3, stride=2)
    assert {tuple(clip) for clip in found.tolist()} == {
        (0, 2, 4), (2, 4, 6), (4, 6, 8), *((10 + i, 12 + i, 14 + i) for i in range(6))
    }  # fmt: skip
    plan = clips_of_tracks(corpus, found, 2)
    seen = set[int]()
    for seed in range(30):
        (batch,) = plan(np.random.default_rng(seed))  # an epoch: one clip of each of two tracks
        assert batch.shape == (2, 3)
        assert corpus.subject[batch[0, 0]] != corpus.subject[batch[1, 0]]
        seen |= set(batch[:, 0].tolist())
    assert seen == set(found[:, 0].tolist())  # each clip has its turn
    assert [len(batch) for batch in clips_of_tracks(corpus, found, 5)(np.random.default_rng(0))] == [5, 5]
    with pytest.raises(ValueError, match="no track is long enough"):
        clips_of_tracks(corpus, found[:0], 2)
