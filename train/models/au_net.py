"""The shipped AU encoder: stage 1 of MEGraph with a geometry branch, and intensity heads."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from train.models.blocks import stages
from train.models.megraph import AFG, FGG, LinearBlock

MAX_INTENSITY = 5.0


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1


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
