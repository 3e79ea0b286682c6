"""Supervised contrastive loss for each AU: Khosla et al., NeurIPS 2020, Eq. (2), https://arxiv.org/abs/2004.11362

Departures: positives are chosen AU by AU (labels are multi-label); the mean over anchors, not the sum.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class SupConLoss(nn.Module):
    """Mean over anchors of -1/|P| Σ_p log( e^{u_p/τ} / Σ_{a ≠ anchor} e^{u_a/τ} )."""

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, embeddings: Tensor, occurrence: Tensor, known: Tensor) -> Tensor:
        """Embeddings (B, N, C), occurrence in {0, 1} and known (B, N) -> scalar.

        Samples with an unknown label are left out; anchors without a positive do not count.
        """
        z = normalize(embeddings, dim=-1).transpose(0, 1)  # (N, B, C)
        label, seen = occurrence.bool().T, known.bool().T  # (N, B)
        itself = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
        candidate = seen[:, :, None] & seen[:, None, :] & ~itself
        positive = candidate & (label[:, :, None] == label[:, None, :])
        logits = z @ z.transpose(1, 2) / self.temperature
        total = logits.masked_fill(~candidate, -1e4).logsumexp(-1, keepdim=True)
        count = positive.sum(-1)  # (N, B)
        per_anchor = (total - logits).masked_fill(~positive, 0).sum(-1) / count.clamp(min=1)
        return per_anchor.sum() / (count > 0).sum().clamp(min=1)
