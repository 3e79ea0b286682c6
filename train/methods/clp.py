"""CLP: AU features from unlabelled video, by contrast in time and across identities (IEEE TIP 32, 2023).

Li, Shan, doi 10.1109/TIP.2023.3279978, arXiv 2403.03400. An item is a clip of consecutive frames of one track, whose
frames share crop and flip. Queries come from one view, keys from the other, through a momentum copy.

Only the abstract and summaries were available. They name the two signals, the momentum encoder and the dictionary;
every formula and value here is our reconstruction (train/losses/clp.py), chosen so that each signal can be tested
alone. What is evaluated is a linear probe on the frozen backbone.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import normalize

from train.losses.clp import CrossIdentityReconstruction, Form, TemporalContrast
from train.models.dictionary import Dictionary
from train.models.embedding import Embedding
from train.models.momentum import MomentumCopy
from train.runs.method import Batch, Method, Setting, full_precision

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0)]
Width = Annotated[int, Meta(ge=1)]


class CLPConfig(msgspec.Struct, tag_field="name", tag="clp", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All values are our reconstruction. A batch counts clips (`sampler: {kind: clips}`)."""

    views: ClassVar[int] = 2
    signals: Literal["both", "temporal", "reconstruction"] = "both"
    form: Form = "contrast"  # of the temporal signal; or its ranking form
    margin: Share = 0.3
    temperature: Positive = 0.1
    retrieval_temperature: Positive = 0.05
    nearest: Width = 64  # dictionary entries that a frame is rebuilt from
    reconstruction: Share = 1.0  # λ, from when the dictionary is full
    dictionary: Width = 8192
    momentum: Annotated[float, Meta(ge=0, le=1)] = 0.999
    hidden: Width = 512
    width: Width = 128

    def build(self, setting: Setting) -> Method:
        return CLP(self, setting)


class _Net(nn.Module):
    def __init__(self, config: CLPConfig, setting: Setting) -> None:
        super().__init__()
        self.queries = Embedding(setting.encoder, config.width, config.hidden)
        self.keys = MomentumCopy(self.queries, config.momentum)
        self.dictionary = Dictionary(config.dictionary, config.width)


class CLP(Method):
    """L_TCL + λ L_CIR over clips (B, T). Features are the backbone's mean token, without the projector."""

    net: _Net

    def __init__(self, config: CLPConfig, setting: Setting) -> None:
        super().__init__()
        self.config = config
        self.net = _Net(config, setting)
        self.temporal = TemporalContrast(config.margin, config.temperature, config.form)
        self.across = CrossIdentityReconstruction(config.temperature, config.retrieval_temperature, config.nearest)
        self._seen: tuple[Tensor, Tensor] | None = None  # keys (B, T, d) and identities (B,) of the last batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        net, owner = self.net, batch.subject[:, 0]
        first, second = batch.images  # (B, T, 3, S, S)
        queries, keys = net.queries(first.flatten(0, 1)), net.keys(second.flatten(0, 1))
        with full_precision(queries):
            q, k = (normalize(x.float(), dim=1).view(*first.shape[:2], -1) for x in (queries, keys))
            terms = dict[str, Tensor]()
            if self.config.signals != "reconstruction":
                terms["temporal"] = self.temporal(q, k)
            if self.config.signals != "temporal":
                past = net.dictionary
                across = self.across(q, k, owner, past.vectors, past.owners) if past.full else q.sum() * 0
                terms["reconstruction"] = self.config.reconstruction * across
        self._seen = k, owner
        return terms

    def after_step(self, step: int, steps: int) -> None:
        """The copy follows; the keys of the batch become entries of the dictionary."""
        assert self._seen is not None, "a step begins with losses"
        keys, owner = self._seen
        self.net.keys.update(self.net.queries)
        self.net.dictionary.push(keys.flatten(0, 1), owner.repeat_interleave(keys.shape[1]))

    def features(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net.queries.pooled(images)
        return pooled
