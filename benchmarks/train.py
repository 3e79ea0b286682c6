"""Training: the whole step against the bare backbone, and AUNCE's loss against a plain einsum of its equations.

`python -m benchmarks.train --write docs/benchmarks_train_speed.md`. One batch is alternately taken by the loop as it is
(loading, augmentation, encoder, loss, optimiser) and by the bare backbone, forward and backward, on ready images.
"""

import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.data.corpora.augment import Augmentation
from train.data.corpora.index import Corpus, write_index
from train.data.corpora.samplers import State
from train.evaluation.document import replace_figures
from train.losses.aunce import AUNCELoss
from train.methods.aunce import AUNCEConfig
from train.models.backbones import build_backbone
from train.models.encoder import EncoderConfig
from train.runs.config import DataConfig, RunConfig
from train.runs.data import load, setting, train_batches

AUS, CHANNELS = 12, 64
_FRAMES = 256
_TARGET = 1.1  # of the bare backbone's time


def loss_alone(size: int, device: torch.device) -> tuple[float, float, float]:
    """B = size: seconds of ours, of the plain form, and bytes that ours keeps for the backward pass."""
    generator = torch.Generator().manual_seed(0)
    views = torch.rand(2, size, AUS, CHANNELS, generator=generator).to(device).requires_grad_(True)
    label = (torch.rand(size, AUS, generator=generator) < 0.3).long().to(device)
    known = torch.ones_like(label)
    loss = AUNCELoss.official().to(device)
    kinds = torch.tensor([0, 1, 2, 2] * (AUS // 4))

    def ours() -> Tensor:
        value: Tensor = loss(views[0], views[1], label, known, kinds)
        return value

    def theirs() -> Tensor:
        return plain(views[0], views[1], label, kinds)

    a, b = ours().item(), theirs().item()
    if abs(a - b) > 1e-3 * abs(b):
        raise RuntimeError(f"the two forms of the loss differ: {a} and {b}")
    own, other = in_turn(ours, theirs, views)
    return own, other, kept_bytes(ours)


def plain(first: Tensor, second: Tensor, label: Tensor, kinds: Tensor) -> Tensor:
    """AUNCE in its official form, as the equations read: exponentials of one einsum, masks, no logarithms."""
    f = normalize(torch.cat([first, second]), dim=-1)
    y = label.repeat(2, 1)
    s = (torch.einsum("anc,bnc->abn", f, f) / 0.5).exp()
    same = (y[:, None] == y[None]).to(s.dtype)
    beta = torch.where(y == 1, 1.2, 0.4)
    negative = ((1 - same) * s ** beta[:, None]).sum(1)
    size = len(first)
    view = torch.einsum("anc,anc->an", f, f.roll(size, 0)) / 0.5
    forms = torch.stack([(same * s).amax(1), view.exp(), (same * s).mean(1)])
    positive = forms.gather(0, kinds.to(f.device)[None, None].expand(1, 2 * size, -1))[0]
    return -(positive / (positive + negative)).log().mean()


def in_turn(one: Callable[[], Tensor], other: Callable[[], Tensor], leaf: Tensor, rounds: int = 5) -> tuple[float, ...]:
    """Median seconds of forward and backward of both, taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, taken in zip((one, other), times, strict=True):
            leaf.grad = None
            _wait(leaf.device)
            begun = time.perf_counter()
            torch.autograd.backward(run())
            _wait(leaf.device)
            taken.append(time.perf_counter() - begun)
    return tuple(statistics.median(taken[1:]) for taken in times)


def kept_bytes(run: Callable[[], Tensor]) -> float:
    """Bytes of the tensors that autograd keeps."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return float(sum(kept.values()))


def steps(backbone: str, size: int, workers: int, device: torch.device, rounds: int) -> tuple[float, float]:
    """Seconds of a whole AUNCE step and of the bare backbone, forward and backward, on as many views."""
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            data=DataConfig(index=_pictures(Path(folder)), protocol="all"),
            encoder=EncoderConfig(backbone=backbone),
            method=AUNCEConfig(preset="official"),
            augmentation=Augmentation(),
            batch=size,
            epochs=1,
            learning_rate=1e-5,
            workers=workers,
            out=folder,
        )
        data = load(config)
        method = config.method.build(setting(config, data, data.folds[0])).to(device).train()
        bare = build_backbone(backbone).to(device).train()
        optimiser = torch.optim.AdamW(method.net.parameters(), 1e-5)
        batches = train_batches(config, data, data.folds[0], State(0))
        ready = torch.randn(2, size, 3, config.augmentation.size, config.augmentation.size, device=device)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds + 1):
            _wait(device)
            begun = time.perf_counter()
            given = next(batches).batch
            batch = type(given)(*(tensor.to(device) for tensor in given))
            optimiser.zero_grad()
            torch.autograd.backward(torch.stack([*method(batch).values()]).sum())
            optimiser.step()
            _wait(device)
            times[0].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            bare.zero_grad()
            torch.autograd.backward(torch.stack([bare(view).sum() for view in ready]).sum())
            _wait(device)
            times[1].append(time.perf_counter() - begun)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def report(backbone: str, size: int, workers: int, device: torch.device, rounds: int) -> str:
    """Both measurements as Markdown."""
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores, {platform.machine()}"
    whole, bare = steps(backbone, size, workers, device, rounds)
    reached = "reached" if whole <= _TARGET * bare else "**not reached**"
    lines = [
        f"Measured {datetime.date.today().isoformat()} by `python -m benchmarks.train` on {where}, "
        f"{torch.get_num_threads()} threads, {workers} loading processes. Medians of {rounds} rounds in turn.",
        "",
        "| | images/s |",
        "|---|---|",
        f"| whole step, AUNCE on {backbone}, batch {size}, two views | {size / whole:.1f} |",
        f"| bare backbone, forward and backward | {size / bare:.1f} |",
        "",
        f"The step takes {whole / bare:.2f} times as long; target {_TARGET}: {reached}. "
        "(It also holds AFG, FGG and the optimiser.)",
        "",
        f"AUNCE's loss alone, N = {AUS}, C = {CHANNELS}, forward and backward:",
        "",
        "| B | ours, ms | plain einsum, ms | ratio | kept for backward, bytes / (N (2B)²) |",
        "|---|---|---|---|---|",
    ]
    for b in (32, 64, 128, 256, 512, 1024):
        own, other, kept = loss_alone(b, device)
        pairs = AUS * (2 * b) ** 2
        lines.append(f"| {b} | {1e3 * own:.1f} | {1e3 * other:.1f} | {own / other:.2f} | {kept / pairs:.1f} |")
    return "\n".join(lines)


def _pictures(folder: Path) -> str:
    """An index of made-up pictures."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    paths = [f"{i:03d}.jpg" for i in range(_FRAMES)]
    for path in paths:
        noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "pictures" / path), cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC))
    corpus = Corpus(
        name="made-up",
        aus=tuple(f"AU{a + 1:02d}" for a in range(AUS)),
        paths=paths,
        root=folder / "pictures",
        subject=np.array([f"made-up:{i % 8}" for i in range(_FRAMES)]),
        session=np.full(_FRAMES, "s"),
        frame=np.arange(_FRAMES, dtype=np.int64),
        occurrence=(rng.random((_FRAMES, AUS)) < 0.3).astype(np.int8),
        intensity=np.full((_FRAMES, AUS), np.nan, np.float32),
        text={},
    )
    write_index(corpus, folder)
    return str(folder)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@click.command()
@click.option("--backbone", default="resnet18", show_default=True)
@click.option("--batch", "size", type=click.IntRange(2), default=32, show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Loading processes.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def main(backbone: str, size: int, workers: int, rounds: int, device: str, write: Path | None) -> None:
    """Speed of training and of the loss."""
    text = report(backbone, size, workers, torch.device(device), rounds)
    click.echo(text)
    if write is not None:
        replace_figures(write, text)


if __name__ == "__main__":
    main()
