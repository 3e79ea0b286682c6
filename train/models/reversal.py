"""Gradient reversal (Ganin, Lempitsky, ICML 2015, arXiv 1409.7495): what is behind it learns the opposite."""

from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reversed_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """x unchanged; its gradient comes back times -strength."""
    out: Tensor = _Reversal.apply(x, strength)  # type: ignore[no-untyped-call]
    return out
