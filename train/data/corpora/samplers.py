"""Which frames make a batch. A plan turns a random generator into one epoch of batches; `batches` runs a plan for ever.

The whole state of a run's sampling is (seed, epoch, batch): it travels with every batch, so that a loader may read
ahead, and a run that was killed goes on with the very batch that it would have had.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Plan = Callable[[Generator], list[Rows]]  # the batches of an epoch, each (B,) rows of a corpus


class State(NamedTuple):
    """Where sampling stands; plain numbers, to be saved with a checkpoint."""

    seed: int
    epoch: int = 0
    batch: int = 0  # of the epoch, the next one to give


class Batch(NamedTuple):
    """One batch and how to go on after it."""

    rows: Rows  # (B,)
    epoch: int
    after: State


def batches(plan: Plan, state: State) -> Iterator[Batch]:
    """Endless batches of a plan, epoch after epoch, from `state` on."""
    seed, epoch, first = state
    while True:
        planned = plan(np.random.default_rng([seed, epoch]))
        for n in range(first, len(planned)):
            last = n + 1 == len(planned)
            yield Batch(planned[n], epoch, State(seed, epoch + 1) if last else State(seed, epoch, n + 1))
        epoch, first = epoch + 1, 0


def shuffle(rows: Rows, size: int) -> Plan:
    """All rows once an epoch in random order, as AUNCE does; the last batch may be smaller."""
    _check(rows, size)

    def plan(rng: Generator) -> list[Rows]:
        mixed = rng.permutation(rows)
        return [mixed[i : i + size] for i in range(0, len(mixed), size)]

    return plan


def label_aware(rows: Rows, size: int, occurrence: NDArray[np.int8], each: int = 2) -> Plan:
    """As `shuffle`, but every batch has at least `each` frames with and without each AU.

    `occurrence` (F, A) of the whole corpus in {1, 0, -1 unknown}. A batch that lacks a label gets frames of it, in
    random order so that all of them are seen; frames that had to give way come in the next batch. AUs of which the
    rows have one label only are left out. All batches have `size` frames. Raises ValueError when `size` is too small.
    """
    _check(rows, size)
    size, labels = min(size, len(rows)), occurrence[rows]
    both = [a for a in range(labels.shape[1]) if (labels[:, a] == 0).any() and (labels[:, a] == 1).any()]
    having = {(a, value): np.flatnonzero(labels[:, a] == value) for a in both for value in (0, 1)}
    wanted = sorted(having, key=lambda pair: len(having[pair]))  # rarest first
    au, value = (np.array([pair[i] for pair in wanted], dtype=np.int64) for i in (0, 1))
    least = np.array([min(each, len(having[pair])) for pair in wanted], dtype=np.int64)

    def plan(rng: Generator) -> list[Rows]:
        queues = {pair: _endless(places, rng) for pair, places in having.items()}
        stream, waiting = _endless(np.arange(len(rows)), rng), list[int]()
        planned = []
        for _ in range(-(-len(rows) // size)):
            while len(waiting) < size:
                waiting.append(_fresh(stream, waiting))
            given: list[int] = []
            while True:
                batch = given + waiting[: size - len(given)]
                lacking = np.flatnonzero((labels[batch][:, au] == value).sum(axis=0) < least)
                if not len(lacking):
                    break
                if len(given) == size:
                    raise ValueError(f"batches of {size} are too small for {each} frames with and without each AU")
                given.append(_fresh(queues[wanted[int(lacking[0])]], batch))
            waiting = [place for place in waiting[size - len(given) :] if place not in given]
            planned.append(rows[batch])
        return planned

    return plan


def subject_balanced(rows: Rows, size: int, subject: NDArray[np.str_]) -> Plan:
    """Every subject equally often; subjects inside a batch are distinct while there are at least `size` of them.

    `subject` (F,) of the whole corpus. An epoch has as many frames as there are rows, in whole batches.
    """
    _check(rows, size)
    people, who = np.unique(subject[rows], return_inverse=True)
    places = [np.flatnonzero(who == i) for i in range(len(people))]

    def plan(rng: Generator) -> list[Rows]:
        queues = [_endless(own, rng) for own in places]
        planned, left = [], list[int]()
        for _ in range(-(-len(rows) // size)):
            batch = list[int]()
            while len(batch) < size:
                if not left:  # a new round; who was just in this batch comes last
                    mixed = rng.permutation(len(people)).tolist()
                    left = [i for i in mixed if i not in batch] + [i for i in mixed if i in batch]
                batch.append(left.pop(0))
            planned.append(rows[[next(queues[i]) for i in batch]])
        return planned

    return plan


def activities(
    rows: Rows, activity: NDArray[np.str_], subject: NDArray[np.str_], *, kinds: int = 8, images: int = 16
) -> Plan:
    """CLEF stage 1: `kinds` activities times `images` frames of distinct subjects; grouped by activity.

    `activity` and `subject` (F,) of the whole corpus; frames without an activity ("") are left out. An epoch has about
    as many frames as there are rows. Raises ValueError when there are fewer activities, or subjects in one.
    """
    _check(rows, kinds * images)
    known = rows[activity[rows] != ""]
    names = np.unique(activity[known]).tolist()
    if len(names) < kinds:
        raise ValueError(f"{kinds} activities a batch, but there are {len(names)}: {', '.join(names)}")
    frames: list[list[Rows]] = []  # of each activity: of each subject
    for name in names:
        inside = known[activity[known] == name]
        own = [inside[subject[inside] == who] for who in np.unique(subject[inside])]
        if len(own) < images:
            raise ValueError(f"{images} subjects a batch in each activity, but {name!r} has {len(own)}")
        frames.append(own)

    def plan(rng: Generator) -> list[Rows]:
        planned = []
        for _ in range(-(-len(known) // (kinds * images))):
            batch = list[int]()
            for a in rng.choice(len(names), kinds, replace=False):
                for s in rng.choice(len(frames[a]), images, replace=False):
                    batch.append(int(rng.choice(frames[a][s])))
            planned.append(np.array(batch, dtype=np.int64))
        return planned

    return plan


def _check(rows: Rows, size: int) -> None:
    if len(rows) == 0 or size < 1:
        raise ValueError(f"a batch of {size} out of {len(rows)} frames cannot be made")


def _endless(values: Rows, rng: Generator) -> Iterator[int]:
    """The values in random order, again and again in another one."""
    while True:
        yield from rng.permutation(values).tolist()


def _fresh(queue: Iterator[int], taken: list[int]) -> int:
    """The next of a queue that is not taken; there must be one."""
    return next(value for value in queue if value not in taken)
