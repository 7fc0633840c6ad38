"""What a footprint is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.geo.footprint.reproject import reprojected
from attachtrans.geo.frame import read_crs

MODES = ("auto", "ground", "plane", "sector", "disc")
"""
ground  what the image shows of the view's own ground
plane   the same over a level plane at the ground's height under the camera
sector  a fan over the horizontal field of view, from near to far (Esri's oriented imagery)
disc    all around the camera, from near to far
auto    ground; for panoramas disc, or sector where a part of the turn is missing
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footprint:
    """The area that an image shows.

    geometry         valid; longitudes are cut at the antimeridian
    crs              of the geometry, without heights
    kind             "ground", "plane", "sector" or "disc"; "outline" of what has no camera;
                     "visible" of what `visible_area` leaves
    sky_share        of the image's area
    clipped_share    of it, ground beyond `far_m` or nearer than `near_m`
    off_dem_share    of it, what the elevation model does not cover, or no map coordinates belong to
    gsd_m            metres of ground a pixel at the image's centre; None where that shows none
    truncated        ground is in the image that is not in the geometry
    near_m, far_m    ground range between which it was taken; far_m None without a camera
    ground_source    in words
    shape, frame     the geometry as it was made, and the CRS that it was made in
    """

    geometry: Polygon | MultiPolygon
    crs: CRS
    kind: str
    sky_share: float = 0.0
    clipped_share: float = 0.0
    off_dem_share: float = 0.0
    gsd_m: float | None = None
    near_m: float = 0.0
    far_m: float | None = None
    ground_source: str = ""
    shape: Polygon | MultiPolygon = field(repr=False)
    frame: CRS = field(repr=False)

    @property
    def truncated(self) -> bool:
        """See above."""
        return self.clipped_share > 0.0 or self.off_dem_share > 0.0

    def to_crs(self, target: object) -> Self:
        """The footprint in another CRS, its edges with as many vertices as that takes.

        Raises:
            CrsError: not a CRS, or the footprint reaches beyond what it can show.
        """
        crs = read_crs(target)
        return replace(self, geometry=reprojected(self.shape, self.frame, crs), crs=crs)
