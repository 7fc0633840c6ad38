"""What is asked of rasters: which pixels are read, on which grid, and how results are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from attachtrans.errors import ArgumentError
from attachtrans.geo.gridding import Bounds, Gridding, Lattice, Resampling
from attachtrans.stores.mosaics.base import Order
from attachtrans.tool.place.options import user_crs

Mode = Literal["mosaicked", "separate"]
MODES: tuple[Mode, ...] = ("mosaicked", "separate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterChoice:
    """What is asked of rasters; None: as they have it.

    bands       "3,2,1" or "red,green,blue": what the net gets, in its order
    cell_size   (x, y) of what the net sees, in units of the output's coordinate system
    extent      (left, bottom, right, top) in `extent_crs` (None: in that of the output)
    snap        raster whose cells the output's begin at
    mask        raster or polygons ("file.gpkg:layer") that say what is translated
    crs         of the output
    resampling  between pixels, where the grid is another one
    mode        of collections: all as one raster, or each for itself
    mosaic      a folder's rasters are one mosaic
    order       which raster is on top where several overlap
    path_column, date_column    of footprints
    asset       of STAC items
    cache       folder in which tiles of services are kept; None: the user's own
    rate        requests a second to a service
    keep_blank  the same tile in many places of a service is data, no placeholder
    driver      GDAL's name of the output's format; None: by the ending of its name
    creation    creation options of that driver
    overviews   smaller copies for viewers
    cog         a cloud-optimised GeoTIFF
    """

    bands: str | None = None
    cell_size: tuple[float, float] | None = None
    extent: Bounds | None = None
    extent_crs: str | None = None
    snap: Path | None = None
    mask: str | None = None
    crs: str | None = None
    resampling: Resampling = "bilinear"
    mode: Mode | None = None
    mosaic: bool = False
    order: Order | None = None
    path_column: str | None = None
    date_column: str | None = None
    asset: str | None = None
    cache: Path | None = None
    rate: float | None = None
    keep_blank: bool = False
    driver: str | None = None
    creation: Mapping[str, str] = field(default_factory=dict)
    overviews: bool = False
    cog: bool = False

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise ArgumentError(f"--processing-mode {self.mode}: one of {', '.join(MODES)}")
        if self.mode == "separate" and self.order is not None:
            raise ArgumentError("--overlap-order goes with --processing-mode mosaicked")
        if self.extent_crs is not None and self.extent is None:
            raise ArgumentError("--extent-crs goes with --extent")
        if self.cog and self.driver not in {None, "GTiff", "COG"}:
            raise ArgumentError(f"--cog and --driver {self.driver}: give one of them")

    def gridding(self) -> Gridding:
        """The grid that is asked for.

        Raises:
            ArgumentError: a coordinate system that there is not, a snap raster without a place.
            SourceError: the snap raster cannot be read.
        """
        return Gridding(
            cell_size=self.cell_size,
            extent=self.extent,
            extent_crs=None
            if self.extent_crs is None
            else user_crs("--extent-crs", self.extent_crs),
            snap=None if self.snap is None else _lattice(self.snap),
            crs=None if self.crs is None else user_crs("--crs", self.crs),
            resampling=self.resampling,
        )


def _lattice(path: Path) -> Lattice:
    """The cells of a snap raster."""
    from attachtrans.stores.raster import open_raster

    with open_raster(path) as image:
        if image.transform is None:
            raise ArgumentError(f"--snap-raster {path} does not say where it lies")
        return Lattice(transform=image.transform, crs=image.crs)
