"""Focal loss for scores and generalised IoU loss for boxes.

Lin et al. 2017, Eq. (5), https://arxiv.org/abs/1708.02002; Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def focal_loss(logits: Tensor, target: Tensor, known: Tensor, gamma: float = 2.0, alpha: float = 0.5) -> Tensor:
    """Any equal shapes, target and known in {0, 1} -> scalar: the sum over known places by the number of positives."""
    p = logits.sigmoid()
    towards = p * target + (1 - p) * (1 - target)
    weight = (alpha * target + (1 - alpha) * (1 - target)) * (1 - towards) ** gamma * known
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none") * weight
    return loss.sum() / (target * known).sum().clamp(min=1)


def giou_loss(distances: Tensor, target: Tensor) -> Tensor:
    """Distances left, top, right, bottom (P, 4) from one point each, > 0 -> scalar mean of 1 - GIoU in [0, 2]."""
    if not len(target):
        return distances.sum() * 0
    inner = torch.minimum(distances, target)
    outer = torch.maximum(distances, target)
    intersection = (inner[:, 0] + inner[:, 2]) * (inner[:, 1] + inner[:, 3])
    hull = (outer[:, 0] + outer[:, 2]) * (outer[:, 1] + outer[:, 3])
    areas = [(d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (distances, target)]
    union = areas[0] + areas[1] - intersection
    return (1 - intersection / union + (hull - union) / hull).mean()
