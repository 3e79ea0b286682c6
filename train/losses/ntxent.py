"""NT-Xent of SimCLR (Chen et al., ICML 2020) and its form with hard negatives, HCL (Robinson et al., ICLR 2021).

HCL: N = max( (Σ_j ω_j e^{u_j/τ} - τ⁺ M e^{u⁺/τ}) / (1 - τ⁺), M e^{-1/τ} ), ω_j = e^{β u_j/τ} / mean_m e^{β u_m/τ}, over
the M = 2B - 2 views of the other images; the gradient flows through ω, as in HCL's code. β = 0, τ⁺ = 0 is SimCLR.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class NTXentLoss(nn.Module):
    """-log( e^{u⁺/τ} / (e^{u⁺/τ} + N) ), mean over both views of all images."""

    def __init__(self, temperature: float = 0.5, beta: float = 0.0, prior: float = 0.0) -> None:
        super().__init__()
        if not 0 <= prior < 1:
            raise ValueError(f"prior (τ⁺) must be in [0, 1), got {prior}")
        self.temperature, self.beta, self.prior = temperature, beta, prior

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two views (B, D), B >= 2 -> scalar."""
        size = len(first)
        z = normalize(torch.cat([first, second]), dim=-1)
        u = z @ z.T / self.temperature  # (2B, 2B)
        place = torch.arange(2 * size, device=u.device)
        partner = place.roll(size)
        positive = u[place, partner]
        others = torch.ones_like(u, dtype=torch.bool)
        others[place, place] = others[place, partner] = False
        negatives = u[others].view(2 * size, -1)  # (2B, 2B - 2)
        count = negatives.shape[1]
        log_omega = self.beta * negatives - (self.beta * negatives).logsumexp(1, keepdim=True) + math.log(count)
        log_n = (log_omega + negatives).logsumexp(1)
        if self.prior:
            n = (log_n.exp() - self.prior * count * positive.exp()) / (1 - self.prior)
            log_n = n.clamp(min=count * math.exp(-1 / self.temperature)).log()
        return (torch.logaddexp(positive, log_n) - positive).mean()
