"""Stage 1 of CL-ILE as an identity artifact: unit embeddings, as `rtau` runs them. The subjects stay behind."""

from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rtau.models import Card
from train.export import write_artifact
from train.methods.clile import ILE


class _Unit(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (normalize(self.encoder(image), dim=1),)


def write_identity(to: Path, method: ILE, card: Card, tolerance: float) -> None:
    """Write model.onnx and card.yaml into `to`: `card` of an AU model becomes that of an identity model."""
    subjects, _, width = method.net.labels.table.shape
    card = msgspec.structs.replace(
        card,
        role="identity",
        aus=(),
        outputs={"embedding": f"(N, {width}) of unit length; the cosine of two says how alike two faces are"},
        limits=(
            f"has learnt {subjects} people, by how they show Action Units (CL-ILE, stage 1)",
            "for telling the people in front of one camera apart, not for identification or access control",
        ),
    )
    example = {"image": torch.randn(2, 3, card.input_size, card.input_size)}
    write_artifact(to, _Unit(method.net.identity), example, {"image": {0: "n"}}, card, tolerance)
