"""A picture as one vector: the mean token of a backbone and a projection, as CL-ILE, CLP and CLEF use it."""

from torch import Tensor, nn

from train.models.encoder import EncoderConfig, Pooled


class Embedding(nn.Module):
    """Images (B, 3, S, S) -> (B, width): mean token, then one linear layer, or two with ReLU between where `hidden`.

    BatchNorm without parameters centres the result: tokens that come out of a ReLU have much in common, which would
    make every cosine nearly 1. It is ours, in all three methods.
    """

    def __init__(self, encoder: EncoderConfig, width: int, hidden: int = 0) -> None:
        super().__init__()
        self.pooled = Pooled(encoder)
        dim = self.pooled.dim
        self.project: nn.Module = nn.Linear(dim, width)
        if hidden:
            self.project = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.norm = nn.BatchNorm1d(width, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        vector: Tensor = self.norm(self.project(self.pooled(images)))
        return vector
