"""Whole photos by the reference's block rule (`--compat`), for comparing results with it.

Blocks lie side by side from the first pixel on and are not blended with each other, so seams may
show where they meet; beyond the photo's edge pixels are reflected. Values are then rounded and
clipped as everywhere here: the reference's last step, a cast that wraps, is left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import replace
from math import isqrt
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.block import BlockRule
from attachtrans.infer.canvas import Canvas, upload
from attachtrans.infer.delivery import Delivery, Translated
from attachtrans.infer.faults import failure
from attachtrans.infer.ranges import decoding, encoding
from attachtrans.infer.tiling import Axis, Plan, Span
from attachtrans.models.translator import Translator
from attachtrans.types import Size

K = TypeVar("K", bound=Hashable)

_DEFAULT_BATCH = 4
_HOST = torch.device("cpu")


def reference_rule(*, tile: int | None, padding: int | None, batch_size: int | None) -> BlockRule:
    """The rule that the reference follows with these arguments; None is its default.

    tile        ImageHeight of the definition, whatever tile_size says
    padding     default a quarter of the tile
    batch_size  default 4; tiles along an edge of a block are the root of it, rounded down

    Raises ArgumentError where the reference fails or divides by zero, and without a tile.
    """
    if tile is None:
        raise ArgumentError("--compat: the model definition states no ImageHeight, the tile size")
    around = tile // 4 if padding is None else padding
    if not 0 < around < tile / 2:
        raise ArgumentError(
            f"-a padding={around}: with --compat and tiles of {tile} pixels it must be 1 to "
            f"{(tile - 1) // 2}; with others the reference divides by zero or fails"
        )
    return BlockRule(
        tile=Size(tile, tile), padding=around, side=isqrt(batch_size or _DEFAULT_BATCH)
    )


class BlockEngine(Generic[K]):
    """Runs a net over images of any size, block by block; driven as `Engine` is.

    translator  a net that keeps the size
    on_pixels   called after every block with the number of the image's own pixels done by it;
                failed images are counted whole
    stop        once set nothing more is computed, and unfinished images are dropped
    precision   what the translator computes in, for messages
    """

    def __init__(
        self,
        translator: Translator,
        rule: BlockRule,
        *,
        on_pixels: Callable[[int], None],
        stop: threading.Event,
        precision: str = "fp32",
    ) -> None:
        self._translator = translator
        self._rule = rule
        self._report = on_pixels
        self._stop = stop
        self._precision = precision

    def submit(self, key: K, array: NDArray[Any]) -> list[tuple[K, Translated | InferenceError]]:
        """Translate one image (bands, height, width), here and now.

        Gives nothing when stopped, and an InferenceError as the result of an image that failed.
        """
        left = array.shape[1] * array.shape[2]
        try:
            plan = block_plan(Size(array.shape[2], array.shape[1]), self._rule)
            canvas = self._canvas(plan, array.dtype)
            image = upload(array, self._translator.device)
            to_net = decoding(array.dtype, self._translator.spec)
            for row, column in plan:
                if self._stop.is_set():
                    return []
                down, across = plan.rows.spans[row], plan.columns.spans[column]
                corner = across.start, down.start
                block = self._rule.translate(self._translator, image, to_net, corner)
                canvas.paste(torch.from_numpy(block), row, column)
                done = (down.out_stop - down.out_start) * (across.out_stop - across.out_start)
                self._report(done)
                left -= done
            result = Delivery(canvas, plan, self._precision).unpack()
        except Exception as error:  # noqa: BLE001 (handed on as the image's result)
            self._report(left)
            return [(key, failure(error))]
        if isinstance(result, InferenceError):
            return [(key, result)]
        tiles = len(plan) * self._rule.side**2
        width, height = self._rule.tile
        return [(key, replace(result, tiles=tiles, pixels_computed=tiles * width * height))]

    def flush(self) -> list[tuple[K, Translated | InferenceError]]:
        """Nothing: every image is finished when `submit` returns."""
        return []

    def _canvas(self, plan: Plan, dtype: np.dtype[Any]) -> Canvas:
        """On the host, where blocks are blended."""
        spec = self._translator.spec
        return Canvas(plan, spec.out_bands, encoding(dtype, spec), _HOST)


def block_plan(size: Size, rule: BlockRule) -> Plan:
    """Where the blocks of an image lie: side by side, agreeing on nothing where they meet."""
    columns, rows = (
        _axis(length, inner, rule.padding) for length, inner in zip(size, rule.inner, strict=True)
    )
    return Plan(columns=columns, rows=rows, exact=False)


def _axis(size: int, inner: int, padding: int) -> Axis:
    spans = tuple(
        Span(
            start=start - padding,
            out_start=start,
            out_stop=min(start + inner, size),
            keep_start=start,
            keep_stop=min(start + inner, size),
        )
        for start in range(0, size, inner)
    )
    return Axis(
        size=size,
        out_size=size,
        length=inner + 2 * padding,
        out_length=inner,
        overlap=0,
        spans=spans,
    )
