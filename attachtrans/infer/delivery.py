"""A finished image on its way from the device to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from attachtrans.errors import InferenceError
from attachtrans.infer.canvas import Canvas
from attachtrans.infer.faults import not_finite
from attachtrans.infer.seams import seam_ratio
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
    """One image's canvas once all its tiles are in.

    From a CUDA device it is copied in the background while the next image is computed.
    """

    def __init__(self, canvas: Canvas, plan: Plan, precision: str) -> None:
        self._canvas = canvas
        self._plan = plan
        self._precision = precision
        self._event: torch.Event | None = None
        result = canvas.finish()
        if result.device.type == "cuda":
            by_pixel = result.permute(1, 2, 0)
            host = torch.empty(by_pixel.shape, dtype=result.dtype, pin_memory=True)
            self._host = host.copy_(by_pixel, non_blocking=True).permute(2, 0, 1)
            self._event = torch.Event(result.device)
            self._event.record(torch.cuda.current_stream(result.device))
        else:
            self._host = result.cpu()

    def arrived(self) -> bool:
        """Whether `unpack` would return at once."""
        return self._event is None or self._event.query()

    def unpack(self) -> Translated | InferenceError:
        """The result, or what was wrong with it; waits for it to arrive."""
        if self._event is not None:
            self._event.synchronize()
        if not self._canvas.finite():
            return not_finite(self._precision)
        array = self._host.numpy()
        return Translated(
            array=array,
            seam_ratio=seam_ratio(array, self._plan),
            tiles=len(self._plan),
            pixels_computed=self._plan.pixels_computed,
            precision=self._precision,
        )
