import math

import pytest
import torch

from train.losses.supcon import SupConLoss


def test_two_equal_positives_and_one_opposite_negative() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    label = torch.tensor([[1], [1], [0]])
    loss = SupConLoss(temperature=1.0)(z[:, None], label, torch.ones_like(label))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)))  # the lone negative has no positive


def test_an_unknown_sample_is_neither_anchor_nor_candidate() -> None:
    z = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    label, known = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 1]]), torch.ones(4, 2)
    known[3] = 0
    loss = SupConLoss()(z, label, known)
    assert loss.item() == pytest.approx(SupConLoss()(z[:3], label[:3], known[:3]).item())
    loss.backward()
    assert z.grad is not None
    assert not z.grad[3].any()
