"""Weighted binary cross-entropy for AU occurrence: AUNCE Eq. (1), and MEGraph's asymmetric form."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


def class_weights(rates: Tensor) -> Tensor:
    """(N,) occurrence rates -> (N,) weights 1/r, scaled to a mean of 1."""
    inverse = 1 / rates
    return inverse / inverse.mean()


class WeightedBCE(nn.Module):
    """-(1/n) Σ w_i [ y log p + (1-y) log(1-p) ], unknown labels left out.

    `asymmetric` multiplies the second term by p without gradient (MEGraph stage 1).
    """

    def __init__(self, weights: Tensor, *, asymmetric: bool = False) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", weights)
        self.asymmetric = asymmetric

    def forward(self, logits: Tensor, occurrence: Tensor, known: Tensor) -> Tensor:
        """Logits, occurrence in {0, 1} and known (B, N) -> scalar: mean over known labels."""
        absent = logsigmoid(-logits)
        if self.asymmetric:
            absent = absent * logits.sigmoid().detach()
        y = occurrence.to(logits.dtype)
        loss = -(y * logsigmoid(logits) + (1 - y) * absent) * self.weights
        return torch.where(known.bool(), loss, 0).sum() / known.sum().clamp(min=1)
