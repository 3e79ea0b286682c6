import torch

from train.models.megraph import AFG, FGG


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
