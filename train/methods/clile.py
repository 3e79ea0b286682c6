"""CL-ILE: AU features learnt against AU embeddings, without what belongs to the person (BMVC 2023, paper 335).

Lian, Adama, Machado, Vinkemeier. Stage 1 (`ile`) learns what is personal: the AUs of a picture are read with
identity-label embeddings of its own subject alone. Stage 2 (`clile`) learns general AU features by supervised contrast
and rids them of what stage 1 sees; its identity encoder is frozen and not needed for inference. Stage 2 starts from
the run of stage 1 (`initial`).

From the poster: both loss formulas. Reconstructed by us, because the poster does not say: how the person is eliminated
(a penalty on cos² with the frozen identity feature, or a subject classifier behind a reversed gradient), the
classification term and with it the decision rule, cosine as `sim`, what is done with pictures without an active AU,
every hyperparameter, and that the encoder of stage 2 is not taken from stage 1.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from train.losses.clile import AUEmbeddingContrast, orthogonality
from train.losses.wce import WeightedBCE, class_weights
from train.models.embedding import Embedding
from train.models.identity_labels import IdentityLabels
from train.models.label_head import LabelHead
from train.models.reversal import reversed_gradient
from train.runs.method import Batch, Method, Setting, full_precision

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0)]
Width = Annotated[int, Meta(ge=1)]


class ILEConfig(msgspec.Struct, tag_field="name", tag="ile", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stage 1. The size of the embeddings is our reconstruction."""

    views: ClassVar[int] = 1
    width: Width = 512

    def build(self, setting: Setting) -> Method:
        return ILE(self, setting)


class CLILEConfig(msgspec.Struct, tag_field="name", tag="clile", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stage 2. All values are our reconstruction."""

    views: ClassVar[int] = 1
    width: Width = 512  # as in stage 1
    temperature: Positive = 0.1
    contrast: Share = 1.0  # weight of the sourced term; 0 leaves plain cross-entropy, for comparison
    classification: Share = 1.0
    eliminate: Literal["orthogonality", "reversal", "nothing"] = "orthogonality"
    elimination: Share = 0.1  # its weight
    aus_from_ile: bool = False  # AU embeddings begin as the mean of stage 1's over subjects

    def build(self, setting: Setting) -> Method:
        return CLILE(self, setting)


class _ILENet(nn.Module):
    def __init__(self, config: ILEConfig, setting: Setting) -> None:
        super().__init__()
        self.identity = Embedding(setting.encoder, config.width)
        self.labels = IdentityLabels(setting.subjects, len(setting.aus), config.width)


class ILE(Method):
    """Stage 1: L_BCE of s(F^ID · AU_c^Sub) with the row of the picture's own subject. Features are F^ID."""

    net: _ILENet

    def __init__(self, config: ILEConfig, setting: Setting) -> None:
        super().__init__()
        self.net = _ILENet(config, setting)
        self.entropy = WeightedBCE(class_weights(setting.rates))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        identity = self.net.identity(batch.images[0])
        with full_precision(identity):
            logits = self.net.labels(identity.float(), batch.subject)
            return {"ile": self.entropy(logits, batch.occurrence, batch.known)}

    def features(self, images: Tensor) -> Tensor:
        identity: Tensor = self.net.identity(images)
        return identity


class _CLILENet(nn.Module):
    def __init__(self, config: CLILEConfig, setting: Setting) -> None:
        super().__init__()
        self.general = Embedding(setting.encoder, config.width)
        aus = torch.randn(len(setting.aus), config.width) / config.width**0.5
        self.head = LabelHead(aus, scale=1 / config.temperature)
        if config.eliminate == "orthogonality":
            self.identity = Embedding(setting.encoder, config.width).requires_grad_(False)
        elif config.eliminate == "reversal":
            self.subject = nn.Linear(config.width, setting.subjects)


class CLILE(Method):
    """Stage 2: L_Contra + λ_cls L_cls + λ L_elimination. Features are F^G."""

    net: _CLILENet

    def __init__(self, config: CLILEConfig, setting: Setting) -> None:
        super().__init__()
        self.config = config
        self.net = _CLILENet(config, setting)
        self.contrast = AUEmbeddingContrast(config.temperature)
        self.entropy = WeightedBCE(class_weights(setting.rates))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        config, net, images = self.config, self.net, batch.images[0]
        general, identity = net.general(images), self._identity(images)
        with full_precision(general):
            general = general.float()
            terms = {
                "contrast": config.contrast * self.contrast(general, net.head.labels, batch.occurrence, batch.known),
                "classification": config.classification
                * self.entropy(net.head(general), batch.occurrence, batch.known),
            }
            if identity is not None:
                terms["elimination"] = config.elimination * orthogonality(general, identity.float())
            elif config.eliminate == "reversal":
                said = net.subject(reversed_gradient(general, config.elimination))
                terms["elimination"] = cross_entropy(said, batch.subject)
            return terms

    def _identity(self, images: Tensor) -> Tensor | None:
        """F^ID as stage 1 left it: its encoder neither learns nor counts batches."""
        if self.config.eliminate != "orthogonality":
            return None
        with torch.no_grad():
            identity: Tensor = self.net.identity.eval()(images)
        return identity

    def features(self, images: Tensor) -> Tensor:
        general: Tensor = self.net.general(images)
        return general

    def predict(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net.head(self.net.general(images))
        return logits.sigmoid()

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Takes over the identity encoder of stage 1 (or all of an earlier stage 2)."""
        super().start_from(state)
        if self.config.aus_from_ile and "labels.table" in state:
            with torch.no_grad():
                self.net.head.labels.copy_(state["labels.table"].mean(dim=0))
