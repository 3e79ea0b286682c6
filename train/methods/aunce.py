"""AUNCE: an encoder trained by supervised contrast alone, then judged by a linear probe (arXiv 2402.06165).

Every ambiguity of the text is a parameter of the loss (train/losses/aunce.py); what is not given is the preset's.
Departures from the official code: the unused vectors of MEGraph's head are left out, and the kinds of positives are
drawn from the run's generator. Under several devices pairs are made inside each device's part of the batch.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from torch import Tensor
from torch.nn.functional import normalize

from train.losses.aunce import AUNCELoss, BetaBy
from train.losses.wce import class_weights
from train.models.encoder import MEGraph
from train.runs.method import Batch, Method, Setting, full_precision

Share = Annotated[float, Meta(ge=0)]


class AUNCEConfig(msgspec.Struct, tag_field="name", tag="aunce", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`official` computes what the code does, `paper` what the text says."""

    views: ClassVar[int] = 2
    preset: Literal["official", "paper"]
    weighted: bool = True  # w_i of Eq. (2)
    positives: tuple[Share, Share, Share, Share] | None = None  # most similar, other view, mixture, least similar
    self_included: bool | None = None
    centroid: bool | None = None
    temperature: Annotated[float, Meta(gt=0)] | None = None
    beta_active: float | None = None
    beta_inactive: float | None = None
    beta_by: BetaBy | None = None
    hcl_weights: bool | None = None

    def build(self, setting: Setting) -> Method:
        return AUNCE(self, setting)


class AUNCE(Method):
    """MEGraph encoder without a head; unit features per AU."""

    def __init__(self, config: AUNCEConfig, setting: Setting) -> None:
        super().__init__()
        self.net = MEGraph(setting.encoder, len(setting.aus))
        changed = {name: value for name, value in msgspec.structs.asdict(config).items() if value is not None}
        changed = {name: value for name, value in changed.items() if name not in ("preset", "weighted")}
        self.loss = getattr(AUNCELoss, config.preset)(**changed)
        self.weights: Tensor
        self.rates: Tensor
        weights = class_weights(setting.rates) if config.weighted else setting.rates.new_ones(len(setting.aus))
        self.register_buffer("weights", weights)
        self.register_buffer("rates", setting.rates)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        first, second = (self.net(view) for view in batch.images)
        kinds = self.loss.draw(batch.occurrence.shape[-1])
        with full_precision(first):
            views = first.float(), second.float()
            return {"aunce": self.loss(*views, batch.occurrence, batch.known, kinds, self.weights, self.rates)}

    def features(self, images: Tensor) -> Tensor:
        return normalize(self.net(images), dim=-1)
