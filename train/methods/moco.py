"""MoCo v2: momentum contrast with a queue of earlier keys (He et al., CVPR 2020; Chen et al., arXiv 2003.04297).

Departures: keys are not shuffled over devices, and every device has a queue of its own; on one device BatchNorm of the
key encoder therefore sees the whole batch.
"""

from typing import Annotated, ClassVar

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from train.methods.simclr import Projected
from train.models.dictionary import Dictionary
from train.models.momentum import MomentumCopy
from train.runs.method import Batch, Method, Setting, full_precision


class MoCoConfig(msgspec.Struct, tag_field="name", tag="moco", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Defaults are MoCo v2's, but for the queue, which is to be smaller than an epoch."""

    views: ClassVar[int] = 2
    temperature: Annotated[float, Meta(gt=0)] = 0.2
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    queue: Annotated[int, Meta(ge=1)] = 4096  # keys
    projection: Annotated[int, Meta(ge=1)] = 128

    def build(self, setting: Setting) -> Method:
        return MoCo(self, setting)


class _Net(nn.Module):
    def __init__(self, config: MoCoConfig, setting: Setting) -> None:
        super().__init__()
        self.query = Projected(setting, config.projection)
        self.key = MomentumCopy(self.query, config.momentum)
        self.queue = Dictionary(config.queue, config.projection)


class MoCo(Method):
    """A view is like the momentum encoder's view of the same image, and unlike earlier keys."""

    net: _Net

    def __init__(self, config: MoCoConfig, setting: Setting) -> None:
        super().__init__()
        self.net, self.config = _Net(config, setting), config
        self._seen: tuple[Tensor, Tensor] | None = None  # keys and subjects of the batch, to be queued after the step

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        q, k = self.net.query(batch.images[0]), self.net.key(batch.images[1])
        with full_precision(q):
            q, k = normalize(q.float(), dim=-1), normalize(k.float(), dim=-1)
            self._seen = k, batch.subject
            logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ self.net.queue.entries.T], dim=1)
            logits = logits / self.config.temperature
            return {"info_nce": cross_entropy(logits, logits.new_zeros(len(q), dtype=torch.int64))}

    def after_step(self, step: int, steps: int) -> None:
        assert self._seen is not None, "a step begins with losses"
        self.net.key.update(self.net.query)
        self.net.queue.push(*self._seen)

    def features(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net.query.encoder(images)
        return pooled
