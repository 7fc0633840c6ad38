"""Rasters of which a part only is looked at: inside a mask, which is a raster or polygons.

    with masked(open_raster(path), open_mask("parks.gpkg:parks")) as raster:
        raster.read_mask(window)     # 0 outside

A raster masks by its pixels that have data where it says which those are (nodata, a mask, alpha),
as Esri's environment has it; else by those that are not 0. Polygons mask the pixels whose centre
they cover.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.frame import horizontal, transform
from attachtrans.geo.gridding import Bounds, same_crs
from attachtrans.geo.view import Georef, Grid
from attachtrans.stores.measured import measures_aside
from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.derived import DerivedRaster
from attachtrans.stores.raster.extents import file_and_layer, vector_layers
from attachtrans.stores.raster.gridded import gridded, placed
from attachtrans.stores.raster.image import RasterImage, open_raster
from attachtrans.types import Window

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Inside = Callable[[Window], Flags]
"""A window of a raster -> (height, width), whether each pixel lies inside."""

_OUTLINE = 65
_BESIDE = 0.05
"""How much further than a raster's outline polygons are read, of its sides."""
_PARTS = 1024
"""In how many straight lines a side of a raster's length is brought to its pixels."""


class Mask(Protocol):
    """What is to be looked at, wherever rasters lie."""

    def inside(self, georef: Georef) -> Inside:
        """The mask on a raster's pixels; kept by the raster, read by several threads.

        Raises:
            CrsError: it does not say where it lies.
        """
        ...

    def fingerprint(self) -> str:
        """See `Raster`."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def masked(raster: Raster, mask: Mask, georef: Georef | None = None) -> Raster:
    """A raster that has data inside a mask only; it closes the raster and the mask.

    Pixels outside are as they were: `read_mask` says which have data.

    Args:
        raster: of any kind.
        mask: see `open_mask`.
        georef: where the raster's pixels lie, None: as its transform and CRS say.

    Raises:
        CrsError: the raster or the mask does not say where it lies.
        SourceError: the mask cannot be read.
    """
    return _Masked(raster, mask, placed(raster) if georef is None else georef)


def open_mask(text: str | os.PathLike[str]) -> Mask:
    """A mask: a raster, or a file of polygons, "file.gpkg:layer" where it has several layers.

    Raises:
        SourceError: it is not there, or neither.
        ArgumentError: a layer that there is not, or that has no polygons; none named of several.
    """
    path, layer = file_and_layer(text)
    layers = vector_layers(path)
    if layers:
        return VectorMask(path=path, layer=_chosen(path, layer, layers))
    if layer is not None:
        raise ArgumentError(f"--mask {text}: {path} has no layers of polygons")
    return RasterMask(image=open_raster(path))


class _Masked(DerivedRaster):
    """A raster without what lies outside a mask."""

    def __init__(self, raster: Raster, mask: Mask, georef: Georef) -> None:
        super().__init__(raster)
        self._mask = mask
        self._inside = mask.inside(georef)

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        place = self._place(window)
        mask = self._raster.read_mask(place)
        mask[~self._inside(place)] = 0
        return mask

    def close(self) -> None:
        self._mask.close()
        super().close()

    def _change(self) -> bytes:
        return self._mask.fingerprint().encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterMask:
    """A `Mask` of pixels, the nearest one of each place."""

    image: RasterImage

    def inside(self, georef: Georef) -> Inside:
        """See `Mask`."""
        image = self.image
        places = image.georef()
        if places is None:
            raise CrsError(
                f"--mask {image.name} does not say where it lies (it has no transform or no CRS)"
            )
        says = image.has_mask
        if not isinstance(georef, Grid):
            return lambda window: _looked_up(image, places, georef, window, says=says)
        # The image is closed by the mask: what is made of it here has nothing more to close.
        raster = gridded(image, georef, places, resampling="nearest")

        def inside(window: Window) -> Flags:
            return _shows(raster, window, says=says)

        return inside

    def fingerprint(self) -> str:
        """See `Mask`."""
        return self.image.fingerprint()

    def close(self) -> None:
        """See `Mask`."""
        self.image.close()


def _shows(raster: Raster, window: Window, *, says: bool) -> Flags:
    """Which pixels of a mask count as inside."""
    known: Flags = raster.read_mask(window) > 0
    return known if says else known & (raster.read(window, bands=[1])[0] != 0)


def _looked_up(
    image: RasterImage, places: Georef, georef: Georef, window: Window, *, says: bool
) -> Flags:
    """The mask at each pixel of a raster that does not lie on a grid."""
    cols, rows = np.meshgrid(
        window.col + np.arange(window.width) + 0.5, window.row + np.arange(window.height) + 0.5
    )
    on_map = georef.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    if not same_crs(georef.crs, places.crs):
        on_map = transform(georef.crs, places.crs, on_map)
    at = np.floor(places.map_to_pixel(on_map))
    width, height = image.size
    with np.errstate(invalid="ignore"):  # nan lies nowhere
        known = (at[0] >= 0) & (at[0] < width) & (at[1] >= 0) & (at[1] < height)
    found = np.zeros(known.shape, dtype=np.bool_)
    if known.any():
        col, row = at[:, known].astype(np.intp)
        part = Window(
            col=int(col.min()), row=int(row.min()),
            width=int(np.ptp(col)) + 1, height=int(np.ptp(row)) + 1,
        )  # fmt: skip
        found[known] = _shows(image, part, says=says)[row - part.row, col - part.col]
    return found.reshape(window.height, window.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorMask:
    """A `Mask` of polygons; those under a raster are kept, and rasterised window by window."""

    path: Path
    layer: str

    def inside(self, georef: Georef) -> Inside:
        """See `Mask`."""
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        polygons = _moved(self._polygons(georef), georef.map_to_pixel)
        tree = shapely.STRtree(polygons)

        def inside(window: Window) -> Flags:
            right, bottom = window.col + window.width, window.row + window.height
            touching = tree.query(shapely.box(window.col, window.row, right, bottom))
            # A pixel more on each side: cut edges are no edges of the mask.
            box = (window.col - 1, window.row - 1, right + 1, bottom + 1)
            parts = _only_polygons(shapely.clip_by_rect(polygons[touching], *box))
            shape = (window.height, window.width)
            if not parts.size:
                return np.zeros(shape, dtype=np.bool_)
            corner = Affine.translation(window.col, window.row)
            burnt = rasterize(parts, out_shape=shape, transform=corner, dtype=np.uint8)
            return np.asarray(burnt, dtype=np.bool_)

        return inside

    def fingerprint(self) -> str:
        """See `Mask`: of the file's size and time."""
        status = self.path.stat()
        found = f"{self.path.resolve()} {self.layer} {status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(found.encode()).hexdigest()

    def close(self) -> None:
        """See `Mask`: the file is not kept open."""

    def _polygons(self, georef: Georef) -> NDArray[Any]:
        """Those about a raster, in its coordinate system."""
        import pyogrio
        import pyogrio.raw
        from pyogrio.errors import DataLayerError, DataSourceError

        try:
            with measures_aside():
                said = pyogrio.read_info(self.path, layer=self.layer)["crs"]
            if said is None:
                raise CrsError(
                    f"--mask {self.path} ({self.layer}) has no coordinate system: add it, for "
                    "example with ogr2ogr -a_srs"
                )
            crs = horizontal(CRS.from_user_input(said))
            box = _box(georef, crs)
            with measures_aside():
                *_, content, _ = pyogrio.raw.read(self.path, layer=self.layer, columns=[], bbox=box)
        except (DataSourceError, DataLayerError) as error:
            raise SourceError(f"--mask {self.path}: cannot be read: {error}") from error
        found = shapely.from_wkb(content)
        found = shapely.force_2d(found) if shapely.has_z(found).any() else found
        crossed = ~shapely.is_valid(found)
        found[crossed] = shapely.make_valid(found[crossed])
        found = _only_polygons(found)
        if same_crs(crs, georef.crs) and isinstance(georef, Grid):
            return found
        return _bent(found, crs, georef.crs, box)


def _box(georef: Georef, crs: CRS) -> Bounds | None:
    """A box about a raster in another system, None where it has none that is simple."""
    ends = np.linspace(0.0, 1.0, _OUTLINE)
    pixels = np.stack(np.meshgrid(ends, ends)).reshape(2, -1) * np.array(georef.size)[:, None]
    found = transform(georef.crs, crs, georef.pixel_to_map(pixels))
    found = found[:, np.isfinite(found).all(axis=0)]
    if not found.size:
        return None
    low, high = found.min(axis=1), found.max(axis=1)
    if crs.is_geographic and high[0] - low[0] > 180.0:  # about the antimeridian or a pole
        return None
    low, high = low - _BESIDE * (high - low), high + _BESIDE * (high - low)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _bent(polygons: NDArray[Any], source: CRS, target: CRS, box: Bounds | None) -> NDArray[Any]:
    """Polygons in another system, where straight lines are bent: cut to a box, in short lines."""
    if box is not None:
        polygons = _only_polygons(shapely.clip_by_rect(polygons, *box))
        longest = max(box[2] - box[0], box[3] - box[1]) / _PARTS
        polygons = shapely.segmentize(polygons, longest)
    return _moved(polygons, lambda places: transform(source, target, places))


def _only_polygons(shapes: NDArray[Any]) -> NDArray[Any]:
    """The polygons that geometries consist of, one by one."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    return np.asarray(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def _moved(polygons: NDArray[Any], move: Callable[[Floats], Floats]) -> NDArray[Any]:
    """Polygons with their places moved; those that are then nowhere are left out."""
    moved = shapely.transform(polygons, lambda places: move(places.T).T)
    known = np.ones(len(moved), dtype=np.bool_)
    places, owner = shapely.get_coordinates(moved, return_index=True)
    known[owner[~np.isfinite(places).all(axis=1)]] = False
    if known.all():
        return np.asarray(moved)
    whole = [_without_gaps(polygon) for polygon in moved[~known]]
    return np.array([*moved[known], *(polygon for polygon in whole if polygon is not None)])


def _without_gaps(polygon: shapely.Polygon) -> shapely.Polygon | None:
    """A polygon without corners that are nowhere, None where too few are left."""
    rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    outer, *inner = (places[np.isfinite(places).all(axis=1)] for places in rings)
    if len(outer) < 3:
        return None
    return shapely.Polygon(outer, [places for places in inner if len(places) >= 3])


def _chosen(path: Path, layer: str | None, layers: Mapping[str, str]) -> str:
    """The layer with the polygons."""
    fitting = [name for name, kind in layers.items() if _may_hold_polygons(kind)]
    if layer is not None:
        if layer in fitting:
            return layer
        others = ", ".join(fitting) or "none"
        raise ArgumentError(f"--mask {path}: layers with polygons are {others}, not {layer!r}")
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ArgumentError(f"--mask {path} has no polygons: name a layer of polygons or a raster")
    raise ArgumentError(
        f"--mask {path} has several layers; name one, like {path.name}:{fitting[0]} "
        f"(there are {', '.join(fitting)})"
    )


def _may_hold_polygons(kind: str) -> bool:
    words = ("polygon", "surface", "unknown", "geometrycollection")
    return any(word in kind.lower() for word in words)
