"""CLP: the frames of a clip told apart in time, and recognised from other people's frames.

Li, Shan, IEEE TIP 32, 2023, doi 10.1109/TIP.2023.3279978. Only the abstract was available: it names both signals
(temporal contrast with a margin, cross-identity reconstruction, a momentum encoder and a dictionary). Every formula
here is our reconstruction.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

Form = Literal["contrast", "ranking"]


class TemporalContrast(nn.Module):
    """TCL: a frame is nearest to its own key; the farther a frame of the clip is in time, the farther it has to be.

    `contrast`: -log( e^{q_t k_t/τ} / ( e^{q_t k_t/τ} + Σ_{s≠t} e^{(q_t k_s + m |t-s|/(T-1))/τ} ) ), mean over frames.
    `ranking`: max(0, m (|t-b| - |t-a|)/(T-1) + q_t k_b - q_t k_a), mean over all t, a, b with |t-a| < |t-b|.
    The negatives are of the same person and scene, so neither helps to tell them apart.
    """

    def __init__(self, margin: float = 0.3, temperature: float = 0.1, form: Form = "contrast") -> None:
        super().__init__()
        self.margin, self.temperature, self.form = margin, temperature, form

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Unit vectors (B, T, d) of the clips' frames, T >= 2; keys get no gradient -> scalar."""
        clips, frames, _ = queries.shape
        similar = queries @ keys.detach().transpose(1, 2)  # (B, T, T)
        time = torch.arange(frames, device=queries.device)
        apart = (time[:, None] - time).abs().to(similar.dtype) / (frames - 1)
        if self.form == "contrast":
            logits = (similar + self.margin * apart) / self.temperature
            return cross_entropy(logits.flatten(0, 1), time.repeat(clips))
        farther = apart[:, None, :] - apart[:, :, None]  # (T, a, b): how much farther b is from t than a
        short = self.margin * farther + similar[:, :, None, :] - similar[:, :, :, None]
        return short.relu()[:, farther > 0].mean()


class CrossIdentityReconstruction(nn.Module):
    """CIR: a frame rebuilt from the frames of other people that are most like it is recognised within its own clip.

    a_j = softmax_j(q_t d_j / τ_r) over the `nearest` entries of other identities, q̂_t = Σ a_j d_j made unit,
    -log( e^{q̂_t k_t/τ} / Σ_s e^{q̂_t k_s/τ} ), mean over frames. Who it is cannot help, since nobody of that identity
    took part; what the face does can.
    """

    def __init__(self, temperature: float = 0.1, retrieval_temperature: float = 0.05, nearest: int = 64) -> None:
        super().__init__()
        self.temperature, self.retrieval_temperature, self.nearest = temperature, retrieval_temperature, nearest

    def forward(self, queries: Tensor, keys: Tensor, owner: Tensor, entries: Tensor, owners: Tensor) -> Tensor:
        """Unit vectors (B, T, d) of clips of the identities (B,); dictionary (M, d) with identities (M,) -> scalar.

        Identities are >= 0; an entry of a negative one is empty. Only the queries get a gradient. A clip for which the
        dictionary holds nobody else does not count.
        """
        frames = queries.shape[1]
        others = (owner[:, None] != owners) & (owners >= 0)  # (B, M)
        usable = others.any(dim=1)
        if not usable.any():
            return queries.sum() * 0
        q, k, others = queries[usable], keys[usable].detach(), others[usable]
        entries = entries.detach()
        like = (q @ entries.T / self.retrieval_temperature).masked_fill(~others[:, None], -torch.inf)  # (B, T, M)
        best, place = like.topk(min(self.nearest, len(entries)), dim=2)
        rebuilt = normalize((best.softmax(dim=2)[..., None] * entries[place]).sum(dim=2), dim=2)
        logits = rebuilt @ k.transpose(1, 2) / self.temperature  # (B, T, T)
        return cross_entropy(logits.flatten(0, 1), torch.arange(frames, device=q.device).repeat(len(q)))
