"""The shipped AU encoder: stage 1 of MEGraph that also hears the layout of the whole face and its landmarks.

Each AU's node is MEGraph's mean over tokens plus what a small perceptron reads from all tokens in their places and from
the aligned landmarks.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from train.models.blocks import stages
from train.models.megraph import AFG, FGG, LinearBlock

MAX_INTENSITY = 5.0
_HIDDEN = 192  # of what the whole face, pixels and points, says about each AU
_NARROW = 32  # channels in which the whole face's pixels are looked at


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1
    traced: Tensor  # (N, traced, 2) where the pixels alone show some landmarks, crop pixels from their usual places


class AUNet(nn.Module):
    """Image (N, 3, 112, 112) normalised and points (N, 478, 2), landmarks in crop widths about its middle.

    `sided` says for each AU whether left and right may differ. `traced` landmarks are an auxiliary target.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        channels: int,
        neighbours: int,
        sided: tuple[bool, ...],
        traced: int,
        points: int = 478,
        side: int = 112,
    ) -> None:
        super().__init__()
        aus, tokens = len(sided), (side // 2 ** len(widths)) ** 2
        self.stages = stages(widths, blocks)
        self.project = LinearBlock(widths[-1], channels, fan=channels)
        self.place = nn.Parameter(torch.zeros(tokens, channels))  # faces are aligned
        self.afg = AFG(channels, aus)
        self.narrow = nn.Linear(channels, _NARROW)
        self.layout = nn.Sequential(nn.Linear(tokens * _NARROW, _HIDDEN), nn.BatchNorm1d(_HIDDEN))
        self.trace = nn.Linear(_HIDDEN, 2 * traced)  # teaches the pixels where things are; not run afterwards
        self.geometry = nn.Sequential(nn.Linear(points * 2, _HIDDEN), nn.BatchNorm1d(_HIDDEN))
        self.join = nn.Linear(2 * _HIDDEN, aus * channels)
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
        tokens = self.project(x.flatten(2).transpose(1, 2))  # (N, T, C)
        nodes = self.afg(tokens + self.place)
        layout = self.layout(self.narrow(tokens).flatten(1)).relu()
        whole = torch.cat([layout, self.geometry(points.flatten(1)).relu()], dim=1)
        nodes = (nodes + self.join(whole).view_as(nodes)).relu()
        embeddings = self.fgg(nodes)
        raw = (embeddings.unsqueeze(-1) * self.side).sum(dim=2) + self.side_bias  # (N, A, 2)
        raw = torch.where(self.sided[:, None], raw, raw.mean(dim=-1, keepdim=True))
        left, right = (MAX_INTENSITY * raw.sigmoid()).unbind(-1)
        intensity = torch.maximum(left, right)
        traced = self.trace(layout).unflatten(1, (-1, 2))
        logits = softplus(self.slope) * (intensity - 1)
        return AUOutput(embeddings, left, right, intensity, logits, traced)


class AUExport(nn.Module):
    """The network as the runtime sees it: occurrence, intensity, left, right, each (N, A)."""

    def __init__(self, net: AUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self.net(image, points)
        return out.logits.sigmoid(), out.intensity, out.left, out.right
