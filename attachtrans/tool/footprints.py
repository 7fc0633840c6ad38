"""`attachtrans footprint`: where photos lie on the map, without a model."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import shapely
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError, LayoutError, SourceError
from attachtrans.geo.footprint import Footprint, footprint
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import Pose
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.carry import source_name
from attachtrans.stores.schema import SRC_ATT, SRC_FILE, SRC_LAYER
from attachtrans.stores.vectors import GEOPACKAGE, Row, VectorOutput
from attachtrans.tool.place.open import source_crs
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.placer import attributes
from attachtrans.tool.place.poser import Poser, read_pose_table
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.tool.sources import Choice, is_geopackage, open_source
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
    """One photo, or one row of a table of poses.

    footprint  in the output's CRS
    layer      that the photo hangs on, "" for none
    """

    key: str
    status: FootprintStatus
    reason: str = ""
    footprint: Footprint | None = None
    seen: Seen | None = None
    layer: str = ""

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
    output: VectorOutput | None
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
        if self.output is not None and placed and not self.dry_run:
            self._write(self.output, placed)
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
            key=key,
            status=FootprintStatus.PLACED,
            footprint=shape,
            seen=seen,
            layer=item.features[0].layer if item is not None and item.features else "",
        )

    def _write(self, output: VectorOutput, placed: list[PlacedPhoto]) -> None:
        file = source_name(self.source, output.path)
        rows = [
            Row(
                attributes=attributes(one.footprint, one.seen)
                | {
                    "NAME": one.key.rsplit("/", 1)[-1],
                    SRC_FILE: file,
                    SRC_LAYER: one.layer,
                    SRC_ATT: one.key,
                },
                geometry=one.footprint.geometry,
            )
            for one in placed
            if one.footprint is not None and one.seen is not None
        ]
        added, replaced = output.write(rows)
        again = f", {replaced} took the place of earlier ones" if replaced else ""
        self.notes.append(f"{added} footprints are new{again}")

    def _draw(self, path: Path, placed: list[PlacedPhoto]) -> None:
        from attachtrans.preview import draw_footprints

        drawn = placed[:_MOST_DRAWN]
        if len(drawn) < len(placed):
            self.notes.append(f"the preview shows the first {_MOST_DRAWN} footprints")
        draw_footprints(
            {one.key: one.footprint for one in drawn if one.footprint is not None},
            path,
            cameras={one.key: one.seen.view for one in drawn if one.seen is not None},
        )
        self.notes.append(f"preview: {path}")


def plan_footprints(
    source: PathLike,
    output: PathLike | None = None,
    *,
    choice: Choice | None = None,
    placing: Placing | None = None,
    preview: PathLike | None = None,
    dry_run: bool = False,
) -> Footprints:
    """Prepare footprints: check everything, write nothing.

    source   GeoPackage with photos, folder of photos, one photo, or a table of poses: what
             `Placing.poses` takes
    output   "OUT.gpkg" or "OUT.gpkg:layer" (appended to), .geojson, .fgb, .parquet, .shp (written
             anew); None: nowhere, for what the iteration yields
    choice   which photos of the source
    placing  where photos were taken and what they look at; its crs is that of the footprints, by
             default that of the photos' layer, else WGS 84
    preview  PNG of a map of them; needs matplotlib

    Raises ArgumentError, OutputExistsError, SinkError, SourceError (LayoutError), CrsError.
    """
    path, wish = Path(source), placing or Placing()
    photos, poses = _photos_or_poses(path, choice or Choice(), wish)
    asked = None if wish.crs is None else read_crs(wish.crs)
    crs = asked or source_crs(photos) or _WGS84
    out = None if output is None else _output(output, crs)
    if out is not None:
        out.check()
    if preview is not None and find_spec("matplotlib") is None:
        raise ArgumentError("--preview is drawn by matplotlib: pip install 'attachtrans[preview]'")
    return Footprints(
        source=path,
        output=out,
        photos=photos,
        placing=wish,
        crs=crs,
        preview=None if preview is None else Path(preview),
        dry_run=dry_run,
        _poses=poses,
    )


def _output(text: PathLike, crs: CRS) -> VectorOutput:
    """`OUT.gpkg:layer`, or a file of another format."""
    head, ending, layer = os.fspath(text).partition(f"{GEOPACKAGE}:")
    if ending:
        return VectorOutput(path=Path(head + GEOPACKAGE), crs=crs, layer=layer)
    return VectorOutput(path=Path(text), crs=crs)


def _photos_or_poses(
    path: Path, choice: Choice, placing: Placing
) -> tuple[PhotoSource | None, tuple[Pose, ...]]:
    """The photos of a source, or where it has none the poses that it is a table of."""
    if path.is_dir() or path.suffix.lower() not in _TABLES:
        return open_source(path, choice)[0], ()
    if is_geopackage(path):
        try:
            return open_source(path, choice)[0], ()
        except LayoutError as without_photos:
            try:
                return None, read_pose_table(path, placing).poses
            except SourceError:
                raise without_photos from None
    return None, read_pose_table(path, placing).poses
