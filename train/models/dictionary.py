"""The keys of past batches: a first-in first-out dictionary (MoCo, He et al., CVPR 2020), with whose they are."""

import torch
from torch import Tensor, nn

NOBODY = -1


class Dictionary(nn.Module):
    """`size` unit vectors (size, d) and identities (size,); places not filled yet belong to nobody."""

    vectors: Tensor
    owners: Tensor
    pushed: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, width))
        self.register_buffer("owners", torch.full((size,), NOBODY))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    @property
    def full(self) -> bool:
        return int(self.pushed) >= len(self.owners)

    @property
    def entries(self) -> Tensor:
        """(n, d) of the places that are filled."""
        return self.vectors[: int(self.pushed.clamp(max=len(self.owners)))]

    @torch.no_grad()
    def push(self, vectors: Tensor, owners: Tensor) -> None:
        """Put (n, d) and identities (n,) in place of the oldest; of more than fit, the last ones stay."""
        size = len(self.owners)
        place = (int(self.pushed) + torch.arange(len(owners), device=owners.device))[-size:] % size
        self.vectors[place] = vectors[-size:].to(self.vectors.dtype)
        self.owners[place] = owners[-size:]
        self.pushed += len(owners)
