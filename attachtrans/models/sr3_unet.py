"""The denoising U-Net of SR3 (Saharia et al. 2021, arXiv 2104.07636), with ArcGIS's layer names.

Residual blocks with group normalisation at each of several halved sizes, self-attention at some,
skips from every layer on the way down. It is told the noise level, not the number of a step. The
whole structure is read from the weights; only the number of normalisation groups leaves no trace
there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.models.diffusion import DiffusionNet
from attachtrans.models.weights import shape_of

_MOST_LAYERS = 1000
_MOST_HALVINGS = 16

State = Mapping[str, Tensor]


class LevelEncoding(nn.Module):
    """A noise level as sines and cosines of it, at `width` / 2 wavelengths."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = width // 2

    def forward(self, level: Tensor) -> Tensor:
        """(N, 1) -> (N, width)."""
        steps = torch.arange(self.waves, dtype=level.dtype, device=level.device) / self.waves
        angle = level * torch.exp(-math.log(1e4) * steps)
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class LevelShift(nn.Module):
    """A shift of every channel that depends on the noise level."""

    def __init__(self, level_width: int, channels: int) -> None:
        super().__init__()
        self.noise_func = nn.Sequential(nn.Linear(level_width, channels))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(N, channels, H, W) and (N or 1, level_width) -> (N, channels, H, W)."""
        out: Tensor = x + self.noise_func(level)[:, :, None, None]
        return out


class Block(nn.Module):
    """Group normalisation, x * sigmoid(x), 3x3 convolution."""

    def __init__(self, inside: int, outside: int, groups: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(groups, inside),
            nn.SiLU(),
            nn.Identity(),  # dropout while training
            nn.Conv2d(inside, outside, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H, W)."""
        out: Tensor = self.block(x)
        return out


class ResBlock(nn.Module):
    """x + two blocks, with the noise level added between them."""

    def __init__(self, inside: int, outside: int, *, level_width: int, groups: int) -> None:
        super().__init__()
        self.noise_func = LevelShift(level_width, outside)
        self.block1 = Block(inside, outside, groups)
        self.block2 = Block(outside, outside, groups)
        self.res_conv = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(N, inside, H, W) and (N or 1, level_width) -> (N, outside, H, W)."""
        out: Tensor = self.block2(self.noise_func(self.block1(x), level)) + self.res_conv(x)
        return out


class SelfAttention(nn.Module):
    """x + attention of every place to every other, one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        parts = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        query, key, value = (part.contiguous() for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        return out


class Layer(nn.Module):
    """A residual block, with attention after it where the weights have it."""

    def __init__(
        self, inside: int, outside: int, *, level_width: int, groups: int, attends: bool
    ) -> None:
        super().__init__()
        self.res_block = ResBlock(inside, outside, level_width=level_width, groups=groups)
        self.attn = SelfAttention(outside, groups) if attends else None

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(N, inside, H, W) and (N or 1, level_width) -> (N, outside, H, W)."""
        out: Tensor = self.res_block(x, level)
        return out if self.attn is None else self.attn(out)


class Downsample(nn.Module):
    """Halved by a convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H / 2, W / 2)."""
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Doubled by repetition, then convolved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, 2 H, 2 W)."""
        out: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class UNet(DiffusionNet):
    """The net, of the given layers; `bands` is C of its latent."""

    def __init__(
        self,
        *,
        level_width: int,
        downs: list[nn.Module],
        mid: list[nn.Module],
        ups: list[nn.Module],
        final_conv: Block,
        bands: int,
    ) -> None:
        super().__init__()
        self.noise_level_mlp = nn.Sequential(
            LevelEncoding(level_width),
            nn.Linear(level_width, 4 * level_width),
            nn.SiLU(),
            nn.Linear(4 * level_width, level_width),
        )
        self.downs = nn.ModuleList(downs)
        self.mid = nn.ModuleList(mid)
        self.ups = nn.ModuleList(ups)
        self.final_conv = final_conv
        self.bands = bands
        halvings = sum(isinstance(layer, Downsample) for layer in downs)
        self.multiple_of = 2 ** min(halvings, _MOST_HALVINGS)

    def forward(self, condition: Tensor, latent: Tensor, level: Tensor) -> Tensor:
        """Two of (N, C, H, W) and (N or 1, 1) -> (N, C, H, W); see `DiffusionNet`."""
        told = self.noise_level_mlp(level)
        x = torch.cat([condition, latent], dim=1)
        skips: list[Tensor] = []
        for layer in self.downs:
            x = layer(x, told) if isinstance(layer, Layer) else layer(x)
            skips.append(x)
        for layer in self.mid:
            x = layer(x, told)
        for layer in self.ups:
            if isinstance(layer, Layer):
                x = layer(torch.cat([x, skips.pop()], dim=1), told)
            else:
                x = layer(x)
        out: Tensor = self.final_conv(x)
        return out


def unet_like(state: State, *, groups: int) -> UNet:
    """The net that has the weights `state` ("downs.0.weight", ...), on the meta device.

    groups  number of normalisation groups

    Raises:
        ModelError: these are no weights of such a net, or their channels cannot be put into so
            many groups.
    """
    first, last = _kernel(state, "downs.0"), _kernel(state, "final_conv.block.3")
    width = shape_of(state, "noise_level_mlp.3.weight", dimensions=2)[0]

    def layer(name: str, *, down: bool) -> nn.Module:
        if f"{name}.conv.weight" in state:
            channels = _kernel(state, f"{name}.conv")[0]
            return Downsample(channels) if down else Upsample(channels)
        outside, inside = _kernel(state, f"{name}.res_block.block1.block.3")
        attends = f"{name}.attn.qkv.weight" in state
        return Layer(inside, outside, level_width=width, groups=groups, attends=attends)

    with torch.device("meta"):
        try:
            net = UNet(
                level_width=width,
                downs=[
                    nn.Conv2d(first[1], first[0], 3, padding=1),
                    *(layer(f"downs.{i}", down=True) for i in range(1, _count(state, "downs"))),
                ],
                mid=[layer(f"mid.{i}", down=True) for i in range(_count(state, "mid"))],
                ups=[layer(f"ups.{i}", down=False) for i in range(_count(state, "ups"))],
                final_conv=Block(last[1], last[0], groups),
                bands=last[0],
            )
        except ValueError as error:
            raise ModelError(
                f"The channels of the SR3 net cannot be put into {groups} groups (norm_groups of "
                f"Kwargs in the model definition): {error}"
            ) from error
        _try(net, inside=first[1])
    return net


def _try(net: UNet, *, inside: int) -> None:
    """Raise unless the layers fit each other; on the meta device, which computes shapes only."""
    if sum(isinstance(layer, Layer) for layer in net.ups) != len(net.downs):
        raise ModelError("The layers of the SR3 net do not fit together: skips are left over.")
    edge = 2 * net.multiple_of
    try:
        condition = torch.empty(1, inside - net.bands, edge, edge)
        latent = torch.empty(1, net.bands, edge, edge)
        found = net(condition, latent, torch.empty(1, 1))
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise ModelError(
            f"The layers of the SR3 net do not fit together: {error!s:.300}"
        ) from error
    if found.shape != latent.shape:
        raise ModelError(
            f"The SR3 net gives {tuple(found.shape)} for {tuple(latent.shape)}: its weights are "
            "incomplete."
        )


def _kernel(state: State, name: str) -> tuple[int, int]:
    """(channels out, channels in) of a convolution."""
    outside, inside, _, _ = shape_of(state, f"{name}.weight", dimensions=4)
    return outside, inside


def _count(state: State, part: str) -> int:
    """How many layers the part has: they are numbered from 0 without a gap."""
    prefix = f"{part}."
    numbers = {name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)}
    count = len(numbers)
    if not 0 < count <= _MOST_LAYERS or numbers != {str(number) for number in range(count)}:
        raise ModelError(f'The layers "{part}" of the SR3 net are not numbered from 0 on.')
    return count
