"""Stage 1 of MEGraph after the backbone: features of each AU (AFG) and their graph (FGG).

Luo et al., IJCAI 2022, arXiv 2205.01782.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class LinearBlock(nn.Module):
    """Linear, BatchNorm over batch and tokens, ReLU: (N, T, inputs) -> (N, T, outputs). He-like initialisation."""

    def __init__(self, inputs: int, outputs: int, fan: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)
        nn.init.normal_(self.linear.weight, std=(2.0 / fan) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        out: Tensor = self.norm(y.flatten(0, 1)).relu().view_as(y)
        return out


class AFG(nn.Module):
    """AU-specific features: a LinearBlock(C -> C) per AU, as one product; (N, T, C) -> mean over tokens (N, A, C)."""

    def __init__(self, channels: int, aus: int) -> None:
        super().__init__()
        self.block = LinearBlock(channels, aus * channels, fan=channels)
        self.aus = aus

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x).mean(dim=1).unflatten(1, (self.aus, -1))
        return out


class FGG(nn.Module):
    """Graph layer on the K most similar nodes of each image: V' = ReLU(V + BN(A V W + V U)); (N, A, C) unchanged."""

    def __init__(self, channels: int, aus: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.u, self.v = nn.Linear(channels, channels), nn.Linear(channels, channels)
        for linear in (self.u, self.v):
            nn.init.normal_(linear.weight, std=(2.0 / channels) ** 0.5)
        self.norm = nn.BatchNorm1d(aus)

    def forward(self, nodes: Tensor) -> Tensor:
        with torch.no_grad():
            similar = nodes @ nodes.transpose(1, 2)  # (N, A, A)
            threshold = similar.topk(self.neighbours, dim=-1).values[..., -1:]
            edges = (similar >= threshold).to(nodes.dtype)
            root = edges.sum(dim=-1).rsqrt()
            graph = root[:, :, None] * edges * root[:, None, :]
        out: Tensor = (nodes + self.norm(graph @ self.v(nodes) + self.u(nodes))).relu()
        return out


class CosineHead(nn.Module):
    """One trainable vector an AU: cosine of a node and its rectified vector, (N, A, C) >= 0 -> (N, A) in [0, 1]."""

    def __init__(self, channels: int, aus: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(aus, channels))
        nn.init.xavier_uniform_(self.vectors)

    def forward(self, nodes: Tensor) -> Tensor:
        return (normalize(nodes, dim=-1) * normalize(self.vectors.relu(), dim=-1)).sum(dim=-1)
