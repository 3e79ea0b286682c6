"""What the engine trains: one paper or baseline a file in train/methods/, all behind this interface."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rtau.errors import ConfigError
from train.models.encoder import EncoderConfig


class Batch(NamedTuple):
    """B frames; where the plan's rows are clips of T frames, every (B, ...) below is (B, T, ...).

    Views come in one layout whatever the corpus: what it does not know is -1.
    """

    images: Tensor  # (V, B, 3, S, S) float32, normalised views
    occurrence: Tensor  # (B, N) float32 in {0, 1}, 0 where unknown
    known: Tensor  # (B, N) bool
    subject: Tensor  # (B,) int64, counted over the training subjects of the fold
    activity: Tensor  # (B,) int64, place in Setting.activities
    expression: Tensor  # (B,) int64, place in Setting.expressions
    session: Tensor  # (B,) int64, tells sessions of the corpus apart
    frame: Tensor  # (B,) int64, number inside the session


class Setting(NamedTuple):
    """What a method may know before the first batch."""

    encoder: EncoderConfig
    aus: tuple[str, ...]  # N columns, in label order
    rates: Tensor  # (N,) float32: how often each AU is present in the training fold, > 0
    subjects: int  # of the training fold
    activities: tuple[str, ...]  # names, where the corpus has them
    expressions: tuple[str, ...]  # likewise
    size: int  # S, side of a view


class Method(nn.Module):
    """A recipe of losses around `net`. Loss modules may be further attributes; only `net` is saved."""

    net: nn.Module  # everything that is trained or saved; momentum copies and dictionaries belong to it

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars whose sum is minimised. Draw from torch's own generator: it is seeded every step."""
        raise NotImplementedError

    def after_step(self, step: int, steps: int) -> None:
        """Called after the optimiser's step number `step` (from 0) of `steps`: momentum copies, dictionaries."""

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) -> (B, N, C) or (B, D): what the linear probe sees."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor | None:
        """Images (B, 3, S, S) -> probabilities (B, N), of methods that have a head of their own."""
        return None

    def classify(self, images: Tensor) -> Tensor | None:
        """Images (B, 3, S, S) -> probabilities (B, K) of Setting.expressions, of methods that tell these apart."""
        return None

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over the network of an earlier run (`initial:`): all tensors whose name and shape are the same."""
        own = self.net.state_dict()
        fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
        if not fitting:
            raise ConfigError("initial: no tensor of it has the name and the shape of one of this network")
        self.net.load_state_dict(fitting, strict=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.losses(batch)


def full_precision(tensor: Tensor) -> torch.autocast:
    """Around a loss: no autocast inside, whatever the network ran in. Inputs must be made float32 by `.float()`."""
    return torch.autocast(tensor.device.type, enabled=False)
