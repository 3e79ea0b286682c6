import math

import pytest
import torch
from torch import Tensor

from train.losses.clile import AUEmbeddingContrast, orthogonality


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, AU embeddings, occurrence, known; the last image shows nothing."""
    g = torch.Generator().manual_seed(0)
    features, aus = (torch.randn(n, 7, generator=g, dtype=torch.float64) for n in (6, 5))
    occurrence = (torch.rand(6, 5, generator=g) < 0.5).long()
    known = torch.rand(6, 5, generator=g) < 0.8
    occurrence[-1] = 0
    return features, aus, occurrence, known


def test_one_of_two_aus_is_active() -> None:
    """Cosines 1 and 0: -log( e / (e + 1) ) = log(1 + 1/e)."""
    features, aus = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    loss = AUEmbeddingContrast(temperature=1.0)(features, aus, torch.tensor([[1, 0]]), torch.ones(1, 2))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_equals_the_equation_in_plain_loops() -> None:
    features, aus, occurrence, known = batch()
    losses = []
    for f, y, k in zip(features, occurrence, known, strict=True):
        share = {c: math.exp(float(f @ aus[c] / f.norm() / aus[c].norm()) / 0.1) for c in range(5) if k[c]}
        active = [c for c in share if y[c]]
        if active:
            losses.append(-sum(math.log(share[p] / sum(share.values())) for p in active) / len(active))
    assert AUEmbeddingContrast(0.1)(features, aus, occurrence, known).item() == pytest.approx(sum(losses) / len(losses))


def test_images_without_an_active_au_do_not_count() -> None:
    features, aus, occurrence, known = batch()
    loss, features = AUEmbeddingContrast(), features.requires_grad_(True)
    whole = loss(features, aus, occurrence, known)
    assert whole.item() == pytest.approx(loss(features[:-1], aus, occurrence[:-1], known[:-1]).item())
    whole.backward()
    assert features.grad is not None
    assert not features.grad[-1].any()
    assert loss(features[-1:], aus, occurrence[-1:], known[-1:]).item() == 0


def test_an_unknown_au_moves_neither_the_loss_nor_its_embedding() -> None:
    features, aus, occurrence, known = batch()
    known[:, 2] = False
    aus.requires_grad_(True)
    AUEmbeddingContrast()(features, aus, occurrence, known).backward()
    assert aus.grad is not None
    assert not aus.grad[2].any()
    assert aus.grad[0].any()


def test_orthogonality_is_the_mean_squared_cosine_and_leaves_the_identity_encoder_alone() -> None:
    general = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], requires_grad=True)
    identity = torch.tensor([[-3.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = orthogonality(general, identity)
    assert loss.item() == pytest.approx((1 + 0 + 0.5) / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert identity.grad is None
    assert general.grad is not None
    assert general.grad[2].any()
