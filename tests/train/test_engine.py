"""What every training run shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from rtau.errors import ConfigError
from train.engine import averaged_weights, fit

STEPS = 4


class ByRank:
    """Each process sees another number; a lone process sees both."""

    def __iter__(self) -> Iterator[Tensor]:
        numbers = [float(dist.get_rank())] if dist.is_initialized() else [0.0, 1.0]
        while True:
            yield torch.tensor(numbers)[:, None]


def trained(batches: ByRank, folder: Path, processes: int) -> Tensor:
    torch.manual_seed(0)

    def loss_of(model: nn.Module, batch: object) -> dict[str, Tensor]:
        assert isinstance(batch, Tensor)
        return {"square": (model(batch) - 3).square().mean()}

    averaged, _ = fit(
        nn.Linear(1, 1),
        batches,
        loss_of,
        steps=STEPS,
        learning_rate=0.1,
        weight_decay=0.0,
        folder=folder,
        every=STEPS,
        report=lambda model, step: "",
        processes=processes,
    )
    return torch.cat([p.flatten() for p in averaged.parameters()])


def test_processes_train_one_network_on_all_their_batches(tmp_path: Path) -> None:
    together, alone = (trained(ByRank(), tmp_path / str(processes), processes) for processes in (2, 1))
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_process_that_fails_ends_the_run(tmp_path: Path) -> None:
    class Broken(ByRank):
        def __iter__(self) -> Iterator[Tensor]:
            if dist.get_rank() == 1:
                raise OSError("no such shard")
            return super().__iter__()

    with pytest.raises(RuntimeError):
        trained(Broken(), tmp_path, 2)


def test_a_run_goes_on_from_the_averaged_weights_of_another(tmp_path: Path) -> None:
    found = trained(ByRank(), tmp_path, 1)
    assert torch.cat([value.flatten() for value in averaged_weights(tmp_path).values()]).equal(found)


def test_a_run_without_the_one_before_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe that writes it first"):
        averaged_weights(tmp_path / "nothing")
