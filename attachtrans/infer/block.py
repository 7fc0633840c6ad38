"""The reference tool's own way of tiling one block, for comparing results with it number by number.

Work with photos and rasters goes through `Engine`, which blends over the whole image.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.canvas import read_tile, upload
from attachtrans.infer.ranges import decoding
from attachtrans.models.translator import Translator
from attachtrans.types import Window


@torch.inference_mode()
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
    spec = translator.spec
    side = isqrt(batch_size)
    _, height, width = block.shape
    tall, wide = (_tile_edge(edge, padding, side) for edge in (height, width))
    image = upload(block, translator.device)
    batch = torch.empty((side * side, spec.in_bands, tall, wide), device=translator.device)
    rows = [row * (tall - 2 * padding) for row in range(side) for _ in range(side)]
    cols = [col * (wide - 2 * padding) for _ in range(side) for col in range(side)]
    for tile, row, col in zip(batch, rows, cols, strict=True):
        window = Window(col=col, row=row, width=wide, height=tall)
        read_tile(image, window, decoding(block.dtype, spec), tile)
    positions = torch.tensor(list(zip(cols, rows, strict=True)), device=translator.device)
    results = translator(batch, positions).float().cpu().numpy()
    scale = int(spec.scale)
    if results.shape[2:] != (tall * scale, wide * scale) or scale != spec.scale:
        raise InferenceError(
            f"blocks need a whole scale, and the net gave {results.shape} for {batch.shape}"
        )
    mask = np.outer(_hann(tall * scale), _hann(wide * scale))
    total = np.zeros((results.shape[1], height * scale, width * scale))
    weight = np.zeros(total.shape[1:])
    for tile, row, col in zip(results, rows, cols, strict=True):
        place = np.s_[
            row * scale : (row + tall) * scale,
            col * scale : (col + wide) * scale,
        ]
        total[:, *place] += tile * mask
        weight[place] += mask
    crop = slice(padding * scale, -padding * scale or None)
    with np.errstate(invalid="ignore"):
        return (total[:, crop, crop] / weight[crop, crop]).astype(np.float32)


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
