"""Identity-label embeddings: how each training subject shows each AU (CL-ILE stage 1, Lian et al., BMVC 2023)."""

import torch
from torch import Tensor, nn


class IdentityLabels(nn.Module):
    """The table E (subjects, AUs, d), normal(0, d^-1/2); size and initialisation are our reconstruction."""

    def __init__(self, subjects: int, aus: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(subjects, aus, width) / width**0.5)

    def forward(self, identity: Tensor, subject: Tensor) -> Tensor:
        """Identity features (B, d) and subjects (B,) -> logits (B, AUs): F^ID · AU_c of the own subject's row only."""
        logits: Tensor = (self.table[subject] * identity[:, None]).sum(dim=-1)
        return logits
