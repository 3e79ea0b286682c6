"""Linear evaluation: what a linear classifier per AU reads out of a frozen encoder.

`honest`: the encoder is in evaluation mode and sees centre crops; the epoch is chosen by training subjects that the
classifier does not learn from. `official`, as AUNCE's script does it: the encoder stays in training mode (batch
statistics, dropped paths) while the classifier learns from random views, and the best test epoch of all kept networks
is reported. Both also report the last epoch.
"""

import copy
import hashlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from train.data.corpora.index import Fold
from train.losses.wce import WeightedBCE, class_weights
from train.metrics import confusion, f1
from train.runs.config import ProbeConfig, RunConfig
from train.runs.data import Data, Rows, probe_batches, setting, test_batches
from train.runs.method import Method

Float = NDArray[np.float32]
_FLOOR = 1e-3  # least probability in the loss, as in AUNCE's code
_EVALUATED = 256  # frames at once
_EPS = 1e-12  # units may vary by little
_IN_MEMORY = 2**32  # bytes of features; more go to a file, which the system keeps in memory as far as there is room


class Looked(NamedTuple):
    """What a network says of some rows."""

    features: Tensor  # (F, N, C) or (F, D) float32: of features that hardly differ, rounding is what a probe would read
    own: Float | None  # (F, N) probabilities of the method's own head


class LinearProbe(nn.Module):
    """Per AU one linear layer to two numbers and softmax, the first of which is presence: -> (B, N)."""

    def __init__(self, shape: torch.Size, aus: int, batch_norm: bool) -> None:
        super().__init__()
        width = shape[-1]
        units = width * (aus if len(shape) == 3 else 1)
        self.norm = nn.BatchNorm1d(units, eps=_EPS) if batch_norm else nn.Identity()
        self.weight = nn.Parameter(torch.empty(aus, width, 2).uniform_(-1, 1) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(aus, 2))

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features.flatten(1))
        x = x.view_as(features) if features.ndim == 3 else x[:, None].expand(-1, len(self.weight), -1)
        return (torch.einsum("bnc,nco->bno", x, self.weight) + self.bias).softmax(dim=-1)[..., 0]


def look(config: RunConfig, data: Data, rows: Rows, method: Method, fabric: Fabric) -> Looked:
    """Features of centre crops, and the own head's probabilities where there is one, in evaluation mode."""
    method.eval()
    features, own, done = torch.empty(0), list[Tensor](), 0
    with torch.no_grad():
        for batch in test_batches(config, data, rows, _EVALUATED):
            images = fabric.to_device(batch.images[0])
            found = method.features(images).float().cpu()
            if not done:
                features = _room((len(rows), *found.shape[1:]), Path(config.out))
            features[done : done + len(found)] = found
            done += len(found)
            said = method.predict(images)
            if said is not None:
                own.append(said.float().cpu())
    return Looked(features, torch.cat(own).numpy() if own else None)


def collapse(features: Tensor) -> tuple[float, float]:
    """Features (F, N, C) or (F, D) -> mean cosine of two frames' features of one AU, and share of vectors of zeros.

    A contrastive loss may end with a cosine of 1: every frame has one and the same feature.
    """
    by_au = features if features.ndim == 3 else features[:, None]
    length = by_au.norm(dim=-1)
    unit = by_au / length.clamp(min=1e-12)[..., None]
    shown = (length > 0).sum(dim=0)  # (N,)
    pairs = (unit.sum(dim=0).square().sum(dim=-1) - shown) / (shown * (shown - 1)).clamp(min=1)
    return float(pairs.mean()), float((length == 0).float().mean())


def _room(shape: tuple[int, ...], folder: Path) -> Tensor:
    """Float32 zeros of `shape`."""
    size = math.prod(shape)
    if 4 * size <= _IN_MEMORY:
        return torch.zeros(shape)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".features-") as file:  # goes with the tensor
        return torch.from_file(file.name, shared=True, size=size).view(shape)


def honest(
    config: RunConfig, data: Data, fold: Fold, method: Method, fabric: Fabric, tested: Looked
) -> tuple[dict[str, Float], LinearProbe]:
    """Probabilities (F, N) of the test frames by epoch: `last`, `selected`, and `best_test` for comparison.

    Also the selected classifier; the last one where nobody is held out.
    """
    rows = fold.train
    chooses = _held_out(data.corpus.subject[rows], config.probe.held_out)
    seen = look(config, data, rows, method, fabric).features
    labels = data.noisy[rows]

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        mixed = rng.permutation(np.flatnonzero(~chooses))
        for i in range(0, len(mixed), config.probe.batch):
            part = torch.from_numpy(mixed[i : i + config.probe.batch])
            yield seen[part], torch.from_numpy(labels[part.numpy()])

    probe, optimiser, loss = _prepared(config.probe, seen.shape, setting(config, data, fold).rates, fabric)
    apart = torch.from_numpy(np.flatnonzero(chooses))
    outcome, chosen = _Outcome(data.corpus.occurrence[fold.test], labels[chooses]), probe
    for epoch in range(config.probe.epochs):
        probe.train()
        for features, own in batches(np.random.default_rng([config.seed, epoch])):
            if len(features) > 1 or not config.probe.batch_norm:
                _step(probe, optimiser, loss, fabric.to_device(features), fabric.to_device(own))
        choosing = _said(probe, seen, fabric, apart) if len(apart) else None
        if outcome.take(_said(probe, tested.features, fabric), choosing):
            chosen = copy.deepcopy(probe)
    return outcome.named(), chosen.eval()


def official(config: RunConfig, data: Data, fold: Fold, method: Method, fabric: Fabric) -> dict[str, Float]:
    """Probabilities (F, N) of the test frames: `last` and `best_test` epoch, in the training mode of the script."""
    how = config.probe.augmentation or config.augmentation
    shape = look(config, data, fold.train[:1], method, fabric).features.shape
    probe, optimiser, loss = _prepared(config.probe, shape, setting(config, data, fold).rates, fabric)
    outcome = _Outcome(data.corpus.occurrence[fold.test], None)
    batches = probe_batches(config, data, fold, fold.train, how, config.probe.batch)
    for _ in range(config.probe.epochs):
        probe.train()
        for _ in range(-(-len(fold.train) // config.probe.batch)):
            batch = fabric.to_device(next(batches))
            method.train()
            with torch.no_grad(), fabric.autocast():
                features = method.features(batch.images[0]).float()
            labels = torch.where(batch.known, batch.occurrence, -1)
            _step(probe, optimiser, loss, features, labels)
        tested = look(config, data, fold.test, method, fabric)
        outcome.take(_said(probe, tested.features, fabric), None)
    return outcome.named()


def kept_networks(folder: Path) -> list[Path]:
    """`epoch_NNN.safetensors` of a fold, in order."""
    return sorted(folder.glob("epoch_*.safetensors"))


class _Outcome:
    """Remembers what a probe said of the test frames after the epochs that matter."""

    def __init__(self, occurrence: NDArray[np.int8], choosing: NDArray[np.int8] | None) -> None:
        self._occurrence, self._choosing = occurrence, choosing
        self._best = {"selected": -1.0, "best_test": -1.0}
        self._said: dict[str, Float] = {}

    def take(self, tested: Float, choosing: Float | None) -> bool:
        """Whether this epoch is the best so far for those who choose."""
        self._said["last"] = tested
        reached = {"best_test": _mean_f1(tested, self._occurrence)}
        if choosing is not None and self._choosing is not None:
            reached["selected"] = _mean_f1(choosing, self._choosing)
        for name, value in reached.items():
            if value > self._best[name]:
                self._best[name], self._said[name] = value, tested
        return "selected" in reached and self._said["selected"] is tested

    def named(self) -> dict[str, Float]:
        return self._said


def _mean_f1(probability: Float, occurrence: NDArray[np.int8]) -> float:
    return float(f1(confusion(probability, occurrence).sum(axis=0)).mean())


def _prepared(
    how: ProbeConfig, shape: torch.Size, rates: Tensor, fabric: Fabric
) -> tuple[LinearProbe, torch.optim.Adam, WeightedBCE]:
    torch.manual_seed(0)
    probe = LinearProbe(shape, len(rates), how.batch_norm).to(fabric.device)
    loss = WeightedBCE(class_weights(rates)).to(fabric.device)
    return probe, torch.optim.Adam(probe.parameters(), how.learning_rate, weight_decay=how.weight_decay), loss


def _step(probe: LinearProbe, optimiser: torch.optim.Adam, loss: WeightedBCE, features: Tensor, labels: Tensor) -> None:
    """Labels (B, N) in {1, 0, -1 unknown}."""
    logits = torch.logit(probe(features), eps=_FLOOR)
    optimiser.zero_grad()
    loss(logits, labels == 1, labels >= 0).backward()
    optimiser.step()


def _said(probe: LinearProbe, features: Tensor, fabric: Fabric, rows: Tensor | None = None) -> Float:
    """Of all features, or of some rows of them."""
    probe.eval()
    wanted = torch.arange(len(features)) if rows is None else rows
    with torch.no_grad():
        parts = [probe(fabric.to_device(features[part])).cpu() for part in torch.split(wanted, 8192)]
    return torch.cat(parts).numpy()


def _held_out(subject: NDArray[np.str_], share: float) -> NDArray[np.bool_]:
    """Which frames are of the subjects set apart: the same on every machine, at least one subject unless share is 0."""
    people = np.unique(subject).tolist()
    mixed = sorted(people, key=lambda who: hashlib.sha256(f"held out {who}".encode()).digest())
    count = min(max(round(share * len(people)), 1), len(people) - 1) if share else 0
    return np.isin(subject, mixed[:count])
