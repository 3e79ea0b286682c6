"""The plain 3x3 blocks that CPUs run best; depthwise and squeeze-excite layers reach a third of the speed."""

from torch import Tensor, nn


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU; (N, inputs, H, W) -> (N, outputs, H/stride, W/stride)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016), shape unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x + self.second(self.first(x)))
        return out


def stages(widths: tuple[int, ...], blocks: tuple[int, ...]) -> nn.ModuleList:
    """One stage a width: a stride-2 convolution, then that many residual blocks. Input RGB."""
    return nn.ModuleList(
        nn.Sequential(conv(before, width, 2), *(ResidualBlock(width) for _ in range(count)))
        for before, width, count in zip((3, *widths), widths, blocks, strict=False)
    )
