"""478 landmarks, head pose and face presence from one crop."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from train.models.blocks import stages

SIDE = 128
_POSE_UNIT_DEG = 30.0


class LandmarkOutput(NamedTuple):
    landmarks: Tensor  # (N, 478, 3) crop pixels
    presence: Tensor  # (N,) logit
    pose: Tensor  # (N, 3) pitch, yaw, roll relative to the crop, degrees


class LandmarkNet(nn.Module):
    """Plain residual network over a 128 px crop; landmarks leave through a low-rank shape basis.

    Input (N, 3, 128, 128) float32, normalised. `mean` (478, 3) and `basis` (K, 478, 3), in crop pixels, start the last
    layer at the shapes that training faces have.
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.stages = stages(widths, blocks)
        final = SIDE // 2 ** len(widths)
        self.squeeze = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * final * final, 192), nn.ReLU(inplace=True))
        self.coefficients = nn.Linear(192, len(basis))
        self.shape = nn.Linear(len(basis), mean.numel())
        self.presence = nn.Linear(192, 1)
        self.pose = nn.Linear(192, 3)
        with torch.no_grad():
            self.shape.weight.copy_(basis.flatten(1).T)
            self.shape.bias.copy_(mean.flatten())

    def forward(self, image: Tensor) -> LandmarkOutput:
        x = image
        for stage in self.stages:
            x = stage(x)
        x = self.squeeze(x)
        landmarks = self.shape(self.coefficients(x)).unflatten(1, (-1, 3))
        return LandmarkOutput(landmarks, self.presence(x)[:, 0], self.pose(x) * _POSE_UNIT_DEG)


class LandmarkExport(nn.Module):
    """The network as the runtime sees it: presence as a probability."""

    def __init__(self, net: LandmarkNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.net(image)
        return out.landmarks, out.presence.sigmoid(), out.pose
