"""An elevation model as ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.ground.base import (
    Bundle,
    GroundStatus,
    Statuses,
    check_limits,
    check_radius,
    lowered,
)
from attachtrans.geo.ground.surface import Surface
from attachtrans.geo.ground.walk import walk

Floats = NDArray[np.float64]

_CHUNK = 1 << 15
"""Rays at a time: bounds the memory, and keeps the arrays of a step in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class DemGround:
    """The bilinear surface through the cell centres of an elevation model.

    array           (height, width) or (1, height, width), metres, integer or float; at least 2x2
    transform       (a, b, c, d, e, f): outer-corner pixels -> world metres, rotated ones included
    nodata          value of cells without data; nan and infinities are so in any case
    earth_radius_m  None: heights are over a plane; else it is curved so

    Between and beyond cells without data nothing is made up: a ray may pass above such a hole,
    but one that comes out of it under the surface has status OFF_DEM. The surface ends at the
    centres of the outermost cells. A ray that begins under the surface is INSIDE_GROUND.

    Raises:
        ArgumentError: the array is no grid of heights, or has none at all.
    """

    array: NDArray[np.generic]
    transform: Sequence[float] | PixelToMap
    nodata: float | None = None
    _: KW_ONLY
    earth_radius_m: float | None = None
    grid: PixelToMap = field(init=False, repr=False)
    surface: Surface = field(init=False, repr=False)

    def __post_init__(self) -> None:
        heights = np.asarray(self.array)
        heights = heights[0] if heights.ndim == 3 and len(heights) == 1 else heights
        if heights.ndim != 2 or min(heights.shape) < 2 or heights.dtype.kind not in "iuf":
            raise ArgumentError(
                f"an elevation model is one band of at least 2 x 2 numbers, not an array "
                f"{heights.shape} of {heights.dtype}"
            )
        check_radius(self.earth_radius_m)
        surface = Surface.of(_without_nodata(heights, self.nodata))
        if not np.isfinite(surface.highest):
            raise ArgumentError(f"the elevation model has no data: every cell is {self.nodata}")
        object.__setattr__(self, "grid", PixelToMap.read(self.transform))
        object.__setattr__(self, "surface", surface)

    def intersect(
        self, origin: ArrayLike, rays: ArrayLike, *, skip_m: float = 0.0, far_m: float = np.inf
    ) -> tuple[Floats, Statuses]:
        """See `Ground.intersect`."""
        check_limits(skip_m, far_m)
        bundle = Bundle.of(origin, rays, self.earth_radius_m)
        points = np.full((3, bundle.count), np.nan)
        status = np.full(bundle.count, GroundStatus.NO_RAY, dtype=np.uint8)
        defined = np.flatnonzero(bundle.defined)
        for begin in range(0, defined.size, _CHUNK):
            which = defined[begin : begin + _CHUNK]
            some = bundle.chosen(which)
            distance, status[which] = walk(self.surface, self.grid, some, (skip_m, far_m))
            points[:, which] = some.at(distance)
        return points, status

    def height(self, xy: ArrayLike) -> Floats:
        """(2, N) places -> (N,) heights; nan outside and without data."""
        i, j = self.grid.to_pixels(np.asarray(xy, dtype=np.float64)) - 0.5
        return self.surface.at(i, j)

    def apparent(self, origin: ArrayLike, points: ArrayLike) -> Floats:
        """See `Ground.apparent`."""
        return lowered(origin, points, self.earth_radius_m)


def _without_nodata(heights: NDArray[Any], nodata: float | None) -> NDArray[np.floating]:
    """As the narrowest float type that holds the values, nan without data."""
    exact = heights.dtype.itemsize <= 2 or heights.dtype == np.float32
    values: NDArray[np.floating] = heights.astype(np.float32 if exact else np.float64, copy=False)
    without = ~np.isfinite(values)
    if nodata is not None:
        without |= heights == float(nodata)
    return np.where(without, values.dtype.type(np.nan), values) if without.any() else values
