"""The reference tool's own way of tiling: blocks of a few tiles, each blended by itself.

`translate_block` compares one block number by number; `attachtrans.infer.blockwise` runs photos so.
All other work goes through `Engine`, which blends over the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.canvas import read_tile, upload
from attachtrans.infer.ranges import Decoding, decoding
from attachtrans.models.translator import Translator
from attachtrans.types import Size, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRule:
    """How blocks are made of tiles (ArcGIS 2.x image translation); sizes in input pixels.

    A block holds side x side tiles that begin every tile - 2 * padding pixels, and `padding`
    pixels on each side that are cropped off its result.
    """

    tile: Size
    padding: int
    side: int

    @property
    def stride(self) -> Size:
        """Pixels from one tile to the next, which both have to themselves."""
        width, height = self.tile
        return Size(width - 2 * self.padding, height - 2 * self.padding)

    @property
    def inner(self) -> Size:
        """The size of what remains of a block."""
        width, height = self.stride
        return Size(width * self.side, height * self.side)

    @torch.inference_mode()
    def translate(
        self, translator: Translator, image: Tensor, to_net: Decoding, corner: tuple[int, int]
    ) -> NDArray[np.float32]:
        """One block of an image: (out_bands, height, width) in target units, padding cropped.

        image   (bands, height, width) on the translator's device; pixels beyond it are reflected
        corner  (col, row) of the block's first pixel, padding included

        All tiles run as one batch, are weighted by a periodic Hann window and divided by the sum
        of the weights. Raises InferenceError for a result of another size than scale says.
        """
        spec, (across, down) = translator.spec, self.stride
        places = [(i * across, j * down) for j in range(self.side) for i in range(self.side)]
        wide, tall = self.tile
        batch = torch.empty((len(places), spec.in_bands, tall, wide), device=translator.device)
        corners = [(corner[0] + left, corner[1] + top) for left, top in places]
        for tile, (col, row) in zip(batch, corners, strict=True):
            read_tile(image, Window(col=col, row=row, width=wide, height=tall), to_net, tile)
        results = translator(batch, torch.tensor(corners, device=translator.device)).float()
        scale = int(spec.scale)
        if results.shape[2:] != (tall * scale, wide * scale) or scale != spec.scale:
            raise InferenceError(
                f"blocks need a whole scale, and the net gave {results.shape} for {batch.shape}"
            )
        return self._blended(results.cpu().numpy(), places, scale)

    def _blended(
        self, results: NDArray[np.float32], places: list[tuple[int, int]], scale: int
    ) -> NDArray[np.float32]:
        _, bands, tall, wide = results.shape
        mask = np.outer(_hann(tall), _hann(wide))
        width, height = (scale * (edge + 2 * self.padding) for edge in self.inner)
        total, weight = np.zeros((bands, height, width)), np.zeros((height, width))
        for tile, (left, top) in zip(results, places, strict=True):
            rows = slice(top * scale, top * scale + tall)
            cols = slice(left * scale, left * scale + wide)
            total[:, rows, cols] += tile * mask
            weight[rows, cols] += mask
        crop = slice(self.padding * scale, -self.padding * scale or None)
        with np.errstate(invalid="ignore"):
            return (total[:, crop, crop] / weight[crop, crop]).astype(np.float32)


def translate_block(
    translator: Translator, block: NDArray[Any], *, padding: int, batch_size: int
) -> NDArray[np.float32]:
    """Translate one pixel block by the reference's block rule (ArcGIS 2.x image translation).

    block (bands, height, width) holds side x side tiles, side = floor(sqrt(batch_size)), that
    begin every tile - 2 * padding pixels, plus `padding` pixels on each side: its edges are
    (tile - 2 * padding) * side + 2 * padding. All tiles run as one batch, are weighted by a
    periodic Hann window and divided by the sum of the weights; `padding` is cropped off. The
    result is float32 in target units, neither rounded nor clipped.
    With padding 0 the window is 0 on the first row and column of each tile, so the result is NaN
    there, as in the reference.
    Raises ArgumentError when the block's size does not fit, InferenceError for a result of
    another size than spec.scale times the tiles.
    """
    side = isqrt(batch_size)
    _, height, width = block.shape
    tall, wide = (_tile_edge(edge, padding, side) for edge in (height, width))
    rule = BlockRule(tile=Size(wide, tall), padding=padding, side=side)
    image, to_net = upload(block, translator.device), decoding(block.dtype, translator.spec)
    return rule.translate(translator, image, to_net, (0, 0))


def _tile_edge(edge: int, padding: int, side: int) -> int:
    inner = edge - 2 * padding
    if side < 1 or padding < 0 or inner < side or inner % side:
        raise ArgumentError(
            f"a block edge of {edge} pixels does not hold {side} tiles with padding {padding}: "
            "it must be (tile - 2 * padding) * floor(sqrt(batch_size)) + 2 * padding"
        )
    return inner // side + 2 * padding


def _hann(length: int) -> NDArray[np.float64]:
    """The periodic Hann window: 0 at its first sample, as the reference has it."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
