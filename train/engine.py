"""What every training run shares: schedule, averaged weights, checkpoints, a log line now and then."""

import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rtau.errors import ConfigError

Learnt = tuple[int, dict[str, Tensor]]  # step, losses


def cosine(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up, then cosine to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def fit(
    model: nn.Module,
    batches: Iterable[object],
    loss_of: Callable[[nn.Module, object], dict[str, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    folder: Path,
    every: int,
    report: Callable[[nn.Module, int], str],
    ema_decay: float = 0.998,
    processes: int = 1,
) -> tuple[nn.Module, float]:
    """Train with AdamW for `steps`; returns the exponentially averaged model and the minutes that it took.

    `loss_of` gives named scalars whose sum is minimised. Every `every` steps a checkpoint is written to `folder` and
    `report` is called with the averaged model. A run that was cut off goes on from its checkpoint. Several `processes`
    iterate over `batches` each for itself and average their gradients: one process a core is faster than two threads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=learning_rate
    )
    first, earlier_s = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first, earlier_s = state["step"], state["seconds"]
    warmup, started, sums = max(steps // 50, 1), time.monotonic(), dict[str, float]()
    model.train()

    def learn() -> Iterator[Learnt]:
        for step, batch in zip(range(first, steps), batches, strict=False):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * cosine(step, steps, warmup)
            losses = loss_of(model, batch)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            if processes > 1:
                _average_gradients(model, processes)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            yield step, losses

    with _together(processes, learn) as learning:
        for step, losses in learning:
            averaged.update_parameters(model)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            if (step + 1) % every == 0 or step + 1 == steps:
                count = (step % every) + 1
                line = " ".join(f"{name} {total / count:.4f}" for name, total in sums.items())
                averaged.eval()
                with torch.no_grad():
                    found = report(averaged.module, step + 1)
                minutes = (earlier_s + time.monotonic() - started) / 60
                print(f"step {step + 1}/{steps} {minutes:.1f} min  {line}  {found}", flush=True)
                sums.clear()
                state = {
                    "model": model.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "seconds": earlier_s + time.monotonic() - started,
                }
                torch.save(state, checkpoint.with_suffix(".tmp"))
                checkpoint.with_suffix(".tmp").replace(checkpoint)
    averaged.eval()
    module: nn.Module = averaged.module.requires_grad_(False)
    return module, (earlier_s + time.monotonic() - started) / 60


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged model's state in a run's checkpoint. Raises ConfigError without one."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        raise ConfigError(f"{file} is missing: run the recipe that writes it first")
    state = torch.load(file, weights_only=True)["averaged"]
    return {name.removeprefix("module."): value for name, value in state.items() if name.startswith("module.")}


@contextmanager
def _together(processes: int, learn: Callable[[], Iterator[Learnt]]) -> Iterator[Iterator[Learnt]]:
    """Run `learn` here and in forked processes beside, which share all that is loaded and end with this one."""
    if processes == 1:
        yield learn()
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"

        def beside(rank: int) -> None:
            dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
            for _ in learn():
                pass

        fork = multiprocessing.get_context("fork")
        others = [fork.Process(target=beside, args=(rank,)) for rank in range(1, processes)]
        for other in others:
            other.start()
        try:
            dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=processes)
            yield learn()
            for other in others:
                other.join()
        finally:
            for other in others:
                other.terminate()
            dist.destroy_process_group()


def _average_gradients(model: nn.Module, processes: int) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients]) / processes
    dist.all_reduce(together)
    for gradient, part in zip(gradients, torch.split(together, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
