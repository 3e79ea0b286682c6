"""Swin Transformer without its classifier: Liu et al., ICCV 2021, arXiv 2103.14030. Patch 4, window 7, MLP ratio 4.

Maps stay (B, H, W, C). Any size works that leaves at least one place in the last map: maps are padded to whole windows,
and a map of one window or less is not shifted.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

WINDOW = 7


class Swin(nn.Module):
    """Images (B, 3, S, S) -> tokens of the last map after its LayerNorm (B, (S/32)², 8 `dim`)."""

    def __init__(self, dim: int, depths: tuple[int, ...], heads: tuple[int, ...], drop_path: float) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim)
        drops = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.layers = nn.ModuleList(
            Stage(dim * 2**i, depth, count, [next(drops) for _ in range(depth)], last=i + 1 == len(depths))
            for i, (depth, count) in enumerate(zip(depths, heads, strict=True))
        )
        self.norm = nn.LayerNorm(dim * 2 ** (len(depths) - 1))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x).flatten(1, 2)
        return out


class PatchEmbed(nn.Module):
    """Images (B, 3, S, S) -> (B, S/4, S/4, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(3, dim, 4, 4), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return out


class Stage(nn.Module):
    """Blocks whose windows are shifted by half in every second one; all stages but the last halve the map after."""

    def __init__(self, dim: int, depth: int, heads: int, drops: list[float], *, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, WINDOW // 2 if n % 2 else 0, drops[n]) for n in range(depth))
        self.downsample = nn.Identity() if last else PatchMerging(dim)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.downsample(x)
        return out


class PatchMerging(nn.Module):
    """(B, H, W, C) -> (B, H/2, W/2, 2C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = _padded(x, x.shape[1] % 2, x.shape[2] % 2)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
        out: Tensor = self.reduction(self.norm(x))
        return out


class Block(nn.Module):
    """Attention inside windows, then an MLP, each with a shortcut that is sometimes all (stochastic depth)."""

    def __init__(self, dim: int, heads: int, shift: int, drop: float) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), WindowAttention(dim, heads, shift)
        self.norm2, self.mlp = nn.LayerNorm(dim), MLP(dim)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._kept(self.attn(self.norm1(x)))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, x: Tensor) -> Tensor:
        """Whole samples are dropped in training, the others scaled up."""
        if not self.training or self.drop == 0:
            return x
        keep = (torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop).to(x.dtype)
        return x * keep / (1 - self.drop)


class MLP(nn.Module):
    """Four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class WindowAttention(nn.Module):
    """Self-attention inside windows of 7x7 places with a relative position bias, (B, H, W, C) unchanged."""

    def __init__(self, dim: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", _relative_positions(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = _padded(x, -height % WINDOW, -width % WINDOW)
        high, wide = x.shape[1:3]
        shift = self.shift if max(high, wide) > WINDOW else 0
        x = x.roll((-shift, -shift), (1, 2)) if shift else x
        windows = _windows(x)  # (B, n, 49, C)
        count, places, channels = windows.shape[1:]
        qkv = self.qkv(windows).unflatten(-1, (3, self.heads, -1))  # (B, n, 49, 3, h, c)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]  # (1, h, 49, 49)
        # Four axes, for exporters. Heads of their own: where windows differ they are copied for it, else nothing is.
        if shift:
            q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)  # (B, n h, 49, c)
            bias = (bias + _strangers(high, wide, shift, bias.device)[:, None]).flatten(0, 1)[None]
        else:
            q, k, v = qkv.flatten(0, 1).permute(2, 0, 3, 1, 4)  # (B n, h, 49, c)
        mixed: Tensor = scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        mixed = mixed.reshape(-1, count, self.heads, places, channels // self.heads).transpose(2, 3)
        out: Tensor = self.proj(mixed.reshape(-1, count, places, channels))
        out = out.view(-1, high // WINDOW, wide // WINDOW, WINDOW, WINDOW, channels)
        out = out.transpose(2, 3).reshape(-1, high, wide, channels)
        out = out.roll((shift, shift), (1, 2)) if shift else out
        return out[:, :height, :width]


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros below and right of (B, H, W, C); `pad` would copy the map for none, too."""
    return pad(x, (0, 0, 0, columns, 0, rows)) if rows or columns else x


def _windows(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, windows, 49, C)."""
    batch, high, wide, channels = x.shape
    x = x.view(batch, high // WINDOW, WINDOW, wide // WINDOW, WINDOW, channels).transpose(2, 3)
    return x.reshape(batch, -1, WINDOW * WINDOW, channels)


def _relative_positions() -> Tensor:
    """(49, 49) row of the bias table for each pair of places."""
    along = torch.arange(WINDOW, device="cpu")
    place = torch.stack(torch.meshgrid(along, along, indexing="ij")).flatten(1)  # (2, 49)
    apart = place[:, :, None] - place[:, None, :] + WINDOW - 1
    return apart[0] * (2 * WINDOW - 1) + apart[1]


def _strangers(high: int, wide: int, shift: int, device: torch.device) -> Tensor:
    """(windows, 49, 49): -100 where a shifted window joins places that are not neighbours, else 0.

    Made on the device: a recorded CUDA graph takes no copies from the host.
    """
    region = torch.zeros(1, high, wide, 1, device=device)
    for n, rows in enumerate((slice(-WINDOW), slice(-WINDOW, -shift), slice(-shift, None))):
        for m, columns in enumerate((slice(-WINDOW), slice(-WINDOW, -shift), slice(-shift, None))):
            region[:, rows, columns] = 3 * n + m
    own = _windows(region)[0, :, :, 0]
    return (own[:, :, None] != own[:, None, :]).float() * -100
