"""CL-ILE stage 2: supervised contrast against AU embeddings, and the person taken out of the features.

Lian, Adama, Machado, Vinkemeier, BMVC 2023, paper 335; the poster's two formulas. Stage 1 is the weighted
cross-entropy of wce.py over the logits of train/models/identity_labels.py.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize


class AUEmbeddingContrast(nn.Module):
    """L_Contra: -log of the softmax share of each active AU's embedding, mean over the active AUs, mean over images.

    The poster leaves open: `sim` is taken as the cosine; images without an active AU do not count, neither above nor
    in the mean; unknown AUs stand neither above nor below the fraction (our reconstruction, as is the temperature).
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, aus: Tensor, occurrence: Tensor, known: Tensor) -> Tensor:
        """Features (B, d), AU embeddings (N, d), occurrence and known (B, N) in {0, 1} -> scalar."""
        known = known.bool()
        active = occurrence.bool() & known
        counts = active.sum(dim=1)
        shown = counts > 0
        similar = normalize(features[shown], dim=1) @ normalize(aus, dim=1).T / self.temperature
        log_p = similar - similar.masked_fill(~known[shown], -torch.inf).logsumexp(dim=1, keepdim=True)
        per_image = -log_p.masked_fill(~active[shown], 0).sum(dim=1) / counts[shown]
        return per_image.sum() / shown.sum().clamp(min=1)


def orthogonality(general: Tensor, identity: Tensor) -> Tensor:
    """L_orth: mean cos²(F^G, F^ID) of (B, d) and (B, d), in [0, 1]; the identity feature gets no gradient.

    Our reconstruction: the poster says that person-specific features are eliminated and the identity encoder is not
    needed for inference, but gives no formula. So the elimination can only be a training signal.
    """
    return cosine_similarity(general, identity.detach(), dim=1).square().mean()
