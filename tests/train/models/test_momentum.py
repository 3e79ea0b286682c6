import pytest
import torch
from torch import nn

from train.models.momentum import MomentumCopy


def test_the_copy_follows_by_its_share_and_gets_no_gradient() -> None:
    net = nn.Linear(3, 2)
    copy = MomentumCopy(net, momentum=0.75)
    before = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.fill_(1.0)
    copy.update(net)
    torch.testing.assert_close(copy.net.weight, 0.75 * before + 0.25 * torch.ones_like(before))
    keys = copy(torch.randn(4, 3))
    assert not keys.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in copy.parameters())


def test_it_is_a_copy_and_saved_with_its_owner() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net.add_module("keys", MomentumCopy(net[0]))
    assert net.state_dict()["keys.net.weight"].data_ptr() != net.state_dict()["0.weight"].data_ptr()
    with pytest.raises(ValueError, match="zip"):
        MomentumCopy(net[0]).update(nn.Linear(3, 2, bias=False))
