import math

import pytest
import torch
from torch.nn.functional import normalize

from train.losses.ntxent import NTXentLoss


def by_loops(first: torch.Tensor, second: torch.Tensor, tau: float, beta: float, prior: float) -> float:
    """HCL's equation, one anchor at a time."""
    z = normalize(torch.cat([first, second]), dim=-1)
    size, losses = len(first), []
    for a in range(2 * size):
        partner = (a + size) % (2 * size)
        u = [float(z[a] @ z[j]) for j in range(2 * size) if j not in (a, partner)]
        positive = math.exp(float(z[a] @ z[partner]) / tau)
        tilt = [math.exp(beta * x / tau) for x in u]
        weighted = sum(t * math.exp(x / tau) for t, x in zip(tilt, u, strict=True)) / (sum(tilt) / len(tilt))
        n = max((weighted - prior * len(u) * positive) / (1 - prior), len(u) * math.exp(-1 / tau))
        losses.append(-math.log(positive / (positive + n)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.1), (0.0, 0.9)])
def test_equals_the_equation_in_plain_loops(beta: float, prior: float) -> None:
    first, second = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = NTXentLoss(0.5, beta, prior)(first, second)
    assert loss.item() == pytest.approx(by_loops(first, second, 0.5, beta, prior))


def test_a_prior_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="prior"):
        NTXentLoss(prior=1.0)
