"""What a run needs to go on exactly where it was. One safetensors file, replaced as a whole."""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from rtau.errors import ConfigError
from train.data.corpora.samplers import State

_NET, _OPTIMISER = "net.", "optimiser."


class Progress(msgspec.Struct, frozen=True):
    """Where a run stands."""

    hash: str  # of the run
    step: int  # steps done
    sampling: State  # gives the next batch
    seconds: float  # spent so far


def save(path: Path, net: nn.Module, optimiser: Optimizer, progress: Progress) -> None:
    """Write a checkpoint; a kill while writing leaves the earlier one."""
    tensors = {_NET + name: tensor for name, tensor in net.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{_OPTIMISER}{number}.{name}": value for name, value in state.items() if value is not None}
    _write(path, tensors, {"progress": msgspec.json.encode(progress).decode()})


def restore(path: Path, net: nn.Module, optimiser: Optimizer) -> Progress:
    """Put a checkpoint back. Raises ConfigError when the file is damaged or of another network."""
    tensors, about = _read(path)
    progress = msgspec.json.decode(about["progress"], type=Progress)
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_OPTIMISER):
            number, _, name = key.removeprefix(_OPTIMISER).partition(".")
            states.setdefault(int(number), {})[name] = value
    try:
        net.load_state_dict({k.removeprefix(_NET): v for k, v in tensors.items() if k.startswith(_NET)})
    except RuntimeError as error:
        raise ConfigError(f"{path}: is of another network; remove it to begin anew") from error
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    return progress


def save_net(path: Path, net: nn.Module) -> None:
    """The network alone."""
    _write(path, dict(net.state_dict()), {})


def read_net(path: Path) -> dict[str, Tensor]:
    """Tensors by name of `save_net`. Raises ConfigError when the file is missing or damaged."""
    return _read(path)[0]


def _write(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    save_file(plain, path.with_suffix(".tmp"), metadata=about)
    path.with_suffix(".tmp").replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: torch.as_tensor(file.get_tensor(name)) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
