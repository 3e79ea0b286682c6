"""MoCo v2: momentum contrast with a queue of earlier keys (He et al., CVPR 2020; Chen et al., arXiv 2003.04297).

Departures: keys are not shuffled over devices, and every device has a queue of its own; on one device BatchNorm of the
key encoder therefore sees the whole batch.
"""

import copy
from typing import Annotated, ClassVar

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from train.methods.simclr import Projected
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
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue: Tensor
        self.filled: Tensor
        self.register_buffer("queue", torch.zeros(config.queue, config.projection))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))  # keys ever put in


class MoCo(Method):
    """A view is like the momentum encoder's view of the same image, and unlike earlier keys."""

    net: _Net

    def __init__(self, config: MoCoConfig, setting: Setting) -> None:
        super().__init__()
        self.net, self.config = _Net(config, setting), config
        self._keys: Tensor | None = None  # of the batch, to be queued after the step

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        q = self.net.query(batch.images[0])
        with torch.no_grad():
            k = self.net.key(batch.images[1])
        with full_precision(q):
            q, k = normalize(q.float(), dim=-1), normalize(k.float(), dim=-1)
            self._keys = k
            earlier = self.net.queue[: int(self.net.filled.clamp(max=len(self.net.queue)))]
            logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ earlier.T], dim=1) / self.config.temperature
            return {"info_nce": cross_entropy(logits, logits.new_zeros(len(q), dtype=torch.int64))}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        for own, of in zip(self.net.key.parameters(), self.net.query.parameters(), strict=True):
            own.lerp_(of, 1 - self.config.momentum)
        if self._keys is not None:
            size = len(self.net.queue)
            places = (self.net.filled + torch.arange(len(self._keys), device=self._keys.device)) % size
            self.net.queue[places] = self._keys
            self.net.filled += len(self._keys)

    def features(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net.query.encoder(images)
        return pooled
