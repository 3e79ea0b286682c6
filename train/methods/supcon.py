"""Supervised contrast (Khosla et al., NeurIPS 2020) on the AU features of MEGraph, AU by AU, without a projection."""

from typing import Annotated, ClassVar

import msgspec
import torch
from msgspec import Meta
from torch import Tensor
from torch.nn.functional import normalize

from train.losses.supcon import SupConLoss
from train.models.encoder import MEGraph
from train.runs.method import Batch, Method, Setting, full_precision


class SupConConfig(
    msgspec.Struct, tag_field="name", tag="supcon", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """`temperature` is SupCon's."""

    views: ClassVar[int] = 2
    temperature: Annotated[float, Meta(gt=0)] = 0.1

    def build(self, setting: Setting) -> Method:
        return SupCon(self, setting)


class SupCon(Method):
    """All samples with an AU are alike, and all without it."""

    def __init__(self, config: SupConConfig, setting: Setting) -> None:
        super().__init__()
        self.net = MEGraph(setting.encoder, len(setting.aus))
        self.loss = SupConLoss(config.temperature)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        both = torch.cat([self.net(view) for view in batch.images])
        with full_precision(both):
            labels, known = (each.repeat(2, 1) for each in (batch.occurrence, batch.known))
            return {"supcon": self.loss(both.float(), labels, known)}

    def features(self, images: Tensor) -> Tensor:
        return normalize(self.net(images), dim=-1)
