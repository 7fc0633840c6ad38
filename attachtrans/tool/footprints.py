"""`attachtrans footprint`: where photos lie on the map, without a model."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import shapely
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError, SourceError
from attachtrans.geo.footprint import Footprint, footprint
from attachtrans.geo.pose import Pose
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.base import PhotoSource
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.placer import attributes
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.types import Item, Size

PathLike = str | os.PathLike[str]

_MOST_DRAWN = 2000
_WGS84 = CRS.from_epsg(4326)
_TABLES = frozenset({".csv", ".json", ".geojson", ".gpkg", ".gdb", ".shp", ".fgb", ".txt", ".dbf"})


class FootprintStatus(StrEnum):
    """What became of one photo.

    PLACED   it has a footprint
    FAILED   it has none: no pose, no ground, nothing but sky
    SKIPPED  it is no image
    """

    PLACED = "placed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPhoto:
    """One photo, or one row of a table of poses; `footprint` is in the output's CRS."""

    key: str
    status: FootprintStatus
    reason: str = ""
    footprint: Footprint | None = None
    seen: Seen | None = None
    item: Item | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values, as one line of a `--report` file holds them."""
        known: dict[str, object] = {}
        if self.footprint is not None and self.seen is not None:
            known = dict(attributes(self.footprint, self.seen))
            known["wkt"] = shapely.to_wkt(self.footprint.geometry, rounding_precision=9)
        return {"key": self.key, "status": str(self.status), "reason": self.reason, **known}


@dataclass(slots=True, kw_only=True)
class Footprints:
    """One prepared run; iterate over it once, a `PlacedPhoto` per photo.

    photos  None: the poses of a table without photos
    crs     of the footprints
    """

    source: Path
    output: Path | None
    layer: str
    photos: PhotoSource | None
    placing: Placing
    crs: CRS
    preview: Path | None
    dry_run: bool
    notes: list[str] = field(default_factory=list)
    _poses: tuple[Pose, ...] = ()

    def __len__(self) -> int:
        return len(self._poses) if self.photos is None else len(self.photos)

    def __iter__(self) -> Generator[PlacedPhoto, None, None]:
        """Run; raises what stops every photo."""
        placed: list[PlacedPhoto] = []
        with ExitStack() as stack:
            if self.photos is not None:
                stack.callback(self.photos.close)
            viewer = Viewer(self.placing)
            stack.callback(viewer.close)
            found = self._rows(viewer) if self.photos is None else self._each(viewer, stack)
            for one in found:
                if one.footprint is not None:
                    placed.append(one)
                yield one
            self.notes.extend(viewer.notes)
        if self.output is not None and not self.dry_run:
            self._write(placed)
        if self.preview is not None and placed and not self.dry_run:
            self._draw(self.preview, placed)

    def _rows(self, viewer: Viewer) -> Iterator[PlacedPhoto]:
        for pose in self._poses:
            size = Size(1, 1) if pose.lens is None else pose.lens.size
            yield self._placed(pose.name, viewer, pose, size)

    def _each(self, viewer: Viewer, stack: ExitStack) -> Iterator[PlacedPhoto]:
        poser = Poser(self.placing, self.photos)
        stack.callback(poser.close)
        for item in self.photos or ():
            yield self._photo(item, poser, viewer)
        self.notes.extend(poser.notes)

    def _photo(self, item: Item, poser: Poser, viewer: Viewer) -> PlacedPhoto:
        if self.photos is None:
            raise ArgumentError("there are no photos")
        try:
            data = self.photos.read(item)
            header = probe(data)
            if header.size is None:
                reason = header.skip or f"is no image ({header.media.media_type})"
                return PlacedPhoto(key=item.key, status=FootprintStatus.SKIPPED, reason=reason)
            size = turned(header.size, header.orientation)
            pose = poser.pose(item, data, size, header.orientation)
        except (GeorefError, SourceError) as error:
            return PlacedPhoto(key=item.key, status=FootprintStatus.FAILED, reason=str(error))
        return self._placed(item.key, viewer, pose, size, item)

    def _placed(
        self, key: str, viewer: Viewer, pose: Pose, size: Size, item: Item | None = None
    ) -> PlacedPhoto:
        try:
            seen = viewer.view(pose, size)
            shape = footprint(
                seen.view, mode=self.placing.mode, near_m=seen.near_m, far_m=seen.view.far_m
            ).to_crs(self.crs)
        except GeorefError as error:
            return PlacedPhoto(key=key, status=FootprintStatus.FAILED, reason=str(error))
        return PlacedPhoto(
            key=key, status=FootprintStatus.PLACED, footprint=shape, seen=seen, item=item
        )
