"""CLEF stage 1: pictures of one activity together, whoever it is, and near to the text that describes it.

Zhang, Wang, Li, Yang, Yin, ICCV 2023, arXiv 2304.00058. Only the abstract was available: it says that pairs are made
of activities and that images are compared with text. Every formula here is our reconstruction.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize


class ActivityContrast(nn.Module):
    """L_act: supervised contrast whose positives show the same activity by another subject.

    Mean over anchors of -(1/|P|) Σ_{p in P} log( e^{z z_p/τ} / Σ_{b≠x} e^{z z_b/τ} ). Where nobody else of the batch
    shows the activity, other pictures of the same subject are the positives; anchors without any do not count.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, activity: Tensor, subject: Tensor) -> Tensor:
        """Features (B, d), activity (B,) with -1 unknown, subject (B,) -> scalar; unknown activities are left out."""
        told = activity >= 0
        z, activity, subject = normalize(features[told], dim=1), activity[told], subject[told]
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        same = (activity[:, None] == activity) & ~itself
        across = same & (subject[:, None] != subject)
        positive = torch.where(across.any(dim=1, keepdim=True), across, same)
        counts = positive.sum(dim=1)
        logits = (z @ z.T / self.temperature).masked_fill(itself, -1e4)
        log_p = logits - logits.logsumexp(dim=1, keepdim=True)
        per_anchor = -log_p.masked_fill(~positive, 0).sum(dim=1) / counts.clamp(min=1)
        return per_anchor.sum() / (counts > 0).sum().clamp(min=1)


class ActivityText(nn.Module):
    """L_txt: of all activity descriptions the picture's own is the nearest; cosine, temperature τ_t, mean."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, texts: Tensor, activity: Tensor) -> Tensor:
        """Features (B, d), texts (A, d), activity (B,) with -1 unknown -> scalar. Texts get no gradient."""
        told = activity >= 0
        logits = normalize(features[told], dim=1) @ normalize(texts.detach(), dim=1).T / self.temperature
        return cross_entropy(logits, activity[told], reduction="sum") / told.sum().clamp(min=1)
