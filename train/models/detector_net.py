"""A single-shot face detector: plain backbone, one top-down path, one map with a cell every 8 pixels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from train.models.blocks import conv, stages

STRIDE = 8


class DetectorOutput(NamedTuple):
    score: Tensor  # (N, h, w) logit
    box: Tensor  # (N, 4, h, w) distances left, top, right, bottom from the cell's centre, input pixels, > 0


class DetectorNet(nn.Module):
    """Input (N, 3, H, W) float32, normalised; H and W multiples of 32."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], neck: int) -> None:
        super().__init__()
        self.stages = stages(widths, blocks)
        self.lateral = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths[2:])
        self.merge = conv(neck, neck)
        self.score = nn.Conv2d(neck, 1, 1)
        self.box = nn.Conv2d(neck, 4, 1)
        for head, start in ((self.score, -4.0), (self.box, 1.0)):  # faces are rare, and larger than a cell
            assert head.bias is not None
            nn.init.constant_(head.bias, start)

    def forward(self, image: Tensor) -> DetectorOutput:
        maps, x = [], image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        top: Tensor | None = None
        for lateral, level in zip(reversed(self.lateral), reversed(maps[2:]), strict=True):
            here = lateral(level)
            top = here if top is None else here + interpolate(top, scale_factor=2.0, mode="nearest")
        x = self.merge(top)
        return DetectorOutput(self.score(x)[:, 0], self.box(x).clamp(-3, 5).exp() * STRIDE)


class DetectorExport(nn.Module):
    """The network as the runtime sees it: scores as probabilities."""

    def __init__(self, net: DetectorNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        out = self.net(image)
        return out.score.sigmoid(), out.box


def cell_centres(height: int, width: int) -> Tensor:
    """(2, h, w) x and y of the cells of a map, in input pixels."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y]) + 0.5) * STRIDE
