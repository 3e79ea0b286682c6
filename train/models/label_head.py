"""Probabilities from likeness to label embeddings: CL-ILE's AU embeddings, CLEF's names of the AUs.

Our reconstruction of both: s(a cos(F, L_c) + b_c). Without a and b_c a softmax over labels says nothing about when a
label is there.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class LabelHead(nn.Module):
    """Features (B, d) -> logits (B, labels) of independent labels, by cosine to embeddings (labels, d).

    The embeddings are parameters, or buffers that are not saved where they are `frozen`. With `against` (labels, d),
    the embeddings of the labels' absence, a logit is the difference of both: the two-way softmax of CLIP's prompts.
    """

    against: Tensor | None

    def __init__(self, labels: Tensor, scale: float, *, frozen: bool = False, against: Tensor | None = None) -> None:
        super().__init__()
        if frozen:
            self.register_buffer("labels", labels.clone(), persistent=False)
        else:
            self.labels = nn.Parameter(labels.clone())
        self.register_buffer("against", None if against is None else against.clone(), persistent=False)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.zeros(len(labels)))

    def forward(self, features: Tensor) -> Tensor:
        unit = normalize(features, dim=1)
        near = unit @ normalize(self.labels, dim=1).T
        if self.against is not None:
            near = near - unit @ normalize(self.against, dim=1).T
        return self.scale * near + self.bias
