"""Sights: what the pipeline needs to know of where a photo lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import ArgumentError, GeorefError, SourceError
from attachtrans.geo.footprint import Footprint, footprint, footprint_attributes, visible_area
from attachtrans.geo.rectify import rectify
from attachtrans.geo.view import Grid
from attachtrans.image import Encoded, Photo
from attachtrans.image.arrays import resized_alpha, stored, turned
from attachtrans.image.exif import told
from attachtrans.stores.raster import RasterSpec, RasterWriter
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products, colours, full_value, tags
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.types import Item, Placement, Size

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placer:
    """Looks at photos; thread-safe.

    crs_of      that of a photo's footprint; None: nobody wants footprints
    map_space   photos with a view are rectified before the net sees them
    overwrite   results take the place of the photos
    max_pixels  the most that a rectified photo may have
    """

    placing: Placing
    poser: Poser
    viewer: Viewer
    products: Products
    crs_of: Callable[[Item], CRS] | None
    map_space: bool
    overwrite: bool
    max_pixels: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of poses and elevation models."""
        return (*self.poser.notes, *self.viewer.notes)

    def look(self, item: Item, data: bytes, photo: Photo) -> PhotoSight:
        """Find a photo's place. What is lacking for it is told by the placement."""
        size = turned(photo.size, photo.orientation)
        try:
            pose = self.poser.pose(item, data, size, photo.orientation)
            seen = self.viewer.view(pose, size)
        except (GeorefError, SourceError) as error:
            return PhotoSight(placer=self, item=item, photo=photo, seen=None, problem=str(error))
        sight = PhotoSight(placer=self, item=item, photo=photo, seen=seen, problem="")
        if self.map_space and not self.overwrite:
            return sight.rectified()
        return sight


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSight:
    """A `roles.Sight`; `grid` is that of a photo which was rectified."""

    placer: Placer
    item: Item
    photo: Photo
    seen: Seen | None
    problem: str
    grid: Grid | None = None

    @property
    def objection(self) -> str | None:
        """See `roles.Sight`."""
        if self.placer.map_space and self.placer.overwrite and self.seen is not None:
            return (
                "it has a camera, so map space would put an ortho in the photo's place; use "
                "--pixel-space (use_pixelspace=PIXELSPACE), or write to a new place with --output"
            )
        return None

    def rectified(self) -> PhotoSight:
        """The sight whose photo lies on the map's grid; itself where it shows no ground."""
        if self.seen is None:
            return self
        pixels, own = self.photo.pixels, self.photo.alpha
        if own is not None:
            pixels = np.concatenate([pixels, own[None]])
        pixels = stored(pixels, self.photo.orientation)
        try:
            grid = self.placer.products.grid(self.seen)
            self._require_room(grid.size)
            array, mask = rectify(
                pixels,
                self.seen.view,
                grid,
                occlusion=self.placer.placing.occlusion,
                interpolation="cubic",
                antialias=True,
            )
        except GeorefError as error:
            return replace(self, problem=str(error))
        visible = full_value(array.dtype) if own is None else array[-1]
        alpha = np.where(mask, visible, array.dtype.type(0))
        array = array if own is None else array[:-1]
        photo = replace(self.photo, pixels=array, alpha=alpha, orientation=1)
        return replace(self, photo=photo, grid=grid)

    def _require_room(self, size: Size) -> None:
        """Raises GeorefError for a grid that is too large."""
        if size.width * size.height > self.placer.max_pixels:
            raise GeorefError(
                f"rectified it would have {size.width} x {size.height} pixels, more than "
                f"--max-pixels {self.placer.max_pixels}: give a larger --resolution or a smaller "
                "--far"
            )

    def encode(self, result: Pixels) -> Encoded | None:
        """See `roles.Sight`: a GeoTIFF where the photo was rectified."""
        if self.seen is None or self.grid is None or self.photo.alpha is None:
            return None
        size = Size(result.shape[2], result.shape[1])
        alpha = resized_alpha(self.photo.alpha, size, result.dtype)
        grid = self.grid.resized(size)
        spec = RasterSpec(
            size=size,
            bands=len(result) + 1,
            dtype=result.dtype,
            crs=grid.crs,
            transform=grid.affine,
            colours=colours(len(result)),
            tags=told(self.photo.metadata.exif) | tags(self.seen),
        )
        with TemporaryDirectory(prefix="attachtrans-") as folder:
            path = Path(folder) / "ortho.tif"
            with RasterWriter(path, spec) as writer:
                writer.write(np.concatenate([result, alpha[None]]))
            data = path.read_bytes()
        return Encoded(data=data, media_type="image/tiff", extension=".tif", size=size)

    def place(self, result: Pixels) -> Placement | None:
        """See `roles.Sight`."""
        name: dict[str, str | float | int | None] = {"NAME": self.item.name}
        if self.seen is None:
            return Placement(geometry=None, attributes=name, problem=self.problem)
        if self.grid is None:
            pixels = stored(result, self.photo.orientation)
            view = self.seen.view.resized(Size(pixels.shape[2], pixels.shape[1]))
            placed = placement(self.placer, self.item, replace(self.seen, view=view), pixels)
            problems = dict.fromkeys(text for text in (self.problem, placed.problem) if text)
            return replace(placed, problem="; ".join(problems))
        # The photo that would have given this ortho without a net: as many times larger.
        factor = result.shape[2] / self.grid.size.width
        width, height = (max(1, round(side * factor)) for side in self.seen.view.size)
        seen = replace(self.seen, view=self.seen.view.resized(Size(width, height)))
        return replace(placement(self.placer, self.item, seen, None), rectified=True)


def placement(placer: Placer, item: Item, seen: Seen, pixels: Pixels | None) -> Placement:
    """A photo's footprint, with its products written where there are pixels (stored order)."""
    name: dict[str, str | float | int | None] = {"NAME": item.name}
    problems = []
    geometry, known = None, name
    if pixels is not None and placer.products.placing.has_products:
        try:
            placer.products.write(item.key, seen, pixels)
        except (ArgumentError, GeorefError) as error:
            problems.append(str(error))
    if placer.crs_of is None:
        return Placement(geometry=None, attributes=known, problem="; ".join(problems))
    try:
        shape = shown(seen, placer.placing).to_crs(placer.crs_of(item))
        known = attributes(shape, seen) | name
        geometry = shapely.to_wkb(multi(shape.geometry), output_dimension=2, flavor="iso")
    except GeorefError as error:
        problems.append(str(error))
    return Placement(
        geometry=geometry, attributes=known, problem="; ".join(dict.fromkeys(problems))
    )


def shown(seen: Seen, placing: Placing) -> Footprint:
    """The footprint that is wanted of a photo. Raises as `footprint` and `visible_area`."""
    found = footprint(seen.view, mode=placing.mode, near_m=seen.near_m, far_m=seen.view.far_m)
    return visible_area(seen.view, found) if placing.visible else found


def attributes(shape: Footprint, seen: Seen) -> dict[str, str | float | int | None]:
    """What a footprint's row says."""
    return dict(footprint_attributes(shape, seen.view, seen.pose, ground_source=seen.ground))


def multi(shape: Polygon | MultiPolygon) -> MultiPolygon:
    """A polygon as a multipolygon, which a layer of either holds."""
    return shape if isinstance(shape, MultiPolygon) else MultiPolygon([shape])
