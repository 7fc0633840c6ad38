"""Normal noise for diffusion nets: drawn for places in an image, or recorded.

Noise that belongs to places makes overlapping tiles agree on it, so that a result depends neither
on how an image is cut nor on what else is in a batch. It comes from a counter: the seed, the draw,
the row, the column and the channel are hashed (the finaliser of SplitMix64: Steele, Lea and Flood
2014, doi 10.1145/2660193.2660195, with Stafford's constants), and the two halves of the hash become
one normal value (Box and Muller 1958).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError


class Noise(Protocol):
    """Where a diffusion net takes its noise from; draws are asked for in ascending order."""

    def draw(self, number: int, shape: torch.Size, positions: Tensor) -> Tensor:
        """Normal values of `shape` (N, channels, height, width), float32.

        number      0 for the noise that a tile starts from, step k uses k + 1
        positions   (N, 2) int64, (col, row) of each tile's first value in the whole image; the
                    values are on its device
        """
        ...

    def skip(self) -> None:
        """Pass over a draw that the reference makes and does not use."""
        ...


class PlaceNoise:
    """Noise that depends on the seed, the draw and the place alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def draw(self, number: int, shape: torch.Size, positions: Tensor) -> Tensor:
        """See `Noise`."""
        _, channels, height, width = shape
        device = positions.device
        origin = positions.to(torch.int64)
        rows = origin[:, 1, None] + torch.arange(height, device=device)
        cols = origin[:, 0, None] + torch.arange(width, device=device)
        bands = torch.arange(channels, device=device)
        # Filled in, not copied: a copy would wait for the device.
        seed, count = (
            torch.full((1,), value, dtype=torch.int64, device=device)
            for value in (self._seed, number)
        )
        key = _mix(_mix(seed) + count * _GOLDEN)
        key = _mix(key + rows * _GOLDEN)[:, None, :, None]
        key = _mix(key + cols[:, None, None, :] * _GOLDEN)
        return _normal(_mix(key + bands[:, None, None] * _GOLDEN))

    def skip(self) -> None:
        """See `Noise`: places have no order, so there is nothing to pass over."""


class RecordedNoise:
    """Draws that were recorded, in their order."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        self._draws: Iterator[Tensor] = iter(draws)

    def draw(self, number: int, shape: torch.Size, positions: Tensor) -> Tensor:
        """See `Noise`.

        Raises:
            ArgumentError: there is none left, or it has another shape.
        """
        values = torch.as_tensor(self._next(number)).to(positions.device, torch.float32)
        if values.shape != shape:
            raise ArgumentError(
                f"noise: the recorded draw {tuple(values.shape)} is used where {tuple(shape)} is "
                "needed: give the draws of the same batch and arguments."
            )
        return values

    def skip(self) -> None:
        """See `Noise`."""
        self._next(None)

    def _next(self, number: int | None) -> Tensor:
        try:
            return next(self._draws)
        except StopIteration:
            where = "one that is passed over" if number is None else f"number {number}"
            raise ArgumentError(
                f"noise: the recorded draws end before {where}: give all draws of one call."
            ) from None


def _signed(value: int) -> int:
    """64 bits as the signed number that torch knows."""
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _mix(value: Tensor) -> Tensor:
    """Hash 64-bit integers, one to one; products wrap around, as they are meant to."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return value ^ _shift(value, 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Shift right without the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _normal(bits: Tensor) -> Tensor:
    """Uniform 64-bit integers to normal float32 values; the largest are about 6.7."""
    first = (_shift(bits, 32).float() + 0.5) * 2.0**-32
    second = (bits & 0xFFFFFFFF).float() * (2 * math.pi * 2.0**-32)
    return (first.log() * -2).sqrt() * second.cos()
