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


DARK, BRIGHT = torch.zeros(1, 3, 112, 112), torch.zeros(1, 3, 112, 112)
BRIGHT[:, :, 20:36, 76:92] = 4  # right and above the middle
THERE = torch.tensor([0.25, -0.25])


def looking(net: AUNet) -> AUNet:
    """Each landmark moves only by what it sees itself."""
    for look in (net.first, net.second):
        last = look.form[-1]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        torch.nn.init.ones_(look.own)
    return net


def test_the_picture_is_looked_at_where_the_points_are() -> None:
    net, points = looking(network()), torch.zeros(1, 478, 2)
    points[:, 33] = THERE
    changed = (net(BRIGHT, points).moved - net(DARK, points).moved)[0, 0].abs().sum(dim=1)
    assert changed[1] > 5 * changed[0]
    assert changed[1] > 5 * changed[2]


def test_the_second_look_is_where_the_first_found_the_landmark() -> None:
    net, points = looking(network()), torch.zeros(1, 478, 2)
    torch.nn.init.zeros_(net.first.own)
    last = net.first.form[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.bias[:2] = THERE * 112
    first, second = (net(BRIGHT, points).moved - net(DARK, points).moved)[0].abs().sum(dim=2)
    assert (first == 0).all()
    assert second[0] > 5 * second[1]
