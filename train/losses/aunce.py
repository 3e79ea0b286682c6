"""AUNCE: supervised contrast for each AU, with weighted negatives and three kinds of positives.

Shang, Liu, Lv, Teng, Li, arXiv 2402.06165, Eqs. (2)-(10); importance weights after HCL (Robinson et al., ICLR 2021).
"""

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

BetaBy = Literal["anchor_label", "anchor_class_rate", "negatives_class"]


class AUNCELoss(nn.Module):
    """Eq. (4): mean over AUs of w_i · mean over anchors of -log( P / (P + N) ), computed in log space.

    N = Σ_j exp(β u_j / τ) over the samples with the other label. P is, for all anchors of an AU in a batch at once, one
    of: the most similar sample of the same label (8), the other view of the anchor (9), the mixture of the same label
    (10), and the least similar sample of the same label (an ablation of Table VIII), drawn with probabilities p.
    Unknown labels are no anchors, no positives and no negatives.

    The text and the authors' code differ; `official` computes what the code does, `paper` what the text says:

    - temperature 0.5; `beta_active` 1.2 and `beta_inactive` 0.4 (text and first code; a later revision has 0.8).
    - `beta_by`: the code takes β by the anchor's label; `anchor_class_rate` takes `beta_active` for the rarer class,
      by the training rates; `negatives_class` goes by the label of the negatives, as Section III-B reads.
    - `self_included`: in the code the anchor is among its own positives, so that (8) is constant and gives no pull.
      Otherwise both views of the anchor are left out of (8), which falls back to (9) when nobody else has the label.
    - `centroid`: (10) as the similarity to the normalised mean feature; the code averages exponentials over the
      whole batch instead.
    - `hcl_weights`: normalised importance weights without gradient, Eq. (3) as HCL defines it; the code lets the
      gradient flow through exp(β u / τ), which makes β the ratio of negative to positive gradient.
    """

    def __init__(
        self,
        *,
        positives: tuple[float, ...],
        self_included: bool,
        centroid: bool,
        temperature: float = 0.5,
        beta_active: float = 1.2,
        beta_inactive: float = 0.4,
        beta_by: BetaBy = "anchor_label",
        hcl_weights: bool = False,
    ) -> None:
        super().__init__()
        if not 3 <= len(positives) <= 4 or min(positives) < 0 or abs(sum(positives) - 1) > 1e-6:
            raise ValueError(f"positives must be 3 or 4 probabilities that sum to 1, got {positives}")
        self.positives: Tensor
        self.register_buffer("positives", torch.tensor(positives, dtype=torch.float32))
        self.self_included, self.centroid, self.hcl_weights = self_included, centroid, hcl_weights
        self.temperature, self.beta_active, self.beta_inactive = temperature, beta_active, beta_inactive
        self.beta_by = beta_by

    @classmethod
    def official(cls, **changed: Any) -> Self:
        """As the first public code computes it, but for what is `changed`."""
        return cls(**{"positives": (0.2, 0.2, 0.6), "self_included": True, "centroid": False, **changed})

    @classmethod
    def paper(cls, **changed: Any) -> Self:
        """As the text describes it, but for what is `changed`."""
        return cls(**{"positives": (0.15, 0.15, 0.7), "self_included": False, "centroid": True, **changed})

    def draw(self, aus: int, generator: torch.Generator | None = None) -> Tensor:
        """(N,) an AU's kind of positive for one batch: 0 most similar, 1 other view, 2 mixture, 3 least similar."""
        return torch.multinomial(self.positives.cpu(), aus, replacement=True, generator=generator)

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        occurrence: Tensor,
        known: Tensor,
        kinds: Tensor,
        weights: Tensor | None = None,
        rates: Tensor | None = None,
    ) -> Tensor:
        """Two views (B, N, C), occurrence and known (B, N) in {0, 1}, kinds (N,) of `draw`, weights and rates (N,).

        Returns a scalar. An AU with one label value among its known samples gives no loss and no gradient.
        """
        batch = len(first)
        f = normalize(torch.cat([first, second]), dim=-1).transpose(0, 1)  # (N, 2B, C)
        u = f @ f.transpose(1, 2) / self.temperature  # (N, 2B, 2B)
        label = occurrence.bool().repeat(2, 1).T  # (N, 2B)
        valid = known.bool().repeat(2, 1).T
        both = valid[:, :, None] & valid[:, None, :]
        same = both & (label[:, :, None] == label[:, None, :])
        other = both & ~same
        anchors = other.any(dim=2)  # (N, 2B) those with a negative; the rest have loss 0
        partner = torch.arange(2 * batch, device=u.device).roll(batch)

        beta = self._beta(label, rates)  # (N, 2B)
        if self.hcl_weights:
            tilted = (beta[:, :, None] * u).masked_fill(~other, -torch.inf).detach()
            count = other.sum(dim=2, keepdim=True).clamp(min=1)
            log_alpha = (
                tilted - tilted.logsumexp(dim=2, keepdim=True).masked_fill(~anchors[:, :, None], 0) + count.log()
            )
            negatives = log_alpha.masked_fill(~other, 0) + u
        else:
            negatives = beta[:, :, None] * u
        log_n = _logsumexp(negatives, other, anchors)

        view = u[:, torch.arange(2 * batch, device=u.device), partner]
        log_p = torch.empty_like(view)
        for kind in set(kinds.tolist()):  # of each AU only what was drawn: every kind takes N (2B)² numbers
            own = torch.nonzero(kinds == kind)[:, 0].to(u.device)
            log_p = log_p.index_copy(0, own, self._positive(kind, f[own], u[own], same[own], view[own], partner))
        loss = torch.where(anchors, torch.logaddexp(log_p, log_n) - log_p, 0)
        per_au = loss.sum(dim=1) / valid.sum(dim=1).clamp(min=1)
        return (per_au if weights is None else per_au * weights).mean()

    def _beta(self, label: Tensor, rates: Tensor | None) -> Tensor:
        high = label
        if self.beta_by == "negatives_class":
            high = ~label
        elif self.beta_by == "anchor_class_rate":
            if rates is None:
                raise ValueError("beta_by='anchor_class_rate' needs the rates of the training labels")
            high = torch.where(rates[:, None] < 0.5, label, ~label)
        return torch.where(high, self.beta_active, self.beta_inactive)

    def _positive(self, kind: int, f: Tensor, u: Tensor, same: Tensor, view: Tensor, partner: Tensor) -> Tensor:
        """log P (n, 2B) of n AUs whose positive is of one kind. Where nobody may be it, the other view is."""
        if kind == 1:
            return view
        if kind == 2:
            return self._mixture(f, u, same)
        others = same
        if not self.self_included:
            itself = torch.eye(len(partner), dtype=torch.bool, device=same.device)
            others = same & ~itself & ~itself[partner]
        if kind == 0:
            found = u.masked_fill(~others, -1e4).amax(dim=2)
        else:
            found = u.masked_fill(~others, 1e4).amin(dim=2)
        return torch.where(others.any(dim=2), found, view)

    def _mixture(self, f: Tensor, u: Tensor, same: Tensor) -> Tensor:
        """Eq. (10), log P (N, 2B)."""
        size = u.shape[1]
        if not self.centroid:
            return _logsumexp(u, same, same.any(dim=2)) - torch.log(torch.tensor(float(size)))
        others = same & ~torch.eye(size, dtype=torch.bool, device=u.device)
        centroid = normalize(others.to(f.dtype) @ f, dim=-1)
        return (f * centroid).sum(dim=-1) / self.temperature


def _logsumexp(values: Tensor, where: Tensor, rows: Tensor) -> Tensor:
    """log Σ exp over the last axis where allowed; rows without any allowed entry give -inf and no gradient."""
    allowed = where | ~rows[..., None]  # an empty row is summed whole and thrown away: no NaN in the gradient
    total = values.masked_fill(~allowed, -torch.inf).logsumexp(dim=-1)
    return torch.where(rows, total, -torch.inf)
