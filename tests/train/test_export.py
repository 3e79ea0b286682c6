"""What is exported runs on the CPU, and on a GPU where its operators are known there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rtau.engines.onnx_torch import OnnxNet
from rtau.errors import ModelError
from rtau.models import load_artifact
from train.export import write_artifact
from train.models.blocks import stages

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
