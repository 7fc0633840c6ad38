"""Pixels on the device: cutting tiles out of one image, and putting results together.

Everything is kept with its bands together (height, width, bands in memory), as photos come and go
and as convolutions like it; shapes are still (bands, height, width).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.infer.blend import Fade, ramps
from attachtrans.infer.excerpts import Stretch
from attachtrans.infer.ranges import Decoding, Encoding
from attachtrans.infer.streams import bring
from attachtrans.infer.tiling import Plan
from attachtrans.types import Size, Window

# What stays as it is on its way to the device; other types become float32 before.
_AS_THEY_ARE = ("uint8", "int16", "float32")
# Values that are rounded at a time: on a CPU what stays in a core's cache, on a GPU few calls.
_ROUNDED, _ROUNDED_ON_GPU = 1 << 18, 1 << 24


def upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """Bring an image (bands, height, width) of any strides to the device."""
    if array.dtype.name not in _AS_THEY_ARE or not array.dtype.isnative:
        array = array.astype(np.float32)
    if device.type == "cpu" and array.flags.writeable and min(array.strides) >= 0:
        return torch.from_numpy(array)
    by_pixel = array.transpose(1, 2, 0)
    stage = torch.empty(
        by_pixel.shape,
        dtype=getattr(torch, array.dtype.name),
        pin_memory=device.type == "cuda",
    )
    np.copyto(stage.numpy(), by_pixel)
    return bring(stage, device).permute(2, 0, 1)


def read_tile(image: Tensor, window: Window, decoding: Decoding, out: Tensor) -> None:
    """Fill `out` (in_bands, window.height, window.width) float32 with the net's input.

    The window may reach beyond the image: there pixels are reflected, as often as needed, without
    repeating the edge. Bands that the image lacks repeat its last one; surplus ones are left out.
    """
    bands, height, width = image.shape
    rows, cols = window.slices
    inside = rows.start >= 0 and cols.start >= 0 and rows.stop <= height and cols.stop <= width
    if inside:
        tile = image[:, rows, cols]
    else:
        row_index = _reflected(rows, height, image.device)
        col_index = _reflected(cols, width, image.device)
        tile = image[:, row_index[:, None], col_index[None, :]]
    if bands >= out.shape[0]:
        out.copy_(tile[: out.shape[0]])
    else:
        out[:bands].copy_(tile)
        out[bands:].copy_(tile[-1:].expand(out.shape[0] - bands, -1, -1))
    if decoding.divisor != 1:
        out.div_(decoding.divisor)
    if decoding.offset != 0:
        out.add_(decoding.offset)


def _reflected(places: slice, length: int, device: torch.device) -> Tensor:
    period = max(2 * (length - 1), 1)
    index = torch.arange(places.start, places.stop, device=device).remainder_(period)
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)


class Canvas:
    """One image's result, growing on the device as its tiles come in, in the order of the plan."""

    def __init__(
        self,
        plan: Plan,
        bands: int,
        encoding: Encoding,
        device: torch.device,
        stretch: Stretch | None = None,
    ) -> None:
        """Begin with nothing, or with what tiles before a stretch (of `plan`) reach into it."""
        self._plan = plan
        self._encoding = encoding
        self._stretch = stretch
        width, height = plan.out_size
        if stretch is not None:
            height = max(height, stretch.rows)
        dtype = getattr(torch, encoding.dtype.name)
        finished = height if stretch is None else stretch.rows
        self._sheet = _empty(Size(width, finished), bands, dtype, device)
        self._half_up = torch.tensor(encoding.offset + 0.5 * (encoding.limits is not None))
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._blend: Tensor | None = None
        if not plan.exact:
            self._blend = _empty(Size(width, height), bands, torch.float32, device).zero_()
            down, across = (
                (ramps(plan.rows), ramps(plan.columns))
                if stretch is None
                else (stretch.down, stretch.across)
            )
            self._rows = [Fade.of(ramp, device) for ramp in down]
            self._columns = [Fade.of(ramp, device) for ramp in across]

    @property
    def nbytes(self) -> int:
        """Memory of the result on the device."""
        return self._sheet.nbytes + (0 if self._blend is None else self._blend.nbytes)

    def clear(self) -> None:
        """Put 0 where no tile will come."""
        self._sheet.zero_()

    def paste(self, tile: Tensor, row: int, column: int) -> None:
        """Take in one tile's result, (bands, out height, out width) float32 in net units."""
        self.add(self.prepare(tile, row, column), row, column)

    def prepare(self, tile: Tensor, row: int, column: int) -> Tensor:
        """The part of `paste` that several threads may do at once, each with a tile of its own.

        Where tiles do not blend they are finished here, while they are in the processor's cache.

        Returns:
            What `add` takes.
        """
        if self._blend is not None:
            return tile
        down, across = self._plan.rows.spans[row], self._plan.columns.spans[column]
        part = tile[
            :,
            down.keep_start - down.out_start : down.keep_stop - down.out_start,
            across.keep_start - across.out_start : across.keep_stop - across.out_start,
        ]
        place = slice(down.keep_start, down.keep_stop), slice(across.keep_start, across.keep_stop)
        return self._write(part, self._sheet[:, place[0], place[1]])

    def add(self, prepared: Tensor, row: int, column: int) -> None:
        """The other part; tiles come in the order of the plan."""
        if self._blend is None:
            self._sum += prepared
            return
        self._go_on()
        down, across = self._plan.rows.spans[row], self._plan.columns.spans[column]
        height, width = down.out_stop - down.out_start, across.out_stop - across.out_start
        place = (slice(down.out_start, down.out_stop), slice(across.out_start, across.out_stop))
        share = self._rows[row].share(self._columns[column])
        # The running weighted mean: tiles that agree stay exactly what they are.
        self._blend[:, place[0], place[1]].lerp_(prepared[:, :height, :width], share)

    def finish(self) -> Tensor:
        """The result (bands, height, width) in its data type; every tile must be in."""
        if self._blend is not None:
            self._go_on()
            height = self._sheet.shape[1]
            self._sum += self._write(self._blend[:, :height], self._sheet)
            if self._stretch is not None:
                self._stretch.carry.rows = self._blend[:, height:].clone()
            self._blend = None
        return self._sheet

    def _go_on(self) -> None:
        """Take over the rows that the stretch before, finished by now, has carried on."""
        carry = None if self._stretch is None else self._stretch.carry
        if carry is not None and carry.rows is not None and self._blend is not None:
            self._blend[:, : carry.rows.shape[1]] = carry.rows
            carry.rows = None

    @property
    def total(self) -> Tensor:
        """The sum of all that the net gave (0-d): NaN or infinite as soon as one value is."""
        return self._sum

    def _write(self, values: Tensor, place: Tensor) -> Tensor:
        """Round, clip and cast into the result, leaving `values` as they are; their sum (0-d)."""
        limits = self._encoding.limits
        if limits is None:
            place.copy_(values)
            if self._encoding.gain != 1 or self._encoding.offset != 0:
                place.mul_(self._encoding.gain).add_(self._encoding.offset)
            return values.sum()
        bands, height, width = place.shape
        budget = _ROUNDED if place.device.type == "cpu" else _ROUNDED_ON_GPU
        rows = min(max(budget // (width * bands), 1), height)
        # 32-bit integers need doubles.
        dtype = torch.float64 if self._encoding.dtype.itemsize > 2 else torch.float32
        room = _empty(Size(width, rows), bands, dtype, place.device)
        total, half_up = torch.zeros_like(self._sum), self._half_up.to(dtype)
        for top in range(0, height, rows):
            strip = slice(top, min(top + rows, height))
            work = room[:, : strip.stop - top]
            torch.add(half_up, values[:, strip], alpha=self._encoding.gain, out=work)
            total += work.sum()
            work.clamp_(limits[0], limits[1])
            _cast(work.floor_() if limits[0] < 0 else work, place[:, strip])
        return total


def _cast(values: Tensor, place: Tensor) -> None:
    """Floats to integers, cutting decimals off; NaN becomes anything."""
    if place.device.type != "cpu":
        place.copy_(values)
        return
    # numpy has vector code for this, torch has none and takes six times as long.
    source, target = values.permute(1, 2, 0).numpy(), place.permute(1, 2, 0).numpy()
    with np.errstate(invalid="ignore"):
        np.copyto(target, source, casting="unsafe")


def _empty(size: Size, bands: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    width, height = size
    return torch.empty((height, width, bands), dtype=dtype, device=device).permute(2, 0, 1)
