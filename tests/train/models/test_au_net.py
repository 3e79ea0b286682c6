import pytest
import torch

from train.models.au_net import AUNet


def network(sided: tuple[bool, ...] = (True, False, True)) -> AUNet:
    torch.manual_seed(0)
    usual = torch.rand(478, 2) - 0.5
    return AUNet((8, 16, 16, 16), (0, 0, 0, 1), 8, 2, sided, looked_at=(4, 33, 263), usual=usual, side=112).eval()


def test_occurrence_is_a_half_where_the_intensity_is_one() -> None:
    out = network()(torch.randn(4, 3, 112, 112), torch.rand(4, 478, 2) - 0.5)
    assert ((out.logits.sigmoid() >= 0.5) == (out.intensity >= 1)).all()
    assert ((out.intensity >= 0) & (out.intensity <= 5)).all()
    assert (out.embeddings >= 0).all()
    torch.testing.assert_close(out.intensity, torch.maximum(out.left, out.right))


def test_an_au_without_sides_is_the_same_on_both() -> None:
    out = network()(torch.randn(2, 3, 112, 112), torch.rand(2, 478, 2) - 0.5)
    assert (out.left[:, 1] == out.right[:, 1]).all()
    assert (out.left[:, 0] != out.right[:, 0]).any()


def test_a_face_is_read_the_same_in_any_company() -> None:
    net, image, points = network(), torch.randn(5, 3, 112, 112), torch.rand(5, 478, 2) - 0.5
    together, alone = net(image, points).intensity, net(image[2:3], points[2:3]).intensity
    assert together[2].tolist() == pytest.approx(alone[0].tolist(), abs=1e-4)


def test_the_picture_is_looked_at_where_the_points_are() -> None:
    net, points = network(), torch.zeros(1, 478, 2)
    points[:, 33] = torch.tensor([0.25, -0.25])  # right and above the middle
    torch.nn.init.ones_(net.move)
    dark, bright = torch.zeros(1, 3, 112, 112), torch.zeros(1, 3, 112, 112)
    bright[:, :, 20:36, 76:92] = 4
    changed = (net(bright, points).moved - net(dark, points).moved).abs().sum(dim=(0, 1, 3))
    assert changed[1] > 5 * changed[0]
    assert changed[1] > 5 * changed[2]
