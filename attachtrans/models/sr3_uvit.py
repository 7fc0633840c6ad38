"""The denoising transformer of SR3_UViT: U-ViT (Bao et al. 2022, arXiv 2209.12152).

Patches of the latent and of the condition are tokens beside one for the noise level; blocks of a
first half are joined to those of the second by skips. Positions are learned, so the size of the
tile is fixed. Layer names are ArcGIS's. The structure is read from the weights; only the number of
heads leaves no trace there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.models.diffusion import DiffusionNet
from attachtrans.models.weights import shape_of

_MOST_BLOCKS = 1000

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a net; `patches` along each edge of a tile, `patch` pixels each.

    pairs   blocks in each half
    """

    channels: int
    patch: int
    patches: int
    width: int
    hidden: int
    pairs: int
    heads: int
    qkv_bias: bool


class PatchEmbed(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, tokens, width), row by row."""
        out: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return out


class Attention(nn.Module):
    """Self-attention with several heads."""

    def __init__(self, width: int, heads: int, *, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        count, tokens, width = x.shape
        parts = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(seen.transpose(1, 2).reshape(x.shape))
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A transformer block, normalised first; one of the second half also takes a skip."""

    def __init__(self, sizes: Sizes, *, skips: bool = False) -> None:
        super().__init__()
        width = sizes.width
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, sizes.heads, qkv_bias=sizes.qkv_bias)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, sizes.hidden)
        self.skip_linear = nn.Linear(2 * width, width) if skips else None

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """(N, tokens, width), with a skip of the same shape in the second half -> that shape."""
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, *skips], dim=-1))
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class UViT(DiffusionNet):
    """The net.

    condition_first     whether `patch_embedx` takes the condition and `patch_embedy` the latent,
                as in arcgis.learn from 2.4.4 on, or the reverse
    """

    def __init__(self, sizes: Sizes, *, condition_first: bool) -> None:
        super().__init__()
        width, patch, channels = sizes.width, sizes.patch, sizes.channels
        self.sizes = sizes
        self.bands = channels
        self.edge = patch * sizes.patches
        self.condition_first = condition_first
        self.patch_embedx = PatchEmbed(channels, patch, width)
        self.patch_embedy = PatchEmbed(channels, patch, width)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + 2 * sizes.patches**2, width))
        self.time_embed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width)
        )
        self.in_blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.pairs))
        self.mid_block = Block(sizes)
        self.out_blocks = nn.ModuleList(Block(sizes, skips=True) for _ in range(sizes.pairs))
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch * patch * channels)
        self.final_layer = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, condition: Tensor, latent: Tensor, level: Tensor) -> Tensor:
        """Two of (N, C, edge, edge) and (N or 1, 1) -> (N, C, edge, edge)."""
        of_condition, of_latent = self.patch_embedx, self.patch_embedy
        if not self.condition_first:
            of_condition, of_latent = of_latent, of_condition
        told = self.time_embed(_level_encoding(level, self.sizes.width))
        told = told.expand(len(latent), -1).unsqueeze(1)
        x = torch.cat([told, of_latent(latent), of_condition(condition)], dim=1) + self.pos_embed
        skips: list[Tensor] = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        x = self.mid_block(x)
        for block in self.out_blocks:
            x = block(x, skips.pop())
        patches = self.decoder_pred(self.norm(x))[:, 1:].chunk(2, dim=1)
        out: Tensor = self.final_layer(torch.cat([self._unpatched(part) for part in patches], 1))
        return out

    def _unpatched(self, tokens: Tensor) -> Tensor:
        """(N, patches^2, patch * patch * C) -> (N, C, edge, edge)."""
        patch, count = self.sizes.patch, self.sizes.patches
        parts = tokens.reshape(len(tokens), count, count, patch, patch, self.sizes.channels)
        return parts.permute(0, 5, 1, 3, 2, 4).reshape(
            len(tokens), self.sizes.channels, count * patch, count * patch
        )


def uvit_like(state: State, *, heads: int, condition_first: bool) -> UViT:
    """The net that has the weights `state` ("pos_embed", ...), on the meta device.

    Raises:
        ModelError: these are no weights of such a net, or its width cannot be split into `heads`.
    """
    width, channels, patch, _ = shape_of(state, "patch_embedx.proj.weight", dimensions=4)
    tokens = shape_of(state, "pos_embed", dimensions=3)[1]
    patches = math.isqrt((tokens - 1) // 2)
    if tokens != 1 + 2 * patches**2 or not patches:
        raise ModelError(
            f"The SR3_UViT net has {tokens} positions, which belong to no square tile (1 + twice "
            "a square number)."
        )
    if width % heads:
        raise ModelError(
            f"The width {width} of the SR3_UViT net cannot be split into {heads} heads (num_heads "
            "of Kwargs in the model definition)."
        )
    pairs = len({name.split(".")[1] for name in state if name.startswith("in_blocks.")})
    if pairs > _MOST_BLOCKS:
        raise ModelError(f"The SR3_UViT net has {pairs} blocks in each half: refused.")
    sizes = Sizes(
        channels=channels,
        patch=patch,
        patches=patches,
        width=width,
        hidden=shape_of(state, "mid_block.mlp.fc1.weight", dimensions=2)[0],
        pairs=pairs,
        heads=heads,
        qkv_bias="mid_block.attn.qkv.bias" in state,
    )
    with torch.device("meta"):
        return UViT(sizes, condition_first=condition_first)


def _level_encoding(level: Tensor, width: int) -> Tensor:
    """(N, 1) -> (N, width): cosines and sines of the level."""
    half = width // 2
    steps = torch.arange(half, dtype=level.dtype, device=level.device) / half
    angle = level * torch.exp(-math.log(1e4) * steps)
    return torch.cat([angle.cos(), angle.sin()], dim=1)
