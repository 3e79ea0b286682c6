"""The encoder that the papers share: a backbone by name, behind it stage 1 of MEGraph or a plain mean."""

from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from train.models.backbones import BACKBONES, build_backbone
from train.models.megraph import AFG, FGG, LinearBlock


class EncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which encoder; see BACKBONES for the names."""

    backbone: str
    weights: str = ""  # "": random; "imagenet": fetched once; or a file (.safetensors, .pth)
    channels: Annotated[int, Meta(ge=0)] = 0  # C of the nodes; 0: MEGraph's width. AUNCE takes the backbone's own (D)
    neighbours: Annotated[int, Meta(ge=1)] = 4  # K of the graph

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {self.backbone}")

    @property
    def width(self) -> int:
        """C of the nodes."""
        return self.channels or BACKBONES[self.backbone].megraph_channels


class MEGraph(nn.Module):
    """Images (B, 3, S, S) -> AU features (B, N, C) >= 0: backbone, one LinearBlock(D -> C), AFG, FGG."""

    def __init__(self, config: EncoderConfig, aus: int) -> None:
        super().__init__()
        channels, dim = config.width, BACKBONES[config.backbone].dim
        self.backbone = build_backbone(config.backbone, config.weights)
        self.project = LinearBlock(dim, channels, fan=channels)
        self.afg = AFG(channels, aus)
        self.fgg = FGG(channels, aus, min(config.neighbours, aus))

    def forward(self, images: Tensor) -> Tensor:
        nodes: Tensor = self.fgg(self.afg(self.project(self.backbone(images))))
        return nodes


class Pooled(nn.Module):
    """Images (B, 3, S, S) -> the backbone's mean token (B, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone, config.weights)
        self.dim = BACKBONES[config.backbone].dim

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.backbone(images).mean(dim=1)
        return pooled
