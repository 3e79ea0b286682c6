"""Weighted cross-entropy, the baseline of AUNCE (Eq. 1), and stage 1 of MEGraph (its asymmetric form)."""

from typing import ClassVar, Literal

import msgspec
import torch
from torch import Tensor, nn

from train.losses.wce import WeightedBCE, class_weights
from train.models.encoder import MEGraph
from train.models.megraph import CosineHead
from train.runs.method import Batch, Method, Setting, full_precision

_FLOOR = {
    "cosine": 1e-6,
    "two_layers": 1e-3,
}  # least probability; MEGraph clamps at 1e-8, which float32 cannot tell from 1


class WCEConfig(msgspec.Struct, tag_field="name", tag="wce", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`cosine` is MEGraph's head, `two_layers` that of AUNCE's end-to-end baseline: C -> 32 -> 2, softmax."""

    views: ClassVar[int] = 1
    weighted: bool = True
    asymmetric: bool = False
    head: Literal["cosine", "two_layers"] = "cosine"

    def build(self, setting: Setting) -> Method:
        return WCE(self, setting)


class TwoLayers(nn.Module):
    """Per AU, linear C -> 32 -> 2 and softmax: (B, N, C) -> probability of presence (B, N)."""

    def __init__(self, channels: int, aus: int, hidden: int = 32) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(aus, channels, hidden))
        self.second = nn.Parameter(torch.empty(aus, hidden, 2))
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(aus, hidden)), nn.Parameter(torch.zeros(aus, 2))
        for weight in (self.first, self.second):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def forward(self, nodes: Tensor) -> Tensor:
        hidden = torch.einsum("bnc,nch->bnh", nodes, self.first) + self.bias1
        return (torch.einsum("bnh,nho->bno", hidden, self.second) + self.bias2).softmax(dim=-1)[..., 0]


class _Net(nn.Module):
    def __init__(self, config: WCEConfig, setting: Setting) -> None:
        super().__init__()
        aus, channels = len(setting.aus), setting.encoder.width
        self.encoder = MEGraph(setting.encoder, aus)
        self.head = CosineHead(channels, aus) if config.head == "cosine" else TwoLayers(channels, aus)


class WCE(Method):
    """MEGraph encoder, a head, cross-entropy of its probabilities."""

    net: _Net

    def __init__(self, config: WCEConfig, setting: Setting) -> None:
        super().__init__()
        self.net = _Net(config, setting)
        weights = class_weights(setting.rates) if config.weighted else torch.ones_like(setting.rates)
        self.loss = WeightedBCE(weights, asymmetric=config.asymmetric)
        self.floor = _FLOOR[config.head]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        probability = self.net.head(self.net.encoder(batch.images[0]))
        with full_precision(probability):
            logits = torch.logit(probability.float(), eps=self.floor)
            return {"wce": self.loss(logits, batch.occurrence, batch.known)}

    def features(self, images: Tensor) -> Tensor:
        nodes: Tensor = self.net.encoder(images)
        return nodes

    def predict(self, images: Tensor) -> Tensor:
        probability: Tensor = self.net.head(self.net.encoder(images))
        return probability
