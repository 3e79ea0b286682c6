"""Backbones by name: images (B, 3, S, S) -> tokens of the last map (B, T, D), 32 times coarser (`light`: 16).

Written here because timm needs torchvision, whose registry build does not load beside a CPU-only torch. Tensor names
are those of the published weights: torchvision's for ResNets, Microsoft's for Swin.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rtau.errors import ConfigError
from train.models.blocks import stages
from train.models.resnet import BasicBlock, Bottleneck, ResNet
from train.models.swin import Swin

_TORCHVISION = "https://download.pytorch.org/models"
_MICROSOFT = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"
_LIGHT = (16, 32, 64, 128)


class Light(nn.Module):
    """Plain residual stages for CPUs, the backbone of the shipped AU encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = stages(_LIGHT, (0, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x.flatten(2).transpose(1, 2)


class Backbone(NamedTuple):
    """A row of the table."""

    build: Callable[[], nn.Module]
    dim: int  # D of the tokens
    megraph_channels: int  # C that MEGraph gives it
    imagenet: str = ""  # ImageNet-1k weights


BACKBONES: dict[str, Backbone] = {
    "swin_t": Backbone(
        lambda: Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), drop_path=0.2),
        768,
        384,
        f"{_MICROSOFT}/swin_tiny_patch4_window7_224.pth",
    ),
    "swin_s": Backbone(
        lambda: Swin(96, (2, 2, 18, 2), (3, 6, 12, 24), drop_path=0.3),
        768,
        384,
        f"{_MICROSOFT}/swin_small_patch4_window7_224.pth",
    ),
    "swin_b": Backbone(
        lambda: Swin(128, (2, 2, 18, 2), (4, 8, 16, 32), drop_path=0.5),
        1024,
        512,
        f"{_MICROSOFT}/swin_base_patch4_window7_224.pth",
    ),
    "resnet18": Backbone(lambda: ResNet(BasicBlock, (2, 2, 2, 2)), 512, 128, f"{_TORCHVISION}/resnet18-5c106cde.pth"),
    "resnet50": Backbone(lambda: ResNet(Bottleneck, (3, 4, 6, 3)), 2048, 512, f"{_TORCHVISION}/resnet50-19c8e357.pth"),
    "resnet101": Backbone(
        lambda: ResNet(Bottleneck, (3, 4, 23, 3)), 2048, 512, f"{_TORCHVISION}/resnet101-5d3b4d8f.pth"
    ),
    "light": Backbone(Light, _LIGHT[-1], 64),
}


def build_backbone(name: str, weights: str = "") -> nn.Module:
    """The backbone `name`, with random weights, those of ImageNet, or those of a file.

    Raises ConfigError when the weights cannot be had or do not fit; a classifier among them is left out.
    """
    net = BACKBONES[name].build()
    if not weights:
        return net
    state = _read(name, weights)
    own = set(net.state_dict())
    missing = sorted(own - set(state))
    if missing:
        raise ConfigError(f"encoder.weights: {weights} lacks {len(missing)} tensors of {name}, such as {missing[0]}")
    try:
        net.load_state_dict({key: value for key, value in state.items() if key in own})
    except RuntimeError as error:
        raise ConfigError(f"encoder.weights: {weights} does not fit {name}: {str(error).splitlines()[-1]}") from error
    return net


def _read(name: str, weights: str) -> dict[str, Tensor]:
    """Tensors by name. Nothing is unpickled beyond tensors."""
    try:
        if weights == "imagenet":
            url = BACKBONES[name].imagenet
            if not url:
                raise ConfigError(f"encoder.weights: there are no ImageNet weights of {name}")
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
        elif weights.endswith(".safetensors"):
            state = load_file(weights)
        else:
            state = torch.load(Path(weights), map_location="cpu", weights_only=True)
    except OSError as error:
        advice = "; fetch the file elsewhere and give its path" if weights == "imagenet" else ""
        raise ConfigError(f"encoder.weights: {weights}: {error}{advice}") from error
    inner = state.get("model", state)  # Microsoft's files hold {"model": tensors}
    if not isinstance(inner, dict):
        raise ConfigError(f"encoder.weights: {weights} holds no tensors by name")
    return inner
