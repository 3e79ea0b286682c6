import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.losses.clp import CrossIdentityReconstruction, TemporalContrast


def unit(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def test_two_orthogonal_frames_with_a_margin() -> None:
    """q_t k_t = 1 and q_t k_s = 0, with the margin 0.3: log(1 + e^{0.3 - 1})."""
    frames = torch.eye(2)[None]
    loss = TemporalContrast(margin=0.3, temperature=1.0)(frames, frames)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.7)))
    ranking = TemporalContrast(margin=1.5, form="ranking")(frames, frames)
    assert ranking.item() == pytest.approx(0.5)  # (t, a, b) = (0, 0, 1) and (1, 1, 0): 1.5 + 0 - 1


def test_contrast_equals_the_equation_in_plain_loops() -> None:
    q, k, tau, margin, frames = unit(3, 5, 4), unit(3, 5, 4, seed=1), 0.1, 0.3, 5
    expected = 0.0
    for clip in range(3):
        for t in range(frames):
            own = math.exp(float(q[clip, t] @ k[clip, t]) / tau)
            rest = sum(
                math.exp((float(q[clip, t] @ k[clip, s]) + margin * abs(t - s) / (frames - 1)) / tau)
                for s in range(frames)
                if s != t
            )
            expected -= math.log(own / (own + rest)) / frames / 3
    assert TemporalContrast(margin, tau)(q, k).item() == pytest.approx(expected)


def test_ranking_equals_the_equation_in_plain_loops() -> None:
    q, k, margin = unit(3, 5, 4), unit(3, 5, 4, seed=1), 0.3
    terms = []
    for clip in range(3):
        for t, a, b in torch.cartesian_prod(*[torch.arange(5)] * 3).tolist():
            if abs(t - a) < abs(t - b):
                wanted = margin * (abs(t - b) - abs(t - a)) / 4
                terms.append(max(0.0, wanted + float(q[clip, t] @ k[clip, b] - q[clip, t] @ k[clip, a])))
    assert TemporalContrast(margin, form="ranking")(q, k).item() == pytest.approx(sum(terms) / len(terms))


def test_a_larger_margin_asks_more_of_frames_that_are_farther_apart() -> None:
    """At equal likeness the gradient pushes the far frame away harder than the near one."""
    keys = unit(1, 1, 4).expand(1, 3, 4).contiguous()
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    moved = keys + logits[None, :, None] * keys  # raises q_0 k_s by logits[s]
    similar = (keys[0, 0] * moved[0]).sum(-1) + 0.3 * torch.tensor([0, 0.5, 1.0])
    (-(similar / 0.1).log_softmax(0)[0]).backward()
    assert logits.grad is not None
    assert logits.grad[2] > logits.grad[1] > 0
    worse = TemporalContrast(0.3)(keys, keys).item()
    assert worse > TemporalContrast(0.0)(keys, keys).item() == pytest.approx(math.log(3))


def by_loops(q: Tensor, k: Tensor, owner: Tensor, entries: Tensor, owners: Tensor, nearest: int) -> float:
    losses = []
    for clip in range(len(q)):
        others = [j for j in range(len(entries)) if owners[j] != owner[clip] and owners[j] >= 0]
        if not others:
            continue
        for t in range(q.shape[1]):
            best = sorted(others, key=lambda j: -float(q[clip, t] @ entries[j]))[:nearest]
            weights = [math.exp(float(q[clip, t] @ entries[j]) / 0.05) for j in best]
            rebuilt = sum((w / sum(weights) * entries[j] for w, j in zip(weights, best, strict=True)), torch.zeros(4))
            rebuilt = rebuilt / rebuilt.norm()
            shares = [math.exp(float(rebuilt @ k[clip, s]) / 0.1) for s in range(q.shape[1])]
            losses.append(-math.log(shares[t] / sum(shares)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("nearest", [3, 64])
def test_reconstruction_equals_the_equation_in_plain_loops(nearest: int) -> None:
    values = unit(3, 5, 4), unit(3, 5, 4, seed=1), torch.tensor([0, 1, 2]), unit(12, 4, seed=2)
    owners = torch.tensor([0, 1, 2, 3] * 2 + [-1] * 4)
    found = CrossIdentityReconstruction(nearest=nearest)(*values, owners).item()
    assert found == pytest.approx(by_loops(*values, owners, nearest))


def test_nobody_is_rebuilt_from_frames_of_the_own_identity() -> None:
    """Whatever the dictionary holds of the anchor's identity, or in empty places, changes nothing."""
    q, k, owner, entries = unit(2, 5, 4), unit(2, 5, 4, seed=1), torch.tensor([7, 7]), unit(10, 4, seed=2)
    owners = torch.tensor([7, 3, 7, 4, -1, 7, 3, -1, 5, 7])
    loss = CrossIdentityReconstruction(nearest=4)
    before = loss(q, k, owner, entries, owners).item()
    entries[(owners == 7) | (owners < 0)] = q[0, 0]  # the most tempting entries there could be
    assert loss(q, k, owner, entries, owners).item() == before


def test_without_anybody_else_there_is_no_loss() -> None:
    q = unit(2, 5, 4).requires_grad_(True)
    loss = CrossIdentityReconstruction()(q, unit(2, 5, 4), torch.tensor([1, 1]), unit(6, 4), torch.tensor([1, -1] * 3))
    assert loss.item() == 0
    loss.backward()
    assert q.grad is not None
    assert not q.grad.any()


def test_gradients_stop_at_keys_and_dictionary() -> None:
    q, k, entries = (unit(*shape).requires_grad_(True) for shape in ((2, 5, 4), (2, 5, 4), (6, 4)))
    owners = torch.arange(6)
    total = TemporalContrast()(q, k) + TemporalContrast(form="ranking")(q, k)
    (total + CrossIdentityReconstruction()(q, k, torch.tensor([0, 1]), entries, owners)).backward()
    assert k.grad is None
    assert entries.grad is None
    assert q.grad is not None
    assert q.grad.any()
