import pytest
import torch

from train.models.megraph import AFG, FGG, AUNet


def network(sided: tuple[bool, ...] = (True, False, True)) -> AUNet:
    torch.manual_seed(0)
    return AUNet((8, 16, 16, 16), (0, 0, 0, 1), channels=8, neighbours=2, sided=sided).eval()


def test_afg_equals_one_linear_block_per_au() -> None:
    torch.manual_seed(0)
    afg, x = AFG(channels=4, aus=3), torch.randn(5, 7, 4)
    together = afg(x)
    weight, bias = afg.block.linear.weight.unflatten(0, (3, 4)), afg.block.linear.bias.unflatten(0, (3, 4))
    for a in range(3):
        y = x @ weight[a].T + bias[a]
        mean, var = y.mean((0, 1)), y.var((0, 1), unbiased=False)
        alone = ((y - mean) / (var + 1e-5).sqrt()).relu().mean(1)
        torch.testing.assert_close(together[:, a], alone, atol=1e-5, rtol=1e-5)


def test_fgg_is_the_equation_with_k_neighbours() -> None:
    torch.manual_seed(0)
    fgg, nodes = FGG(channels=6, aus=5, neighbours=2).eval(), torch.rand(1, 5, 6)
    similar = nodes[0] @ nodes[0].T
    edges = torch.zeros(5, 5)
    for row in range(5):
        edges[row, similar[row].topk(2).indices] = 1
    graph = edges / 2  # without ties every row has K edges
    mixed = graph @ fgg.v(nodes[0]) + fgg.u(nodes[0])
    expected = (nodes[0] + mixed / (1 + 1e-5) ** 0.5).relu()  # running statistics are 0 and 1
    torch.testing.assert_close(fgg(nodes)[0], expected, atol=1e-5, rtol=1e-5)


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
