"""The shipped AU encoder: stage 1 of MEGraph that also looks closely at the landmarks and hears the whole face.

Each node is MEGraph's mean over tokens plus what four small perceptrons read: from all tokens in their places, from the
finer maps at each landmark, from the aligned landmarks, and from where those maps say that the landmarks really are.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, softplus

from train.models.blocks import conv, stages
from train.models.megraph import AFG, FGG, LinearBlock

MAX_INTENSITY = 5.0
_HIDDEN = 192  # of what each part of the whole face says about the AUs
_NARROW = 32  # channels in which the whole face's tokens are looked at
_NEAR = 16  # numbers that describe the picture at one landmark
_FEW_PX = 4.0  # so far landmarks lie from their usual places


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1
    traced: Tensor  # (N, P, 2) where the pixels alone show some landmarks, crop pixels from their usual places
    moved: Tensor  # (N, P, 2) where the pixels around these landmarks show them, crop pixels from where they were given


class AUNet(nn.Module):
    """Image (N, 3, S, S) normalised and points (N, 478, 2), landmarks in crop widths about its middle.

    `sided` says for each AU whether left and right may differ. `looked_at` are the P landmarks around which the pixels
    are read closely, `usual` (478, 2) the places of all landmarks in an average crop, in the units of `points`.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        channels: int,
        neighbours: int,
        sided: tuple[bool, ...],
        looked_at: tuple[int, ...],
        usual: Tensor,
        side: int,
    ) -> None:
        super().__init__()
        aus, tokens, near = len(sided), (side // 2 ** len(widths)) ** 2, len(looked_at)
        self.stages = stages(widths, blocks)
        self.project = LinearBlock(widths[-1], channels, fan=channels)
        self.place = nn.Parameter(torch.zeros(tokens, channels))  # faces are aligned
        self.afg = AFG(channels, aus)
        self.narrow = nn.Linear(channels, _NARROW)
        self.layout = _part(tokens * _NARROW)
        self.trace = nn.Linear(_HIDDEN, 2 * near)
        self.close = conv(widths[1], widths[1])
        self.near = nn.Parameter(torch.randn(near, widths[1] + widths[2], _NEAR) / (widths[1] + widths[2]) ** 0.5)
        self.near_norm = nn.BatchNorm1d(near * _NEAR)
        self.move = nn.Parameter(torch.zeros(near, _NEAR, 2))
        self.detail = _part(near * _NEAR)
        self.geometry = _part(2 * len(usual))
        self.shape = _part(2 * near)
        self.join = nn.Linear(4 * _HIDDEN, aus * channels)
        self.fgg = FGG(channels, aus, neighbours)
        self.side = nn.Parameter(torch.randn(aus, channels, 2) / channels**0.5)
        self.side_bias = nn.Parameter(torch.full((aus, 2), -2.0))
        self.slope = nn.Parameter(torch.full((aus,), 2.0))
        self.pixels = side
        self.sided: Tensor
        self.usual: Tensor
        self.looked_at: Tensor
        self.register_buffer("sided", torch.tensor(sided))
        self.register_buffer("usual", usual)
        self.register_buffer("looked_at", torch.tensor(looked_at))

    def forward(self, image: Tensor, points: Tensor) -> AUOutput:
        maps, x = [], image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        tokens = self.project(x.flatten(2).transpose(1, 2))  # (N, T, C)
        layout = self.layout(self.narrow(tokens).flatten(1)).relu()
        near = self._near(self.close(maps[1]), maps[2], points[:, self.looked_at])
        moved = torch.einsum("npk,pkc->npc", near, self.move)
        apart = (points - self.usual) * self.pixels  # (N, 478, 2) crop pixels
        shape = apart[:, self.looked_at] + moved
        whole = [
            layout,
            self.detail(near.flatten(1)).relu(),
            self.geometry(apart.flatten(1) / _FEW_PX).relu(),
            self.shape(shape.flatten(1) / _FEW_PX).relu(),
        ]
        nodes = self.afg(tokens + self.place)
        nodes = (nodes + self.join(torch.cat(whole, dim=1)).view_as(nodes)).relu()
        embeddings = self.fgg(nodes)
        raw = (embeddings.unsqueeze(-1) * self.side).sum(dim=2) + self.side_bias  # (N, A, 2)
        raw = torch.where(self.sided[:, None], raw, raw.mean(dim=-1, keepdim=True))
        left, right = (MAX_INTENSITY * raw.sigmoid()).unbind(-1)
        intensity = torch.maximum(left, right)
        logits = softplus(self.slope) * (intensity - 1)
        traced = self.trace(layout).unflatten(1, (-1, 2))
        return AUOutput(embeddings, left, right, intensity, logits, traced, moved)

    def _near(self, fine: Tensor, coarse: Tensor, points: Tensor) -> Tensor:
        """What the maps (N, C, H, W) show at the points (N, P, 2): (N, P, K) >= 0, each point read in its own way."""
        grid = 2 * points[:, :, None]  # (N, P, 1, 2) in [-1, 1] across the map
        seen = [
            grid_sample(x.float(), grid, padding_mode="border", align_corners=False)[..., 0] for x in (fine, coarse)
        ]
        read = torch.einsum("ncp,pck->npk", torch.cat(seen, dim=1), self.near)
        out: Tensor = self.near_norm(read.flatten(1)).relu().view_as(read)
        return out


def _part(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, _HIDDEN), nn.BatchNorm1d(_HIDDEN))


class AUExport(nn.Module):
    """The network as the runtime sees it: occurrence, intensity, left, right, each (N, A)."""

    def __init__(self, net: AUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self.net(image, points)
        return out.logits.sigmoid(), out.intensity, out.left, out.right
