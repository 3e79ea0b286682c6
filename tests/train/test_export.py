"""What is exported runs on the CPU, and on a GPU where its operators are known there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rtau.engines.onnx_torch import OnnxNet
from rtau.errors import ModelError
from rtau.models import load_artifact
from train.export import write_artifact
from train.models.backbones import BACKBONES
from train.models.blocks import stages
from train.models.encoder import EncoderConfig, MEGraph
from train.models.resnet import BasicBlock, ResNet
from train.models.swin import Swin

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # PyTorch's exporter, of PyTorch

CARD = load_artifact("default", "identity").card


class Small(nn.Module):
    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.stages, self.last = stages((4, 8), (1, 1)), last

    def forward(self, image: Tensor) -> tuple[Tensor]:
        for stage in self.stages:
            image = stage(image)
        return (self.last(image.flatten(2).mean(-1)),)


def test_an_exported_network_is_an_artifact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_artifact(tmp_path, Small(nn.Linear(8, 4)), {"image": torch.randn(2, 3, 16, 16)}, {"image": {0: "n"}}, CARD)
    assert load_artifact(str(tmp_path), "identity").card.sha256 != CARD.sha256


def test_a_network_that_gpus_cannot_read_still_runs_on_the_cpu(tmp_path: Path) -> None:
    write_artifact(tmp_path, Small(nn.Tanh()), {"image": torch.randn(2, 3, 16, 16)}, {"image": {0: "n"}}, CARD)
    assert load_artifact(str(tmp_path), "identity").card.sha256 != CARD.sha256
    with pytest.raises(ModelError, match=r"model\.onnx: GPU engines do not know its operator Tanh"):
        OnnxNet(tmp_path / "model.onnx")


class Occurrence(nn.Module):
    """An encoder and a head, as a trained run is exported."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.encoder, self.head = MEGraph(EncoderConfig(backbone=backbone, channels=8), aus=3), nn.Linear(8, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.head(self.encoder(image)).squeeze(-1).sigmoid() ** 2.32,)


@pytest.mark.filterwarnings("ignore:# The axis name:UserWarning")
@pytest.mark.parametrize(
    ("name", "build", "dim", "side"),
    [
        ("swin_t", lambda: Swin(16, (2, 1), (1, 2), 0.1), 32, 60),  # pads windows, shifts them, merges 15 x 15 places
        ("resnet18", lambda: ResNet(BasicBlock, (1, 1, 1, 1)), 512, 64),
    ],
)
def test_gpus_read_the_backbones_of_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, build: Callable[[], nn.Module], dim: int, side: int
) -> None:
    monkeypatch.setitem(BACKBONES, name, BACKBONES[name]._replace(build=build, dim=dim))
    torch.manual_seed(0)
    net = Occurrence(name).eval()
    write_artifact(tmp_path, net, {"image": torch.randn(2, 3, side, side)}, {"image": {0: "n"}}, CARD)
    images = torch.randn(3, 3, side, side)
    with torch.no_grad():
        (expected,), (read,) = net(images), OnnxNet(tmp_path / "model.onnx")(images)
        (half,) = OnnxNet(tmp_path / "model.onnx", half=True)(images.half())
    assert expected.std() > 0.01
    torch.testing.assert_close(read, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(half, expected, atol=1e-2, rtol=0)
