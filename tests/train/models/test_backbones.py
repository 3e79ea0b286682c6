from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rtau.errors import ConfigError
from train.models.backbones import BACKBONES, build_backbone
from train.models.encoder import EncoderConfig, MEGraph, Pooled
from train.models.megraph import CosineHead

WITH_CLASSIFIER = {  # parameters that the published networks have, with 1000 classes
    "swin_t": 28_288_354,
    "swin_s": 49_606_258,
    "swin_b": 87_768_224,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
}
MEGRAPH = {  # millions of parameters: at MEGraph's width for 12 and 8 AUs, at AUNCE's (C = D) for 12 and 8
    "swin_t": (29.9, 29.3, 36.4, 34.0),
    "swin_s": (51.2, 50.6, 57.7, 55.4),
    "swin_b": (91.0, 89.9, 102.5, 98.3),
    "resnet18": (11.5, 11.4, 15.1, 14.1),
    "resnet50": (28.3, 27.2, 86.5, 69.7),
    "resnet101": (47.2, 46.2, 105.5, 88.7),
}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", WITH_CLASSIFIER)
def test_parameters_are_those_of_the_published_networks(name: str) -> None:
    with torch.device("meta"):
        assert parameters(build_backbone(name)) + 1000 * BACKBONES[name].dim + 1000 == WITH_CLASSIFIER[name]


@pytest.mark.parametrize("name", MEGRAPH)
def test_parameters_of_the_whole_encoder_are_those_of_megraph_and_aunce(name: str) -> None:
    dim = BACKBONES[name].dim
    with torch.device("meta"):
        found = [
            parameters(MEGraph(EncoderConfig(backbone=name, channels=width), aus))
            + parameters(CosineHead(width or BACKBONES[name].megraph_channels, aus))
            for width, aus in ((0, 12), (0, 8), (dim, 12), (dim, 8))
        ]
    assert [round(count / 1e6, 1) for count in found] == list(MEGRAPH[name])


@pytest.mark.parametrize("name", BACKBONES)
def test_tokens_cover_the_picture(name: str) -> None:
    net, dim = build_backbone(name).eval(), BACKBONES[name].dim
    side = 64 if name == "light" else 128
    with torch.no_grad():
        assert tuple(net(torch.randn(1, 3, side, side)).shape) == (1, 16, dim)


def test_au_features_are_not_negative_and_pooled_ones_are_the_mean_token() -> None:
    config = EncoderConfig(backbone="light", channels=16, neighbours=30)  # no more neighbours than AUs
    images = torch.randn(3, 3, 32, 32)
    nodes = MEGraph(config, 5)(images)
    assert tuple(nodes.shape) == (3, 5, 16)
    assert (nodes >= 0).all()
    pooled = Pooled(config).eval()
    torch.testing.assert_close(pooled(images), pooled.backbone(images).mean(dim=1))


def test_shifted_windows_do_not_look_across_the_border() -> None:
    """A change in the first column of a map reaches the last one neither plainly nor through the roll."""
    from train.models.swin import WindowAttention

    torch.manual_seed(0)
    attention = WindowAttention(8, 2, shift=3).eval()
    x = torch.randn(1, 14, 14, 8)
    other = x.clone()
    other[:, :, 0] += 1
    changed = (attention(x) - attention(other)).abs().amax(dim=(0, 1, 3)) > 1e-6
    assert changed.tolist() == [i < 3 for i in range(14)]


def test_weights_come_from_a_file_and_a_classifier_is_left_out(tmp_path: Path) -> None:
    net = build_backbone("resnet18")
    state = {**net.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "net.safetensors")
    torch.save({"model": state}, tmp_path / "net.pth")
    for file in ("net.safetensors", "net.pth"):
        read = build_backbone("resnet18", str(tmp_path / file))
        torch.testing.assert_close(read.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    for name, file, text in (
        ("resnet50", "net.pth", "lacks .* tensors of resnet50"),
        ("resnet18", "none.pth", "none.pth"),
        ("light", "imagenet", "no ImageNet weights of light"),
    ):
        with pytest.raises(ConfigError, match=text):
            build_backbone(name, file if file == "imagenet" else str(tmp_path / file))
