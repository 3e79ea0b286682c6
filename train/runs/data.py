"""From a run's config to its batches: which frames, which labels, how they come together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rtau.errors import ConfigError
from train.data.corpora.augment import Augmentation
from train.data.corpora.clips import clips_of_tracks, windows
from train.data.corpora.degrade import noisy, thinned
from train.data.corpora.index import Corpus, CorpusError, Fold, folds, read_header, read_index
from train.data.corpora.loading import Loaded, evaluation_batches, training_batches
from train.data.corpora.memory import shrunk
from train.data.corpora.samplers import Plan, State, activities, label_aware, shuffle, subject_balanced
from train.runs.config import DataConfig, RunConfig
from train.runs.method import Batch, Setting

Rows = NDArray[np.int64]
ALL = "all"  # protocol: train on every frame, test none (pre-training)


class Data(NamedTuple):
    """The frames of a run. Rows of folds are rows of `corpus`."""

    corpus: Corpus  # with the AUs of the run only
    folds: list[Fold]  # those that the run wants
    noisy: NDArray[np.int8]  # (F, N) the labels that training sees
    read: Callable[[int], NDArray[np.uint8]] | None  # pictures in memory
    sha256: str  # of the index


def load(config: RunConfig) -> Data:
    """Read and check everything but pictures. Raises CorpusError or ConfigError before anything is built."""
    wanted, folder = config.data, Path(config.data.index)
    key = read_header(folder).sha256
    corpus = read_index(folder)
    read = shrunk(corpus, folder, key, wanted.resolution, wanted.middle) if wanted.resolution else None
    if wanted.aus:
        strangers = [au for au in wanted.aus if au not in corpus.aus]
        if strangers:
            raise ConfigError(f"data.aus: {corpus.name} has {', '.join(corpus.aus)}, not {', '.join(strangers)}")
        columns = [corpus.aus.index(au) for au in wanted.aus]
        corpus = corpus._replace(
            aus=wanted.aus, occurrence=corpus.occurrence[:, columns], intensity=corpus.intensity[:, columns]
        )
    everything = np.arange(len(corpus.paths), dtype=np.int64)
    found = [Fold(ALL, everything, everything[:0])] if wanted.protocol == ALL else folds(corpus, wanted.protocol)
    if wanted.thin_to:
        kept = thinned(corpus, wanted.thin_to, config.seed)
        found = [Fold(f.name, np.intersect1d(f.train, kept), np.intersect1d(f.test, kept)) for f in found]
    if wanted.leave_out:
        stays = ~np.isin(corpus.text.get("expression", np.full(len(corpus.paths), "")), wanted.leave_out)
        found = [Fold(f.name, f.train[stays[f.train]], f.test[stays[f.test]]) for f in found]
    if wanted.people or wanted.labelled < 1:
        found = [Fold(f.name, fewer(corpus, f.train, wanted, config.seed), f.test) for f in found]
    if config.folds and max(config.folds) > len(found):
        raise ConfigError(f"folds: {wanted.protocol} has {len(found)}, there is no fold {max(config.folds)}")
    found = [found[k - 1] for k in config.folds] if config.folds else found
    for fold in found:
        if len(fold.train) < config.batch:
            raise CorpusError(f"{folder}: {fold.name} trains on {len(fold.train)} frames, batch is {config.batch}")
    labels = noisy(corpus.occurrence, wanted.noise, config.seed) if wanted.noise else corpus.occurrence
    return Data(corpus, found, labels, read, key)


def fewer(corpus: Corpus, rows: Rows, wanted: DataConfig, seed: int) -> Rows:
    """The rows of the first `people` subjects in an order that the seed draws, and of these a share of the frames."""
    rng = np.random.default_rng([seed, 7])
    who = rng.permutation(np.unique(corpus.subject[rows]))
    if wanted.people > len(who):
        raise ConfigError(f"data.people: {wanted.people} of the {len(who)} subjects that there are to train on")
    own = rows[np.isin(corpus.subject[rows], who[: wanted.people or None])]
    return np.sort(rng.permutation(own)[: max(round(wanted.labelled * len(own)), 1)])


def setting(config: RunConfig, data: Data, fold: Fold) -> Setting:
    """What a method is told of the fold. Rates are those of the labels that training sees."""
    labels = data.noisy[fold.train]
    known, present = (labels >= 0).sum(axis=0), (labels == 1).sum(axis=0)
    rates = np.maximum(present, 1) / np.maximum(known, 1)
    return Setting(
        config.encoder,
        data.corpus.aus,
        torch.tensor(rates, dtype=torch.float32),
        len(np.unique(data.corpus.subject[fold.train])),
        _named(data.corpus, fold, "activity")[0],
        _named(data.corpus, fold, "expression")[0],
        config.augmentation.size,
    )


def plan(config: RunConfig, data: Data, fold: Fold) -> Plan:
    """An epoch of batches, as `sampler` says. Raises ValueError, at once or in use, where frames do not suffice."""
    rows, corpus, how = fold.train, data.corpus, config.sampler
    if how.kind == "shuffle":
        return shuffle(rows, config.batch)
    if how.kind == "label_aware":
        return label_aware(rows, config.batch, data.noisy)
    if how.kind == "subject_balanced":
        return subject_balanced(rows, config.batch, corpus.subject)
    if how.kind == "activities":
        named = corpus.text.get("activity", np.full(len(corpus.paths), ""))
        return activities(rows, named, corpus.subject, kinds=how.activities, images=config.batch // how.activities)
    if how.kind == "expressions":  # each equally often
        return subject_balanced(rows, config.batch, corpus.text.get("expression", np.full(len(corpus.paths), "")))
    return clips_of_tracks(corpus, windows(corpus, rows, how.length, how.stride), config.batch)


def epoch_steps(config: RunConfig, data: Data, fold: Fold) -> int:
    """Batches an epoch. Raises ConfigError where the sampler cannot make them."""
    try:
        return len(plan(config, data, fold)(np.random.default_rng(0)))
    except ValueError as error:
        raise ConfigError(f"sampler: {error}") from error


class Given(NamedTuple):
    """A batch, and where sampling goes on after it."""

    batch: Batch
    after: State


def train_batches(
    config: RunConfig, data: Data, fold: Fold, state: State, rank: int = 0, world: int = 1
) -> Iterator[Given]:
    """Endless batches for one of `world` devices; together they have `config.batch` frames."""
    whole = plan(config, data, fold)

    def part(rng: np.random.Generator) -> list[Rows]:
        return [rows[rank::world] for rows in whole(rng)]

    make = _batches_of(data, fold)
    loaded = training_batches(
        data.corpus,
        part if world > 1 else whole,
        state,
        config.augmentation,
        count=config.method.views,
        workers=config.workers,
        read=data.read,
    )
    for each in loaded:
        yield Given(make(each), each.after)


def test_batches(config: RunConfig, data: Data, rows: Rows, size: int) -> Iterator[Loaded]:
    """Centre views of some rows in order."""
    return evaluation_batches(data.corpus, rows, size, config.augmentation, config.workers, data.read)


def probe_batches(
    config: RunConfig, data: Data, fold: Fold, rows: Rows, how: Augmentation, size: int
) -> Iterator[Batch]:
    """Endless batches of one random view, for the official probe; the last batch of an epoch may be smaller."""
    make = _batches_of(data, fold)
    state = State(config.seed + 1)  # not the views that the encoder saw
    for each in training_batches(
        data.corpus, shuffle(rows, size), state, how, count=1, workers=config.workers, read=data.read
    ):
        yield make(each)


def _batches_of(data: Data, fold: Fold) -> Callable[[Loaded], Batch]:
    corpus = data.corpus
    people = np.unique(corpus.subject[fold.train])
    place = np.searchsorted(people, corpus.subject)
    subject = np.where(np.take(people, place, mode="clip") == corpus.subject, place, -1)
    activity, expression = (_named(corpus, fold, column)[1] for column in ("activity", "expression"))
    session = corpus.sequence()
    labels = torch.from_numpy(data.noisy)

    def make(loaded: Loaded) -> Batch:
        rows = loaded.rows
        own = labels[torch.from_numpy(rows)]
        return Batch(
            loaded.images,
            (own == 1).float(),
            own >= 0,
            torch.from_numpy(subject[rows]),
            torch.from_numpy(activity[rows]),
            torch.from_numpy(expression[rows]),
            torch.from_numpy(session[rows]),
            torch.from_numpy(corpus.frame[rows]),
        )

    return make


def expressions(data: Data, fold: Fold) -> NDArray[np.int64]:
    """(F,) place of every frame's expression in Setting.expressions, -1 unknown."""
    return _named(data.corpus, fold, "expression")[1]


def _named(corpus: Corpus, fold: Fold, column: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names in a text column of the training frames, and each frame's place among them, -1 unknown."""
    named = corpus.text.get(column)
    if named is None:
        return (), np.full(len(corpus.paths), -1, np.int64)
    names = [name for name in np.unique(named[fold.train]).tolist() if name]
    place = {name: i for i, name in enumerate(names)}
    return tuple(names), np.array([place.get(name, -1) for name in named.tolist()], dtype=np.int64)
