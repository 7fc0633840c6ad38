"""A U-Net decoder on a ResNet encoder, with the layer numbers of fastai version 1.

(https://github.com/fastai/fastai1, "DynamicUnet".) After the encoder come a batch norm, two 3x3
convolutions, four blocks that double the size and take up what the encoder saw at it, a fifth
doubling, the net's own input as further channels, a residual block and a 1x1 convolution. Doubling
is by pixel shuffle (Shi et al. 2016, arXiv 1609.05158), the self-attention that of Zhang et al.
2018 (arXiv 1805.08318).

ArcGIS uses two finishes of it: super-resolution nets have weight norm, smoothed pixel shuffles and
perhaps self-attention in the second block; Pix2Pix nets have batch norm after the activations.
Weight norm and spectral norm are folded into the weights when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models import resnet
from attachtrans.models.extent import Extent
from attachtrans.models.folding import fold_norms
from attachtrans.models.resnet import ResNetPlan
from attachtrans.models.weights import fill, part_of, shape_of

MULTIPLE_OF = 32
"""The encoder halves five times. Other sizes run too, but their features do not line up."""

_SKIPS = (6, 5, 4, 2)
"""The encoder's parts whose results the blocks take up, deepest first."""
_ATTENTION_BLOCK, _LAST_BLOCK = 5, 7
_ATTENTION_KEYS = 8
"""Channels of the self-attention per channel of its keys and queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetPlan:
    """The sizes and the finish of a net.

    bands_out   channels of the result
    batch_norm  Pix2Pix's finish, else that of super-resolution
    attention   self-attention in the second block
    resized     whether the net was saved with a layer that fits the last doubling to the input
                (made for odd training sizes); it moves the numbers of later layers by one
    """

    encoder: ResNetPlan
    bands_out: int
    batch_norm: bool
    attention: bool = False
    resized: bool = False

    @property
    def receptive_field_px(self) -> int | None:
        """How far an output pixel looks, for tiles of multiples of 32; None with attention."""
        if self.attention:
            return None
        *skips, deepest = self.encoder.extents()
        extent = deepest.convolved(3, times=2)
        for skip in reversed(skips):
            extent = extent.doubled()
            if not self.batch_norm:
                extent = extent.with_previous()
            extent = extent.joined(skip).convolved(3, times=2)
        return extent.doubled().joined(Extent()).convolved(3, times=2).reach_px


class Shuffle(nn.Module):
    """Twice the size: 1x1 convolution, ReLU, pixel shuffle, perhaps smoothed by a 2x2 mean."""

    def __init__(self, inside: int, out: int, *, smooth: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inside, 4 * out, 1))
        self.smooth = smooth

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, out, 2 H, 2 W)."""
        y = functional.pixel_shuffle(functional.relu(self.conv(x)), 2)
        if not self.smooth:
            return y
        return functional.avg_pool2d(functional.pad(y, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class SelfAttention(nn.Module):
    """Every place looks at every other: x + gamma * value weighted by likeness."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv1d(channels, channels // _ATTENTION_KEYS, 1, bias=False)
        self.key = nn.Conv1d(channels, channels // _ATTENTION_KEYS, 1, bias=False)
        self.value = nn.Conv1d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        flat = x.flatten(2)
        # The weights of a place sum to 1 over the queries, so these act as keys and vice versa.
        attended = functional.scaled_dot_product_attention(
            self.key(flat).mT, self.query(flat).mT, self.value(flat).mT, scale=1.0
        )
        return x + self.gamma * attended.mT.reshape(x.shape)


class Block(nn.Module):
    """Doubles the size and takes up a result of the encoder: (x, skip) -> `out` channels."""

    def __init__(
        self, inside: int, skip: int, out: int, *, batch_norm: bool, attention: bool
    ) -> None:
        super().__init__()
        self.shuf = Shuffle(inside, inside // 2, smooth=not batch_norm)
        self.bn = nn.BatchNorm2d(skip)
        self.conv1 = _conv(inside // 2 + skip, out, batch_norm=batch_norm)
        self.conv2 = _conv(out, out, batch_norm=batch_norm)
        if attention:
            self.conv2.append(SelfAttention(out))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inside, H, W), (N, skip, 2 H, 2 W) -> (N, out, 2 H, 2 W)."""
        doubled = _fitted(self.shuf(x), skip)
        both = functional.relu(torch.cat([doubled, self.bn(skip)], dim=1))
        out: Tensor = self.conv2(self.conv1(both))
        return out


class Residual(nn.Module):
    """x + two 3x3 convolutions of it."""

    def __init__(self, channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _conv(channels, channels, batch_norm=batch_norm) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        first, second = self.layers
        out: Tensor = x + second(first(x))
        return out


class DynamicUNet(nn.Module):
    """(N, bands, H, W) -> (N, bands_out, H, W), best for multiples of 32."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        stem, *stages = plan.encoder.channels
        batch_norm = plan.batch_norm
        width = stages[-1]
        middle = (
            _conv(width, 2 * width, batch_norm=batch_norm),
            _conv(2 * width, width, batch_norm=batch_norm),
        )
        layers: list[nn.Module] = [
            resnet.encoder(plan.encoder),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Sequential(*middle),
        ]
        for place, skip in enumerate((*reversed(stages[:-1]), stem), start=4):
            both = width // 2 + skip
            out = both // 2 if place == _LAST_BLOCK else both
            attention = plan.attention and place == _ATTENTION_BLOCK
            layers.append(Block(width, skip, out, batch_norm=batch_norm, attention=attention))
            width = out
        layers.append(Shuffle(width, width, smooth=False))
        layers.append(nn.Identity())  # where the input joins
        if plan.resized:
            layers.append(nn.Identity())
        width += plan.encoder.bands
        layers.append(Residual(width, batch_norm=batch_norm))
        layers.append(_conv(width, plan.bands_out, kernel=1, active=False, batch_norm=batch_norm))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        encoder, norm, relu, middle, *blocks = self.layers[: _LAST_BLOCK + 1]
        shuffle, residual, last = self.layers[_LAST_BLOCK + 1], self.layers[-2], self.layers[-1]
        y = x
        seen: dict[int, Tensor] = {}
        for index, part in enumerate(encoder.children()):
            y = part(y)
            if index in _SKIPS:
                seen[index] = y
        y = middle(relu(norm(y)))
        for block, index in zip(blocks, _SKIPS, strict=True):
            y = block(y, seen.pop(index))
        y = torch.cat([_fitted(shuffle(y), x), x], dim=1)
        out: Tensor = last(residual(y))
        return out


def read_unet(state: Mapping[str, Tensor], *, what: str) -> tuple[DynamicUNet, UNetPlan]:
    """The net of a state dict whose keys begin with "layers.", filled, and its sizes.

    Raises:
        ModelError: the weights are of no such net; `what` names them in the message.
    """
    plain = fold_norms(state)
    resized = any(name.startswith("layers.11.layers.") for name in plain)
    bands_out, *_ = shape_of(plain, f"layers.{12 if resized else 11}.0.weight", dimensions=4)
    plan = UNetPlan(
        encoder=resnet.read_plan(part_of(plain, "layers.0.")),
        bands_out=bands_out,
        batch_norm="layers.3.0.2.running_mean" in plain,
        attention=f"layers.{_ATTENTION_BLOCK}.conv2.2.gamma" in plain,
        resized=resized,
    )
    with torch.device("meta"):
        net = DynamicUNet(plan)
    fill(net, plain, what=what)
    return net, plan


def _conv(
    inside: int, out: int, *, batch_norm: bool, kernel: int = 3, active: bool = True
) -> nn.Sequential:
    """Convolution, ReLU where `active`, batch norm where the finish has it."""
    layers: list[nn.Module] = [
        nn.Conv2d(inside, out, kernel, padding=kernel // 2, bias=not batch_norm)
    ]
    if active:
        layers.append(nn.ReLU(inplace=True))
    if batch_norm:
        layers.append(nn.BatchNorm2d(out))
    return nn.Sequential(*layers)


def _fitted(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of `like`, where an odd size was halved."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, like.shape[2:], mode="nearest")
