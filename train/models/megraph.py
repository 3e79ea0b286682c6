"""The AU encoder: stage 1 of MEGraph (backbone, AFG, FGG) with a geometry branch, and intensity heads.

Luo et al., IJCAI 2022, arXiv 2205.01782. Ours beside the paper: a light backbone at 112 px, node features that also
hear the aligned landmarks, and left and right intensity read from each AU's embedding.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from train.models.blocks import stages

MAX_INTENSITY = 5.0


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1


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


class AUNet(nn.Module):
    """Image (N, 3, 112, 112) normalised and points (N, 478, 2), landmarks in crop widths about its middle.

    `sided` says for each AU whether left and right may differ.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        channels: int,
        neighbours: int,
        sided: tuple[bool, ...],
        points: int = 478,
        side: int = 112,
    ) -> None:
        super().__init__()
        aus = len(sided)
        self.stages = stages(widths, blocks)
        self.project = LinearBlock(widths[-1], channels, fan=channels)
        self.place = nn.Parameter(torch.zeros((side // 2 ** len(widths)) ** 2, channels))  # faces are aligned
        self.afg = AFG(channels, aus)
        self.geometry = nn.Sequential(
            nn.Flatten(), nn.Linear(points * 2, 192), nn.BatchNorm1d(192), nn.ReLU(inplace=True),
            nn.Linear(192, aus * channels),
        )  # fmt: skip
        self.fgg = FGG(channels, aus, neighbours)
        self.side = nn.Parameter(torch.randn(aus, channels, 2) / channels**0.5)
        self.side_bias = nn.Parameter(torch.full((aus, 2), -2.0))
        self.slope = nn.Parameter(torch.full((aus,), 2.0))
        self.sided: Tensor
        self.register_buffer("sided", torch.tensor(sided))

    def forward(self, image: Tensor, points: Tensor) -> AUOutput:
        x = image
        for stage in self.stages:
            x = stage(x)
        nodes = self.afg(self.project(x.flatten(2).transpose(1, 2)) + self.place)
        nodes = (nodes + self.geometry(points).view_as(nodes)).relu()
        embeddings = self.fgg(nodes)
        raw = (embeddings.unsqueeze(-1) * self.side).sum(dim=2) + self.side_bias  # (N, A, 2)
        raw = torch.where(self.sided[:, None], raw, raw.mean(dim=-1, keepdim=True))
        left, right = (MAX_INTENSITY * raw.sigmoid()).unbind(-1)
        intensity = torch.maximum(left, right)
        return AUOutput(embeddings, left, right, intensity, softplus(self.slope) * (intensity - 1))


class AUExport(nn.Module):
    """The network as the runtime sees it: occurrence, intensity, left, right, each (N, A)."""

    def __init__(self, net: AUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self.net(image, points)
        return out.logits.sigmoid(), out.intensity, out.left, out.right
