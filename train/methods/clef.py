"""CLEF: what people do and what it is called, as weak supervision (ICCV 2023, arXiv 2304.00058).

Zhang, Wang, Li, Yang, Yin. Stage 1 (`clef_activities`) draws pictures of one activity together, whoever it is, and to
the text that describes it. Stage 2 recognises AUs (`clef`) or expressions (`clef_expressions`) by likeness of picture
and label name. It starts from the run of stage 1 (`initial`). Text comes from a table (train/data/text_table.py).

Only the abstract was available: weak supervision by activity, contrast with coarse text, then maximised similarity to
the text of label names. Every formula and value is our reconstruction, as are the frozen text encoder and the use of
both image-image and image-text pairs in stage 1.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from rtau.errors import ConfigError
from train.data.text_table import AU_NAMES, absence, read_text_table
from train.losses.clef import ActivityContrast, ActivityText
from train.losses.wce import WeightedBCE, class_weights
from train.models.embedding import Embedding
from train.models.label_head import LabelHead
from train.runs.method import Batch, Method, Setting, full_precision

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0)]


class CLEFActivitiesConfig(
    msgspec.Struct, tag_field="name", tag="clef_activities", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Stage 1. All values are our reconstruction. Batches come from `sampler: {kind: activities}`."""

    views: ClassVar[int] = 1
    texts: str  # table of `python -m train text-table`
    pairs: Literal["both", "images", "texts"] = "both"
    temperature: Positive = 0.1
    text_temperature: Positive = 0.07
    text: Share = 1.0  # μ

    def build(self, setting: Setting) -> Method:
        return CLEFActivities(self, setting)


class CLEFConfig(msgspec.Struct, tag_field="name", tag="clef", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stage 2, AUs. All values are our reconstruction. Two prompts: present against absent, by softmax."""

    views: ClassVar[int] = 1
    texts: str
    prompts: Literal[1, 2] = 1
    scale: Positive = 1 / 0.07  # of the cosine, at first

    def build(self, setting: Setting) -> Method:
        return CLEF(self, setting)


class CLEFExpressionsConfig(
    msgspec.Struct, tag_field="name", tag="clef_expressions", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Stage 2, expressions. All values are our reconstruction."""

    views: ClassVar[int] = 1
    texts: str
    temperature: Positive = 0.07

    def build(self, setting: Setting) -> Method:
        return CLEFExpressions(self, setting)


class _Net(nn.Module):
    """`image` gives z before it is made unit. Texts are not saved: each stage has its own, out of the table."""

    texts: Tensor

    def __init__(self, setting: Setting, texts: Tensor) -> None:
        super().__init__()
        self.image = Embedding(setting.encoder, texts.shape[1])
        self.register_buffer("texts", texts, persistent=False)


class _LabelledNet(nn.Module):
    def __init__(self, setting: Setting, head: LabelHead) -> None:
        super().__init__()
        self.image, self.head = Embedding(setting.encoder, head.labels.shape[1]), head


class CLEFActivities(Method):
    """Stage 1: L_act + μ L_txt. Features are z."""

    net: _Net

    def __init__(self, config: CLEFActivitiesConfig, setting: Setting) -> None:
        super().__init__()
        if not setting.activities:
            raise ConfigError("method: clef_activities needs a corpus with activities (docs/corpora.md)")
        self.config = config
        self.net = _Net(setting, _texts(config.texts, setting.activities))
        self.images, self.texts = ActivityContrast(config.temperature), ActivityText(config.text_temperature)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = self.net.image(batch.images[0])
        with full_precision(z):
            z, terms = z.float(), dict[str, Tensor]()
            if self.config.pairs != "texts":
                terms["images"] = self.images(z, batch.activity, batch.subject)
            if self.config.pairs != "images":
                terms["texts"] = self.config.text * self.texts(z, self.net.texts, batch.activity)
            return terms

    def features(self, images: Tensor) -> Tensor:
        return normalize(self.net.image(images), dim=1)


class CLEF(Method):
    """Stage 2: weighted cross-entropy of s(a z·g(n_c) + b_c) over AUs c with names n_c. Features are z."""

    net: _LabelledNet

    def __init__(self, config: CLEFConfig, setting: Setting) -> None:
        super().__init__()
        names = [AU_NAMES[au] for au in setting.aus]
        texts = _texts(config.texts, names)
        against = _texts(config.texts, [absence(name) for name in names]) if config.prompts == 2 else None
        head = LabelHead(texts, config.scale, frozen=True, against=against)
        self.net = _LabelledNet(setting, head)
        self.entropy = WeightedBCE(class_weights(setting.rates))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = self.net.image(batch.images[0])
        with full_precision(z):
            return {"aus": self.entropy(self.net.head(z.float()), batch.occurrence, batch.known)}

    def features(self, images: Tensor) -> Tensor:
        return normalize(self.net.image(images), dim=1)

    def predict(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net.head(self.net.image(images))
        return logits.sigmoid()


class CLEFExpressions(Method):
    """Stage 2: -log softmax_c(z·g(n_c)/τ) over the expressions c of the corpus with names n_c."""

    net: _Net

    def __init__(self, config: CLEFExpressionsConfig, setting: Setting) -> None:
        super().__init__()
        if not setting.expressions:
            raise ConfigError("method: clef_expressions needs a corpus with expressions (docs/corpora.md)")
        self.config = config
        self.net = _Net(setting, _texts(config.texts, setting.expressions))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = self.net.image(batch.images[0])
        with full_precision(z):
            return {"expressions": cross_entropy(self._logits(z.float()), batch.expression, ignore_index=-1)}

    def features(self, images: Tensor) -> Tensor:
        return normalize(self.net.image(images), dim=1)

    def classify(self, images: Tensor) -> Tensor:
        return self._logits(self.net.image(images)).softmax(dim=1)

    def _logits(self, z: Tensor) -> Tensor:
        return normalize(z, dim=1) @ normalize(self.net.texts, dim=1).T / self.config.temperature


def _texts(table: str, strings: list[str] | tuple[str, ...]) -> Tensor:
    return torch.from_numpy(read_text_table(Path(table)).of(strings))
