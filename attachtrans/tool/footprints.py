"""`attachtrans footprint`: where photos lie on the map, without a model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import shapely
from pyproj import CRS

from attachtrans.errors import (
    ArgumentError,
    GeorefError,
    SchemaError,
    SinkError,
    SourceError,
)
from attachtrans.geo.footprint import Footprint
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.pose import Pose
from attachtrans.geo.posemerge import merge
from attachtrans.geo.view import CameraView
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.carry import source_name
from attachtrans.stores.dem import Dem
from attachtrans.stores.durable import put_in_place, temporary_for
from attachtrans.stores.poses import PoseTable
from attachtrans.stores.schema import SRC_ATT, SRC_FILE, SRC_LAYER
from attachtrans.stores.vectors import GEOPACKAGE, Row, Value, VectorOutput
from attachtrans.tool.place.abreast import Abreast, hands_for
from attachtrans.tool.place.open import layer_crs, source_crs
from attachtrans.tool.place.options import Placing, user_crs
from attachtrans.tool.place.placer import attributes, shown
from attachtrans.tool.place.poser import Poser, common_lens, read_pose_table
from attachtrans.tool.place.viewer import Viewer
from attachtrans.tool.sources import Choice, is_feature_class, is_geopackage, open_source
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

    footprint   in the output's CRS
    attributes  what its row says
    layer       that the photo hangs on, "" for none
    """

    key: str
    status: FootprintStatus
    reason: str = ""
    footprint: Footprint | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    layer: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain values, as one line of a `--report` file holds them."""
        known: dict[str, object] = {**self.attributes}
        if self.footprint is not None:
            known["wkt"] = shapely.to_wkt(self.footprint.geometry, rounding_precision=9)
        return {"key": self.key, "status": str(self.status), "reason": self.reason, **known}


_Made = tuple[PlacedPhoto, CameraView | None]


@dataclass(slots=True, kw_only=True)
class Footprints:
    """One prepared run; iterate over it once, a `PlacedPhoto` per photo, in the source's order.

    photos   None: the poses of a table without photos
    crs      of the footprints
    hands    threads that they are made in; results do not depend on their number
    written  whether the output has them: when the iteration is through
    """

    source: Path
    output: VectorOutput | None
    photos: PhotoSource | None
    placing: Placing
    crs: CRS
    preview: Path | None
    dry_run: bool
    hands: int = 1
    written: bool = False
    notes: list[str] = field(default_factory=list)
    _table: PoseTable | None = None

    def __len__(self) -> int:
        if self.photos is not None:
            return len(self.photos)
        return 0 if self._table is None else len(self._table.poses)

    def __iter__(self) -> Generator[PlacedPhoto, None, None]:
        """Run; raises what stops every photo. Nothing is written before the last photo."""
        rows: list[Row] = []
        drawn: dict[str, tuple[Footprint, CameraView]] = {}
        with ExitStack() as stack:
            if self.photos is not None:
                stack.callback(self.photos.close)
            viewer = Viewer(self.placing)
            stack.callback(viewer.close)
            made = self._each(viewer, stack) if self._table is None else self._rows(viewer)
            stack.callback(made.close)
            for one, view in made:
                if one.footprint is not None and view is not None:
                    rows.append(self._row(one, one.footprint))
                    if self.preview is not None and len(drawn) < _MOST_DRAWN:
                        drawn[one.key] = one.footprint, _without_ground(view)
                yield one
            self.notes.extend(viewer.notes)
        if rows and not self.dry_run:
            if self.output is not None:
                self._write(self.output, rows)
            if self.preview is not None:
                self._draw(self.preview, drawn, len(rows))

    def _rows(self, viewer: Viewer) -> Generator[_Made, None, None]:
        if self._table is None:
            return
        lens = common_lens(replace(self.placing, poses=self.source))
        work = partial(self._row_of, viewer, lens)
        yield from Abreast(self.hands).each(_named(self._table.poses), work)
        self.notes.extend(self._table.notes)

    def _row_of(self, viewer: Viewer, lens: Pose | None, named: tuple[str, Pose]) -> _Made:
        key, pose = named
        failed = PlacedPhoto(key=key, status=FootprintStatus.FAILED)
        try:
            merged = pose if lens is None else merge(lens, pose)
        except GeorefError as error:
            return replace(failed, reason=str(error)), None
        inside = merged.lens
        size = Size(1, 1) if inside is None else turned(inside.size, merged.orientation)
        return self._placed(failed, viewer, merged, size)

    def _each(self, viewer: Viewer, stack: ExitStack) -> Generator[_Made, None, None]:
        if self.photos is None:
            return
        poser = Poser(self.placing, self.photos)
        stack.callback(poser.close)
        work = partial(self._photo, self.photos, poser, viewer)
        yield from Abreast(self.hands).each(self.photos, work)
        self.notes.extend(poser.notes)

    def _photo(self, photos: PhotoSource, poser: Poser, viewer: Viewer, item: Item) -> _Made:
        layer = item.features[0].layer if item.features else ""
        failed = PlacedPhoto(key=item.key, status=FootprintStatus.FAILED, layer=layer)
        try:
            data = photos.read(item)
            header = probe(data)
            if header.size is None:
                reason = header.skip or f"is no image ({header.media.media_type})"
                return replace(failed, status=FootprintStatus.SKIPPED, reason=reason), None
            size = turned(header.size, header.orientation)
            pose = poser.pose(item, data, size, header.orientation)
        except (GeorefError, SourceError) as error:
            return replace(failed, reason=str(error)), None
        return self._placed(failed, viewer, pose, size)

    def _placed(self, failed: PlacedPhoto, viewer: Viewer, pose: Pose, size: Size) -> _Made:
        try:
            seen = viewer.view(pose, size)
            shape = shown(seen, self.placing).to_crs(self.crs)
        except GeorefError as error:
            return replace(failed, reason=str(error)), None
        except ArgumentError as error:  # options were looked at: a number that this photo has
            return replace(failed, reason=f"it has no footprint: {error}"), None
        placed = replace(
            failed,
            status=FootprintStatus.PLACED,
            footprint=shape,
            attributes=attributes(shape, seen),
        )
        return placed, seen.view

    def _row(self, one: PlacedPhoto, shape: Footprint) -> Row:
        own = "" if self.output is None else source_name(self.source, self.output.path)
        return Row(
            attributes={
                **one.attributes,
                "NAME": one.key.rsplit("/", 1)[-1],
                SRC_FILE: own,
                SRC_LAYER: one.layer,
                SRC_ATT: one.key,
            },
            geometry=shape.geometry,
        )

    def _write(self, output: VectorOutput, rows: list[Row]) -> None:
        added, replaced = output.write(rows)
        self.written = True
        if replaced:
            self.notes.append(f"{added} footprints are new, {replaced} took the place of others")

    def _draw(self, path: Path, drawn: dict[str, tuple[Footprint, CameraView]], count: int) -> None:
        from attachtrans.preview import draw_footprints

        draft = temporary_for(path)
        dem = None if self.placing.dem is None else Dem.open(self.placing.dem)
        try:
            draw_footprints(
                {key: shape for key, (shape, _) in drawn.items()},
                draft,
                cameras={key: view for key, (_, view) in drawn.items()},
                relief=None if dem is None else partial(dem.ground, own_datum=True),
            )
            put_in_place(draft, path)
        except GeorefError as error:
            self.notes.append(f"no preview: the footprints have no map in common ({error})")
            return
        except OSError as error:
            raise SinkError(f"--preview {path} cannot be written: {error}") from error
        finally:
            draft.unlink(missing_ok=True)
            if dem is not None:
                dem.close()
        if len(drawn) < count:
            self.notes.append(f"the preview shows the first {_MOST_DRAWN} footprints")
        self.notes.append(f"preview: {path}")


def _named(poses: Iterable[Pose]) -> Iterator[tuple[str, Pose]]:
    """The rows of a table with their keys: those of one name are told apart by numbers."""
    names: Counter[str] = Counter()
    for number, pose in enumerate(poses, start=1):
        name = pose.name or f"row {number}"
        names[name] += 1
        yield (name if names[name] == 1 else f"{name} ({names[name]})"), pose


def _without_ground(view: CameraView) -> CameraView:
    """A view with the camera alone: elevation models take megabytes each."""
    return CameraView(view.eye, FlatGround(0.0), view.world.crs)


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
    photos, table = _photos_or_poses(path, choice or Choice(), wish)
    out = None if output is None else _output(output, _crs(wish, output, photos))
    if out is not None:
        out.check()
    if preview is not None:
        _check_preview(Path(preview))
    run = Footprints(
        source=path,
        output=out,
        photos=photos,
        placing=wish,
        crs=_crs(wish, None, photos) if out is None else out.crs,
        preview=None if preview is None else Path(preview),
        dry_run=dry_run,
        _table=table,
    )
    run.hands = hands_for(len(run))
    return run


def _crs(placing: Placing, output: PathLike | None, photos: PhotoSource | None) -> CRS:
    """That of footprints: the user's, of the layer that is appended to, of the photos' layer."""
    asked = None if placing.crs is None else user_crs("--crs", placing.crs)
    there = None
    if output is not None:
        found = _output(output, _WGS84)
        if found.path.suffix.lower() == GEOPACKAGE and found.path.exists():
            there = layer_crs(found.path, found.layer)
        if asked is not None and there is not None and not _same(asked, there):
            raise SchemaError(
                f"--crs {asked.name}: the layer {found.layer} of {found.path} is in {there.name}; "
                "name another layer with -o FILE:LAYER, or leave --crs out"
            )
    return asked or there or source_crs(photos) or _WGS84


def _same(one: CRS, other: CRS) -> bool:
    return one.equals(other, ignore_axis_order=True)


def _output(text: PathLike, crs: CRS) -> VectorOutput:
    """`OUT.gpkg:layer`, or a file of another format."""
    head, ending, layer = os.fspath(text).partition(f"{GEOPACKAGE}:")
    if ending:
        return VectorOutput(path=Path(head + GEOPACKAGE), crs=crs, layer=layer)
    return VectorOutput(path=Path(text), crs=crs)


def _check_preview(path: Path) -> None:
    if find_spec("matplotlib") is None:
        raise ArgumentError("--preview is drawn by matplotlib: pip install 'attachtrans[preview]'")
    if path.suffix.lower() != ".png":
        raise ArgumentError(f"--preview {path}: is a PNG, so name it like map.png")
    if not path.resolve().parent.is_dir():
        raise ArgumentError(f"--preview {path}: there is no folder {path.resolve().parent}")


def _photos_or_poses(
    path: Path, choice: Choice, placing: Placing
) -> tuple[PhotoSource | None, PoseTable | None]:
    """The photos of a source, or where it has none the poses that it is a table of."""
    ending = path.suffix.lower()
    if ending not in _TABLES or (path.is_dir() and ending != ".gdb"):
        return open_source(path, choice)[0], None
    if is_feature_class(path):
        try:
            return open_source(path, choice)[0], None
        except SourceError as without_photos:
            try:
                return None, _rows_of(path, choice, placing)
            except SourceError as without_poses:
                likely = without_photos if is_geopackage(path) else without_poses
                raise likely from None
    return None, _rows_of(path, choice, placing)


def _rows_of(path: Path, choice: Choice, placing: Placing) -> PoseTable:
    """The poses of a table. Raises as `read_pose_table`, and ArgumentError."""
    if placing.poses is not None:
        raise ArgumentError(f"--poses: {path} is a table of poses itself, without photos")
    flags = [*choice.given_for_tables(), *(["--pattern"] if choice.patterns else [])]
    if flags:
        raise ArgumentError(f"{flags[0]} chooses photos, and {path} is a table of poses")
    if choice.limit is not None and choice.limit < 1:
        raise ArgumentError(f"--limit {choice.limit}: give a number of rows, 1 or more")
    table = read_pose_table(path, placing)
    return replace(table, poses=table.poses[: choice.limit])
