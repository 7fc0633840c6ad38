"""The grid of a mosaic: coordinate system, cell size and extent, from its members' headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.stores.mosaics.base import Bounds
from attachtrans.stores.mosaics.headers import Headers
from attachtrans.types import Size

Floats = NDArray[np.float64]

_MOST_SIDE = 2**31 - 1  # GDAL counts in int
_EDGE_POINTS = 21
_WITHIN = 1e-3  # of a pixel: corners that are closer to the grid lie on it
_SAME_CELL = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicGrid:
    """Where a mosaic's pixels lie, north up.

    crs     WKT, "" when the members do not say
    cell    width and height of a pixel, in the crs
    origin  (left, top)
    boxes   (N, 4) left, bottom, right, top of the members in the crs
    direct  (N,) whether a member is north up in the crs; the others are to be warped
    coarser how many members have larger pixels than the mosaic
    """

    crs: str
    cell: tuple[float, float]
    origin: tuple[float, float]
    size: Size
    boxes: Floats
    direct: NDArray[np.bool_]
    coarser: int

    def snapped(self, box: Floats) -> Bounds:
        """The whole pixels of the grid that a box touches."""
        return _snapped(box, self.origin, self.cell)


def make_grid(
    headers: Headers, paths: Sequence[str], settings: Mapping[str, str], crs: str | None = None
) -> MosaicGrid:
    """The grid on which members of the finest cells need no resampling.

    Args:
        headers: of the members.
        paths: of the members, to name one.
        settings: of a tile index, which may give cell size and extent.
        crs: WKT of the mosaic; None: the one that most members have.

    Raises:
        ArgumentError: the settings are no grid, or it has too many pixels.
        SourceError: a member has no place in the crs.
    """
    members = [kind.crs for kind in headers.kinds]
    members = _same_words([crs, *members] if crs else members)[-len(members) :]
    counts = Counter(members[of] for of in headers.of.tolist())
    system = crs or counts.most_common(1)[0][0]
    direct = headers.upright & np.array([wkt == system for wkt in members])[headers.of]
    boxes, cells = _upright(headers)
    for index in np.flatnonzero(~direct).tolist():
        try:
            placed = _placed(
                members[headers.of[index]], system, headers.transforms[index], headers.sizes[index]
            )
        except ProjError as error:
            raise SourceError(
                f"{paths[index]}: has no place in the mosaic's coordinate system ({error}); leave "
                "it out with --where"
            ) from error
        boxes[index], cells[index] = placed
    areas = cells[:, 0] * cells[:, 1]
    finest = int(np.argmin(areas))
    wished = _numbers(settings, "RESX", "RESY")
    width, height = cells[finest].tolist() if wished is None else wished
    cell = width, height
    if min(cell) <= 0.0:
        raise ArgumentError(f"the tile index says cells of {cell[0]} x {cell[1]}")
    around = np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))
    corner = float(boxes[finest, 0]), float(boxes[finest, 3])
    extent = _numbers(settings, "MINX", "MINY", "MAXX", "MAXY")
    left, bottom, right, top = extent or _snapped(around, corner, cell)
    return MosaicGrid(
        crs=system,
        cell=cell,
        origin=(left, top),
        size=_size((right - left) / cell[0], (top - bottom) / cell[1]),
        boxes=boxes,
        direct=direct,
        coarser=int((areas > cell[0] * cell[1] * (1 + _SAME_CELL)).sum()),
    )


def _same_words(systems: Sequence[str]) -> list[str]:
    """The same systems, each in the WKT in which it comes first."""
    import rasterio

    known: dict[str, Any] = {}
    found = []
    for wkt in systems:
        crs = rasterio.CRS.from_wkt(wkt) if wkt else None
        same = next((words for words, other in known.items() if other == crs), wkt)
        known.setdefault(same, crs)
        found.append(same)
    return found


def _snapped(box: Floats, corner: tuple[float, float], cell: tuple[float, float]) -> Bounds:
    """A box made larger, to whole pixels of a grid that has a corner there."""
    low = (box[:2] - corner) / cell + _WITHIN
    high = (box[2:] - corner) / cell - _WITHIN
    left, bottom = (corner + np.floor(low) * cell).tolist()
    right, top = (corner + np.ceil(high) * cell).tolist()
    return left, bottom, right, top


def _size(width: float, height: float) -> Size:
    size = Size(round(width), round(height))
    if not 1 <= min(size) <= max(size) <= _MOST_SIDE:
        raise ArgumentError(
            f"the mosaic would have {size.width} x {size.height} pixels: a member lies far from "
            "the others; look for it in the footprints, and leave it out with --where"
        )
    return size


def _upright(headers: Headers) -> tuple[Floats, Floats]:
    """(N, 4) boxes and (N, 2) cell sizes of rasters that are north up, in their own systems."""
    a, _, c, _, e, f = headers.transforms.T
    width, height = headers.sizes.T
    return np.stack((c, f + e * height, c + a * width, f), axis=1), np.stack((a, -e), axis=1)


def _placed(
    source: str, target: str, transform: Floats, size: NDArray[np.int64]
) -> tuple[Bounds, tuple[float, float]]:
    """The box of any raster in another system, and the side of a square as large as its pixel.

    Raises:
        ProjError: it has no place there.
    """
    width, height = size.tolist()
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    low, high = np.zeros_like(along), np.ones_like(along)
    cols = np.concatenate((along, along, low, high, [0.5, 0.5 + 1 / width, 0.5])) * width
    rows = np.concatenate((low, high, along, along, [0.5, 0.5, 0.5 + 1 / height])) * height
    places = PixelToMap.read(transform.tolist()).to_map(np.stack((cols, rows)))
    if source != target:
        x, y = _transformer(source, target).transform(places[0], places[1], errcheck=True)
        places = np.stack((x, y))
    outline, (middle, right, below) = places[:, :-3], places[:, -3:].T
    side = float(np.sqrt(abs(np.linalg.det(np.stack((right - middle, below - middle))))))
    (left, bottom), (east, top) = outline.min(axis=1).tolist(), outline.max(axis=1).tolist()
    return (left, bottom, east, top), (side, side)


@cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _numbers(settings: Mapping[str, str], *names: str) -> tuple[float, ...] | None:
    """What a tile index says under some names, None unless all are there."""
    if not all(name in settings for name in names):
        return None
    try:
        return tuple(float(settings[name]) for name in names)
    except ValueError as error:
        raise ArgumentError(f"the tile index says {', '.join(names)} in no numbers") from error
