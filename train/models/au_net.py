"""The shipped AU encoder: stage 1 of MEGraph that also looks closely at the landmarks and hears the whole face.

Each node is MEGraph's mean over tokens plus what four small perceptrons read: from all tokens in their places, from the
finer maps at each landmark, from the aligned landmarks, and from where those maps say that the landmarks really are.
The maps are looked at twice: where the landmarks were given, and where the first look found them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, softplus

from train.models.blocks import conv, stages
from train.models.megraph import AFG, FGG, LinearBlock

MAX_INTENSITY = 5.0
_HIDDEN = 160  # of what each part of the whole face says about the AUs
_JOINED = 128  # of what all of them say together
_FORM = 64  # of what the looks at all landmarks say about the place of each
_NARROW = 24  # channels in which the whole face's tokens are looked at
_NEAR = 12  # numbers that describe the picture at one landmark
_STEP_PX = 2.0  # from a landmark to the four places about it
_CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_FEW_PX = 4.0  # so far landmarks lie from their usual places


class AUOutput(NamedTuple):
    embeddings: Tensor  # (N, A, C) >= 0, what the contrastive loss sees
    left: Tensor  # (N, A) intensity 0-5, the subject's left
    right: Tensor  # (N, A)
    intensity: Tensor  # (N, A) the stronger side; both are equal for AUs without sides
    logits: Tensor  # (N, A) of occurrence; 0 where the intensity is 1
    traced: Tensor  # (N, P, 2) where the pixels alone show some landmarks, crop pixels from their usual places
    moved: Tensor  # (N, 2, P, 2) where the first and the second look show them, crop pixels from where they were given


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
        self.first = Look(widths[1] + widths[2], near)
        self.second = Look(len(_CROSS) * widths[0] + widths[1] + widths[2], near)
        self.detail = _part(near * _NEAR)
        self.geometry = _part(2 * len(usual))
        self.shape = _part(2 * near)
        self.join = nn.Sequential(_part(4 * _HIDDEN, _JOINED), nn.ReLU(), nn.Linear(_JOINED, aus * channels))
        self.fgg = FGG(channels, aus, neighbours)
        self.side = nn.Parameter(torch.randn(aus, channels, 2) / channels**0.5)
        self.side_bias = nn.Parameter(torch.full((aus, 2), -2.0))
        self.slope = nn.Parameter(torch.full((aus,), 2.0))
        self.pixels = side
        self.sided: Tensor
        self.usual: Tensor
        self.looked_at: Tensor
        self.cross: Tensor
        self.register_buffer("sided", torch.tensor(sided))
        self.register_buffer("usual", usual)
        self.register_buffer("looked_at", torch.tensor(looked_at))
        self.register_buffer("cross", _STEP_PX / side * torch.tensor(_CROSS, dtype=torch.float32))

    def forward(self, image: Tensor, points: Tensor) -> AUOutput:
        maps, x = [], image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        tokens = self.project(x.flatten(2).transpose(1, 2))  # (N, T, C)
        layout = self.layout(self.narrow(tokens).flatten(1)).relu()
        given = points[:, self.looked_at]
        medium = [self.close(maps[1]), maps[2]]
        _, approached = self.first(_sampled(medium, given))
        nearer = given + approached.detach() / self.pixels
        about = (nearer[:, :, None] + self.cross).flatten(1, 2)  # (N, P * 5, 2)
        fine = _sampled(maps[:1], about).reshape(*given.shape[:2], -1)
        near, rest = self.second(torch.cat([fine, _sampled(medium, nearer)], dim=2))
        moved = approached + rest
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
        return AUOutput(embeddings, left, right, intensity, logits, traced, torch.stack([approached, moved], dim=1))


class Look(nn.Module):
    """What is to be seen at P landmarks (N, P, C), each read in its own way: (N, P, K) >= 0, and their moves (N, P, 2).

    A landmark moves, in crop pixels, by what it sees itself and by what all see together.
    """

    def __init__(self, channels: int, landmarks: int) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.randn(landmarks, channels, _NEAR) / channels**0.5)
        self.norm = nn.BatchNorm1d(landmarks * _NEAR)
        self.own = nn.Parameter(torch.zeros(landmarks, _NEAR, 2))
        self.form = nn.Sequential(_part(landmarks * _NEAR, _FORM), nn.ReLU(), nn.Linear(_FORM, 2 * landmarks))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        read = torch.einsum("npc,pck->npk", seen, self.read)
        near = self.norm(read.flatten(1)).relu()
        own = torch.einsum("npk,pkc->npc", near.view_as(read), self.own)
        return near.view_as(read), own + self.form(near).view_as(own)


def _sampled(maps: list[Tensor], points: Tensor) -> Tensor:
    """The maps (N, C, H, W) at points (N, P, 2) in crop widths about the middle: (N, P, sum of C)."""
    grid = 2 * points[:, :, None]  # (N, P, 1, 2) in [-1, 1] across the map
    seen = [grid_sample(x.float(), grid, padding_mode="border", align_corners=False)[..., 0] for x in maps]
    return torch.cat(seen, dim=1).transpose(1, 2)


def _part(inputs: int, outputs: int = _HIDDEN) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs))


class AUExport(nn.Module):
    """The network as the runtime sees it: occurrence, intensity, left, right, each (N, A)."""

    def __init__(self, net: AUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = self.net(image, points)
        return out.logits.sigmoid(), out.intensity, out.left, out.right
