"""Weights that fade neighbouring tiles into each other, over the whole image at once.

Along an axis a tile's weight rises from its border over what it shares with its neighbour, by half
a cosine wave, and is 1 where it is alone and up to the image's edge. It is never 0, so the weights
of all tiles can be divided by their sum everywhere; with two axes they are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.infer.streams import bring
from attachtrans.infer.tiling import Axis


class Ramp(NamedTuple):
    """Weights of one tile over the output pixels that it covers along an axis.

    weight  its share, 0 < weight <= 1; the shares of all tiles add up to 1
    before  the sum of the shares of the tiles before it: exactly 0 where there are none
    """

    weight: NDArray[np.float64]
    before: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fade:
    """A tile's ramp along one axis, on a device, float32."""

    weight: Tensor
    before: Tensor

    @classmethod
    def of(cls, ramp: Ramp, device: torch.device) -> Fade:
        """Bring a ramp to a device."""
        weight, before = (
            bring(torch.from_numpy(values.astype(np.float32)), device) for values in ramp
        )
        return cls(weight, before)

    def share(self, across: Fade) -> Tensor:
        """What the tile (self: its rows) weighs against all before it, (height, width), 0..1."""
        weight = self.weight[:, None] * across.weight
        return weight / (
            self.before[:, None] + self.weight[:, None] * (across.before + across.weight)
        )


def ramps(axis: Axis) -> tuple[Ramp, ...]:
    """One ramp per span of an axis."""
    spans = axis.spans
    raw = []
    for i, span in enumerate(spans):
        weight = np.ones(span.out_stop - span.out_start)
        if i > 0:
            weight *= _rise(spans[i - 1].out_stop - span.out_start, weight.size)
        if i + 1 < len(spans):
            weight *= _rise(span.out_stop - spans[i + 1].out_start, weight.size)[::-1]
        raw.append(weight)
    total = np.zeros(axis.out_size)
    for span, weight in zip(spans, raw, strict=True):
        total[span.out_start : span.out_stop] += weight
    before = np.zeros(axis.out_size)
    result = []
    for span, weight in zip(spans, raw, strict=True):
        place = slice(span.out_start, span.out_stop)
        share = weight / total[place]
        result.append(Ramp(weight=share, before=before[place].copy()))
        before[place] += share
    return tuple(result)


def _rise(width: int, length: int) -> NDArray[np.float64]:
    """Half a cosine wave over the first `width` of `length` pixels, sampled at their centres."""
    wave = np.ones(length)
    wave[:width] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(width) + 0.5) / max(width, 1))
    return wave
