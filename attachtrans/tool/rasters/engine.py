"""Engines as rasters need them: windows of large rasters, or a small raster in one piece.

This imports torch: see `tool.engines`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.infer.activations import free_memory
from attachtrans.infer.engine import Engine
from attachtrans.infer.excerpts import BLOCK_PX, Excerpt, excerpts
from attachtrans.infer.tiling import output_size
from attachtrans.models.translator import TranslatorSpec
from attachtrans.roles import MaskingEngine, PhotoEngine, Translated
from attachtrans.stores.raster import RasterOptions
from attachtrans.stores.raster.validity import reach_for
from attachtrans.tool.choices import ModelChoice
from attachtrans.tool.engines import LoadedModel
from attachtrans.tool.fitting import beyond_full_scale
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.rasters.prepare import Prepared, View, prepare
from attachtrans.types import Size, Window
from attachtrans.windowed import WindowEngine

# Bytes of float32 that a net's own values take per pixel of a raster in one piece, about.
_BYTES_PER_VALUE = 4
_MOST_WRITERS = 8


class RasterEngines:
    """The engines of a loaded net, and how they take rasters."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        engines = [one for one in loaded.engines if isinstance(one, Engine)]
        # Diffusion and exact seams look at the whole, and raster functions and the reference's
        # blocks choose their own tiles.
        in_windows = len(engines) == len(loaded.engines) and all(
            engine.takes_excerpts for engine in engines
        )
        self._engines: list[Engine[int]] = engines if in_windows else []

    @property
    def writers(self) -> int:
        """Threads that encode: on a CPU the net needs the cores."""
        if not self._loaded.on_gpu:
            return 1
        return max(1, min(_MOST_WRITERS, (os.cpu_count() or 1) // 3))

    def prepared(self, view: View, choice: RasterChoice, model: ModelChoice) -> Prepared:
        """Settle what becomes of a raster. Raises ArgumentError."""
        plan = self._engines[0].plan(view.raster.size) if self._engines else None
        if plan is None:
            _require_memory(view, self._loaded.spec)
        return prepare(view, choice, model, self._loaded.spec, plan)

    def excerpts(self, prepared: Prepared, start: int) -> Iterator[Excerpt]:
        """The blocks of a result, without the first `start`."""
        if prepared.plan is not None:
            return excerpts(
                prepared.plan, self._loaded.spec, start=start, in_strips=prepared.in_strips
            )
        return iter([_everything(prepared)][start:])

    def require_tiles(self, prepared: Prepared, options: RasterOptions) -> None:
        """Raise ArgumentError where the file's tiles are such that blocks are not made of them."""
        if prepared.plan is not None and BLOCK_PX % options.side:
            raise ArgumentError(
                f"--co BLOCKXSIZE={options.side}: rasters are written in blocks of {BLOCK_PX} "
                f"pixels: give 64, 128, 256 or {BLOCK_PX}, or leave it out"
            )

    def rows(self, prepared: Prepared) -> int:
        """How many rows of the raster are read for a row of blocks, one in the middle of it."""
        first = next(self.excerpts(prepared, 0))
        return 2 * first.window.height - first.source.height

    def windows(self, prepared: Prepared) -> Sequence[WindowEngine]:
        """The engines that take them: blended blocks of a panel have to go to one."""
        if prepared.plan is None:
            return [AtOnce(self._loaded.engines[0])]
        return self._engines if prepared.plan.exact else self._engines[:1]

    def objection(self, values: NDArray[Any], valid: NDArray[Any] | None) -> str | None:
        """See `windowed.Reading`: heights are no picture for a net that takes 0..1."""
        if self._loaded.spec.in_range is None or values.dtype.kind != "f":
            return None
        if valid is not None:
            values = values[np.broadcast_to(valid, values.shape)]
        return beyond_full_scale(values)

    def reach(self, prepared: Prepared) -> int:
        """How far pixels without data are filled."""
        field = self._loaded.spec.receptive_field_px
        if prepared.plan is not None and prepared.plan.exact and field is not None:
            return reach_for(field)
        return reach_for(max(prepared.plan.tile) // 2 if prepared.plan is not None else 512)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """A `WindowEngine` whose only window is the whole raster."""

    engine: PhotoEngine

    def submit(
        self,
        key: int,
        array: NDArray[Any],
        *,
        excerpt: Excerpt,
        valid: NDArray[Any] | None,
    ) -> Sequence[tuple[int, Translated | Exception]]:
        """See `WindowEngine`."""
        del excerpt
        if valid is not None and isinstance(self.engine, MaskingEngine):
            return self.engine.submit_masked(key, array, valid)
        return self.engine.submit(key, array)

    def flush(self) -> Sequence[tuple[int, Translated | Exception]]:
        """See `WindowEngine`."""
        return self.engine.flush()


def _everything(prepared: Prepared) -> Excerpt:
    whole = _window(prepared.view.raster.size)
    result = _window(prepared.spec.size)
    return Excerpt(block=result, source=whole, window=whole, place=result)


def _window(size: Size) -> Window:
    return Window(col=0, row=0, width=size.width, height=size.height)


def _require_memory(view: View, net: TranslatorSpec) -> None:
    """Raise ArgumentError when a raster in one piece would not fit into memory."""
    size, free = view.raster.size, free_memory()
    out = output_size(size, net)
    values = size.width * size.height * net.in_bands + 2 * out.width * out.height * net.out_bands
    if free and values * _BYTES_PER_VALUE > free:
        raise ArgumentError(
            f"{view.raster.name}: this model, or these --seams or --compat, takes a raster of "
            f"{size.width} x {size.height} pixels in one piece, for which there is not enough "
            "memory: give a part of it with --extent"
        )
