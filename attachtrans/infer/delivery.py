"""A finished image on its way from the device to the host."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from attachtrans.errors import InferenceError
from attachtrans.infer.canvas import Canvas
from attachtrans.infer.faults import not_finite
from attachtrans.infer.seams import seam_ratio
from attachtrans.infer.streams import Parcel
from attachtrans.infer.tiling import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """One image's result.

    array       (out_bands, height, width), data type by `ranges.encoding`; its memory holds the
                bands of a pixel together
    seam_ratio  see `seams.seam_ratio`; None without seams
    tiles       how many the image was cut into
    pixels_computed  input pixels given to the net, overlaps included
    precision   in which the last tile was computed: fp32, bf16 or fp16
    """

    array: NDArray[Any]
    seam_ratio: float | None
    tiles: int
    pixels_computed: int
    precision: str


class Delivery:
    """One image's canvas once all its tiles are in, on its way while the next is computed."""

    def __init__(self, canvas: Canvas, plan: Plan, precision: str) -> None:
        self._plan = plan
        self._precision = precision
        self._parcel = Parcel(canvas.finish().permute(1, 2, 0), canvas.total)

    def arrived(self) -> bool:
        """Whether `unpack` would return at once."""
        return self._parcel.arrived()

    def unpack(self) -> Translated | InferenceError:
        """The result, or what was wrong with it; waits for it to arrive."""
        by_pixel, total = self._parcel.open()
        if not math.isfinite(total):
            return not_finite(self._precision)
        array = by_pixel.permute(2, 0, 1).numpy()
        return Translated(
            array=array,
            seam_ratio=seam_ratio(array, self._plan),
            tiles=len(self._plan),
            pixels_computed=self._plan.pixels_computed,
            precision=self._precision,
        )
