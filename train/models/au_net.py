"""The shipped AU encoder: stage 1 of MEGraph that also hears the layout of the whole face and its landmarks.

Each AU's node is MEGraph's mean over tokens plus what small perceptrons read from all tokens in their places, from the
finer map before them, from the aligned landmarks, and from where the pixels alone show the landmarks.
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
_FINE = 12  # the same on the map before the last, which has four times the places


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1
    traced: Tensor  # (N, traced, 2) where the pixels alone show some landmarks, crop pixels from their usual places


class AUNet(nn.Module):
    """Image (N, 3, 112, 112) normalised and points (N, 478, 2), landmarks in crop widths about its middle.

    `sided` says for each AU whether left and right may differ. `traced` is how many landmarks the pixels
    are asked for.
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
        self.fine = nn.Conv2d(widths[-2], _FINE, 1)
        self.fine_layout = nn.Sequential(nn.Linear(4 * tokens * _FINE, _HIDDEN), nn.BatchNorm1d(_HIDDEN))
        self.trace = nn.Linear(_HIDDEN, 2 * traced)
        self.fine_trace = _silent(nn.Linear(_HIDDEN, 2 * traced))
        self.shape = nn.Sequential(nn.Linear(2 * traced, _HIDDEN), nn.BatchNorm1d(_HIDDEN))
        self.geometry = nn.Sequential(nn.Linear(points * 2, _HIDDEN), nn.BatchNorm1d(_HIDDEN))
        self.join = nn.Linear(2 * _HIDDEN, aus * channels)
        self.fine_join = _silent(nn.Linear(2 * _HIDDEN, aus * channels))
        self.fgg = FGG(channels, aus, neighbours)
        self.side = nn.Parameter(torch.randn(aus, channels, 2) / channels**0.5)
        self.side_bias = nn.Parameter(torch.full((aus, 2), -2.0))
        self.slope = nn.Parameter(torch.full((aus,), 2.0))
        self.sided: Tensor
        self.register_buffer("sided", torch.tensor(sided))

    def forward(self, image: Tensor, points: Tensor) -> AUOutput:
        x = image
        for stage in self.stages:
            x, before = stage(x), x
        tokens = self.project(x.flatten(2).transpose(1, 2))  # (N, T, C)
        nodes = self.afg(tokens + self.place)
        layout = self.layout(self.narrow(tokens).flatten(1)).relu()
        fine = self.fine_layout(self.fine(before).relu().flatten(1)).relu()
        traced = self.trace(layout) + self.fine_trace(fine)
        whole = self.join(torch.cat([layout, self.geometry(points.flatten(1)).relu()], dim=1))
        whole = whole + self.fine_join(torch.cat([fine, self.shape(traced).relu()], dim=1))
        nodes = (nodes + whole.view_as(nodes)).relu()
        embeddings = self.fgg(nodes)
        raw = (embeddings.unsqueeze(-1) * self.side).sum(dim=2) + self.side_bias  # (N, A, 2)
        raw = torch.where(self.sided[:, None], raw, raw.mean(dim=-1, keepdim=True))
        left, right = (MAX_INTENSITY * raw.sigmoid()).unbind(-1)
        intensity = torch.maximum(left, right)
        logits = softplus(self.slope) * (intensity - 1)
        return AUOutput(embeddings, left, right, intensity, logits, traced.unflatten(1, (-1, 2)))


def _silent(layer: nn.Linear) -> nn.Linear:
    """A layer that says nothing until it has learnt something: it can join a network that is already trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class AUExport(nn.Module):
    """The network as the runtime sees it: occurrence, intensity, left, right, each (N, A)."""

    def __init__(self, net: AUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self.net(image, points)
        return out.logits.sigmoid(), out.intensity, out.left, out.right
