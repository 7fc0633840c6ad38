"""SRNet, the family of the built-in model `sr-x2`: a small net that doubles an RGB photo.

A few 3x3 convolutions at the input's resolution and a pixel shuffle (the sub-pixel convolution of
Shi et al. 2016, arXiv 1609.05158), beside a linear 5x5 path that starts as bicubic interpolation:
the convolutions only add what a linear filter cannot know. There is no normalisation and nothing
global, so an output pixel depends on a bounded neighbourhood and tiles with that halo give exactly
the untiled result. The photo's edge is replicated once, before the first layer, and no layer pads:
a flat photo stays flat up to its border.

Keys of the definition (.emd) that say how to build the net:

    Scale          2
    InputBands     3, OutputBands 3
    Features       channels of the hidden layers, 1..256
    HiddenLayers   3x3 convolutions between the first and the last one, 0..64
    ReceptiveField optional; checked against the net: HiddenLayers + 3 input pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.errors import ModelError

SCALE = 2
BANDS = 3
MAX_FEATURES = 256
MAX_HIDDEN_LAYERS = 64

_LINEAR_KERNEL = 5
_HEAD_KERNEL = 5


class SRNet(nn.Module):
    """RGB in 0..1 to RGB in 0..1 of twice the width and height."""

    def __init__(self, *, features: int, hidden_layers: int) -> None:
        super().__init__()
        out_channels = BANDS * SCALE**2
        self.linear = nn.Conv2d(BANDS, out_channels, _LINEAR_KERNEL, bias=False)
        self.head = nn.Conv2d(BANDS, features, _HEAD_KERNEL)
        self.hidden = nn.ModuleList(nn.Conv2d(features, features, 3) for _ in range(hidden_layers))
        self.tail = nn.Conv2d(features, out_channels, 3)
        self.receptive_field_px = _HEAD_KERNEL // 2 + hidden_layers + 1

    def forward(self, photo: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 3, 2 H, 2 W) in 0..1; any H and W from 1 on."""
        halo = self.receptive_field_px
        padded = functional.pad(photo, (halo, halo, halo, halo), mode="replicate")
        detail = functional.relu(self.head(padded))
        for layer in self.hidden:
            detail = functional.relu(layer(detail))
        unseen = halo - _LINEAR_KERNEL // 2
        base = self.linear(padded[..., unseen:-unseen, unseen:-unseen])
        out: Tensor = functional.pixel_shuffle(base + self.tail(detail), SCALE)
        return torch.clamp(out, 0.0, 1.0)


def build(raw: Mapping[str, Any]) -> SRNet:
    """Make the net that a definition describes, with random weights, in evaluation mode.

    `raw` is the definition's JSON object; the weights are the caller's to load.

    Raises:
        ModelError: a key is missing, out of range or contradicts the family.
    """
    for key, only in (("Scale", SCALE), ("InputBands", BANDS), ("OutputBands", BANDS)):
        if _integer(raw, key, 1, 16) != only:
            raise ModelError(
                f"SRNet definition: {key} is {raw[key]!r}, but this family only knows {only}."
            )
    net = SRNet(
        features=_integer(raw, "Features", 1, MAX_FEATURES),
        hidden_layers=_integer(raw, "HiddenLayers", 0, MAX_HIDDEN_LAYERS),
    )
    if "ReceptiveField" in raw and raw["ReceptiveField"] != net.receptive_field_px:
        raise ModelError(
            f"SRNet definition: ReceptiveField is {raw['ReceptiveField']!r}, but the net that"
            f" HiddenLayers describes sees {net.receptive_field_px} pixels: tiles would not fit"
            " together. Correct the key or leave it out."
        )
    # Channels-last weights make the convolutions run in that layout: 1.2 to 1.5 times as fast.
    nn.utils.convert_conv2d_weight_memory_format(net, torch.channels_last)
    return net.eval()


def _integer(raw: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = raw.get(key)
    if value is None:
        raise ModelError(
            f"SRNet definition: the key {key} is missing; give a whole number {low}..{high}."
        )
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ModelError(
            f"SRNet definition: {key} is {value!r}; a whole number {low}..{high} is needed."
        )
    return value
