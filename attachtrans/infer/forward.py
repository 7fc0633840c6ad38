"""One call of a net: tiles are cut out, computed together, and checked."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from attachtrans.errors import InferenceError
from attachtrans.infer.canvas import read_tile
from attachtrans.infer.jobs import Tile
from attachtrans.infer.precision import Caller
from attachtrans.infer.streams import bring
from attachtrans.infer.tiling import exact_scale
from attachtrans.models.translator import TranslatorSpec

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Forward:
    """A net that takes tiles of images in memory, in the precision of its caller."""

    caller: Caller
    spec: TranslatorSpec
    device: torch.device

    @torch.inference_mode()
    def __call__(self, tiles: list[Tile[K]]) -> list[Tensor]:
        """Tiles of one size -> what their canvases made of the results, to be added to them.

        Raises InferenceError for a result of another size than the net's definition says.
        """
        width, height = tiles[0].job.plan.tile
        shape = (self.spec.fixed_batch or len(tiles), self.spec.in_bands, height, width)
        batch = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        # A fixed batch is filled up with its last tile.
        filled = [tiles[min(i, len(tiles) - 1)] for i in range(shape[0])]
        for tile, place in zip(filled, batch, strict=True):
            read_tile(tile.job.image, tile.window, tile.job.decoding, place)
        positions = bring(torch.tensor([tile.position for tile in filled]), self.device)
        results = self.caller(batch, positions)
        plan = tiles[0].job.plan
        expected = (shape[0], self.spec.out_bands, plan.rows.out_length, plan.columns.out_length)
        if results.shape != expected:
            scale = exact_scale(self.spec.scale)
            raise InferenceError(
                f"the net gave {tuple(results.shape)} for tiles {shape} where {expected} was "
                f"expected (scale {scale}, margin {self.spec.margin_px}): "
                "correct its definition"
            )
        return [
            tile.job.canvas.prepare(result, tile.row, tile.column)
            for tile, result in zip(tiles, results, strict=False)
        ]
