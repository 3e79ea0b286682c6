"""SimCLR (Chen et al., ICML 2020) and, with `beta` and `prior`, HCL (Robinson et al., ICLR 2021): no label is used.

The published ImageNet recipes pool the backbone and drop the projection head afterwards; so here. What is published is
tuned to large batches; temperature and head are those of HCL's code, everything else is the run's.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from train.losses.ntxent import NTXentLoss
from train.models.encoder import Pooled
from train.runs.method import Batch, Method, Setting, full_precision


class SimCLRConfig(
    msgspec.Struct, tag_field="name", tag="simclr", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """`beta` and `prior` 0 is SimCLR; HCL's code takes beta 1 and prior 0.1 on most of its sets."""

    views: ClassVar[int] = 2
    temperature: Annotated[float, Meta(gt=0)] = 0.5
    beta: Annotated[float, Meta(ge=0)] = 0.0
    prior: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    projection: Annotated[int, Meta(ge=1)] = 128

    def build(self, setting: Setting) -> Method:
        return SimCLR(self, setting)


class Projected(nn.Module):
    """Pooled backbone and a two-layer projection: images (B, 3, S, S) -> (B, projection)."""

    def __init__(self, setting: Setting, projection: int) -> None:
        super().__init__()
        self.encoder = Pooled(setting.encoder)
        dim = self.encoder.dim
        self.head = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, projection)
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(images))
        return out


class SimCLR(Method):
    """Two views of an image are alike, all others are not."""

    net: Projected

    def __init__(self, config: SimCLRConfig, setting: Setting) -> None:
        super().__init__()
        self.net = Projected(setting, config.projection)
        self.loss = NTXentLoss(config.temperature, config.beta, config.prior)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        first, second = (self.net(view) for view in batch.images)
        with full_precision(first):
            return {"nt_xent": self.loss(first.float(), second.float())}

    def features(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net.encoder(images)
        return pooled
