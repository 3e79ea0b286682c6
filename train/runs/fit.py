"""The training loop of one fold.

Everything random is a function of (seed, step): torch's generator is seeded anew every step, views by (seed, epoch,
frame), batches by (seed, epoch). So a run that is killed at any moment ends with the very same network.
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from rtau.errors import Interrupted, RtauError
from train.data.corpora.index import Fold
from train.data.corpora.samplers import State
from train.runs import checkpoint
from train.runs.config import RunConfig
from train.runs.data import Data, epoch_steps, train_batches
from train.runs.log import Log
from train.runs.method import Method

CHECKPOINT, NETWORK = "checkpoint.safetensors", "network.safetensors"


class TrainingError(RtauError):
    """Training cannot go on."""


def fit(config: RunConfig, data: Data, fold: Fold, method: Method, fabric: Fabric, folder: Path, run: str) -> float:
    """Train `method` on a fold, from the last checkpoint in `folder` on; `run` is the run's hash. Returns minutes.

    Leaves `network.safetensors`, `epoch_NNN.safetensors` as `keep_every` says, `log.csv`, `curves.png`, TensorBoard
    files. Raises Interrupted after a signal, TrainingError when the loss is no number any more.
    """
    an_epoch = epoch_steps(config, data, fold)
    steps = config.steps or config.epochs * an_epoch
    trained = [p for p in method.net.parameters() if p.requires_grad]
    if config.optimiser == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            trained, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
        )
    else:
        optimiser = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
    wrapped, optimiser = fabric.setup(method, optimiser)
    path = folder / CHECKPOINT
    at = checkpoint.Progress(run, 0, State(config.seed), 0.0)
    if path.exists():
        at = checkpoint.restore(path, method.net, optimiser)
        if at.hash != run:
            raise TrainingError(f"{path}: is of run {at.hash}, this is {run}; remove it or choose another `out`")
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
    begun, first = time.monotonic() - at.seconds, at.step
    batches = train_batches(config, data, fold, at.sampling, fabric.global_rank, fabric.world_size)
    log = Log(folder, first) if fabric.is_global_zero else None
    sums, since, logged = dict[str, Tensor](), time.monotonic(), first
    wrapped.train()
    with _stopped() as stop, _bar(fabric, f"{config.out} {fold.name}", first, steps) as bar:
        for step, given in zip(range(first, steps), batches, strict=False):
            torch.manual_seed(_seed(config.seed, step, fabric.global_rank))
            rate = config.learning_rate * factor(config, step, steps, an_epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            losses = wrapped(fabric.to_device(given.batch))
            optimiser.zero_grad()
            fabric.backward(torch.stack([*losses.values()]).sum())
            optimiser.step()
            method.after_step(step, steps)
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
            done, epoch_ends, stopping = step + 1, given.after.batch == 0, bool(stop)
            if done % config.log_every == 0 or done == steps:
                means = {name: total.item() / (done - logged) for name, total in sums.items()}
                if not all(map(math.isfinite, means.values())):
                    raise TrainingError(f"{folder}: the loss at step {done} is no number: {means}; lower learning_rate")
                speed = (done - logged) * config.batch / (time.monotonic() - since)
                if log is not None:
                    log.write({"step": done, "epoch": done / an_epoch, **means, "rate": rate, "images_s": speed})
                sums, since, logged = {}, time.monotonic(), done
            if fabric.is_global_zero and (done % config.save_every == 0 or epoch_ends or done == steps or stopping):
                at = checkpoint.Progress(run, done, given.after, time.monotonic() - begun)
                checkpoint.save(path, method.net, optimiser, at)
                if epoch_ends and config.keep_every and given.after.epoch % config.keep_every == 0:
                    checkpoint.save_net(folder / f"epoch_{given.after.epoch:03d}.safetensors", method.net)
            bar.update(completed=done)
            if stopping:
                raise Interrupted(f"{folder}: stopped at step {done} of {steps}; the same command goes on from there")
    if fabric.is_global_zero:
        checkpoint.save_net(folder / NETWORK, method.net)
        path.unlink(missing_ok=True)
    if log is not None:
        log.draw()
        log.close()
    return (time.monotonic() - begun) / 60


def factor(config: RunConfig, step: int, steps: int, an_epoch: int) -> float:
    """What the learning rate is multiplied by."""
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    return 0.1 if config.schedule == "step" and step >= steps - an_epoch else 1.0


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class _Bar:
    def __init__(self, progress: Progress, name: str, done: int, steps: int) -> None:
        self._progress, self._task = progress, progress.add_task(name, total=steps, completed=done)

    def update(self, completed: int) -> None:
        self._progress.update(self._task, completed=completed)


@contextlib.contextmanager
def _bar(fabric: Fabric, name: str, done: int, steps: int) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not fabric.is_global_zero) as progress:
        yield _Bar(progress, name, done, steps)


class _Stop:
    """Becomes true when somebody asks the process to end."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@contextlib.contextmanager
def _stopped() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
