"""A slow copy of a network that makes the keys: momentum contrast (He et al., CVPR 2020, Eq. (2), arXiv 1911.05722)."""

import copy

import torch
from torch import Tensor, nn


class MomentumCopy(nn.Module):
    """θ_k ← m θ_k + (1 - m) θ_q after every step; no gradient reaches it. Buffers are its own."""

    def __init__(self, net: nn.Module, momentum: float = 0.999) -> None:
        super().__init__()
        self.net, self.momentum = copy.deepcopy(net).requires_grad_(False), momentum

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Follow the trained network."""
        for own, trained in zip(self.net.parameters(), net.parameters(), strict=True):
            own.lerp_(trained, 1 - self.momentum)
