import pytest
import torch

from train.models.au_net import AUNet


def network(sided: tuple[bool, ...] = (True, False, True)) -> AUNet:
    torch.manual_seed(0)
    return AUNet((8, 16, 16, 16), (0, 0, 0, 1), channels=8, neighbours=2, sided=sided, traced=5).eval()


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
