"""Who is this: the identity encoder of CL-ILE's stage 1 (Lian et al., BMVC 2023), made small for CPUs."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from train.models.blocks import stages

_NARROW = 32


class IdentityNet(nn.Module):
    """Image (N, 3, 112, 112) normalised -> embedding (N, d), and the identity-label embeddings of the subjects.

    `labels` is the table E of CL-ILE, (subjects, AUs, d): how each training subject shows each AU.
    """

    def __init__(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], size: int, subjects: int, aus: int, side: int = 112
    ) -> None:
        super().__init__()
        self.stages = stages(widths, blocks)
        self.narrow = nn.Sequential(nn.Conv2d(widths[-1], _NARROW, 1, bias=False), nn.BatchNorm2d(_NARROW), nn.ReLU())
        self.embed = nn.Linear(_NARROW * (side // 2 ** len(widths)) ** 2, size, bias=False)
        self.norm = nn.BatchNorm1d(size, affine=False)
        self.labels = nn.Parameter(torch.randn(subjects, aus, size) / size**0.5)
        self.au_bias = nn.Parameter(torch.zeros(aus))

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for stage in self.stages:
            x = stage(x)
        embedding: Tensor = self.norm(self.embed(self.narrow(x).flatten(1)))
        return embedding

    def au_logits(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """(N, A) of occurrence, read with the rows of the pictures' own subjects only (CL-ILE, stage 1)."""
        shown: Tensor = (self.labels[subject] * embedding[:, None]).sum(dim=-1)
        return shown + self.au_bias

    def likeness(self, embedding: Tensor) -> Tensor:
        """(N, subjects) cosine to each subject's mean label embedding. Ours: the poster does not name such a term."""
        return normalize(embedding, dim=1) @ normalize(self.labels.mean(dim=1), dim=1).T


class IdentityExport(nn.Module):
    """The network as the runtime sees it: unit embeddings (N, d). The subjects stay behind."""

    def __init__(self, net: IdentityNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (normalize(self.net(image), dim=1),)
