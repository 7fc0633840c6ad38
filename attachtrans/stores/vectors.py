"""Footprints as features, without photos: GeoPackage, GeoJSON, FlatGeobuf, GeoParquet, shapefile.

A GeoPackage is appended to, in one transaction: a photo that is in it already, by the same source
and model, has its row replaced, so the same command again adds nothing. The other formats are
written anew, as a whole: built under another name, then moved into place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from attachtrans import __version__
from attachtrans.errors import ArgumentError, OutputExistsError, SinkError
from attachtrans.geo.antimeridian import to_lonlat
from attachtrans.geo.frame import horizontal, read_crs
from attachtrans.stores.carry import Origin
from attachtrans.stores.classes import prepare
from attachtrans.stores.durable import put_in_place, replace_file, sync_folder, temporary_for
from attachtrans.stores.geopackage import is_system
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.photofeatures import (
    PHOTO_FIELDS,
    PhotoFeatures,
    PhotoKey,
    furnish_rows,
    photo_class,
)
from attachtrans.stores.schema import MODEL_FP, SRC_ATT, SRC_FILE, SRC_LAYER, Field
from attachtrans.types import Placement

Value = str | float | int | None

GEOPACKAGE = ".gpkg"
_KEYS = (SRC_FILE, SRC_LAYER, SRC_ATT, MODEL_FP)
_WGS84 = CRS.from_epsg(4326)
_DECIMALS = 9  # of a degree: a tenth of a millimetre on the ground
_GENERATOR = '{"type": "FeatureCollection", "generator": "attachtrans '
_SHORT = 10  # characters of a shapefile's column


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A feature: SRC_FILE, SRC_LAYER, SRC_ATT and MODEL_FP say of what, "" where there is none.

    geometry  polygon or multipolygon in the output's CRS; None where there is none
    """

    attributes: Mapping[str, Value]
    geometry: Polygon | MultiPolygon | None


class Written(NamedTuple):
    """How many rows are new, and how many took the place of an earlier one."""

    added: int
    replaced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOutput:
    """A file of footprints; its ending says the format.

    layer   a GeoPackage's layer
    crs     of the rows' geometries, and of the file, but GeoJSON is in WGS 84 (RFC 7946)
    extra   columns besides those that say of what a row is, and those of `PHOTO_FIELDS`
    """

    path: Path
    crs: CRS
    layer: str = "footprints"
    extra: tuple[Field, ...] = ()

    def check(self) -> None:
        """Look before the work whether the file can be written.

        Raises:
            ArgumentError: an ending or a layer that is not known, a library that is missing.
            OutputExistsError: a file that is not of ours would be replaced.
            SinkError: there is no such folder.
        """
        path, ending = self.path, self.path.suffix.lower()
        if ending != GEOPACKAGE and ending not in _WRITERS:
            known = ", ".join((GEOPACKAGE, *_WRITERS))
            raise ArgumentError(f"--output {path}: the ending says the format, one of {known}")
        if ending == GEOPACKAGE and (not self.layer.strip() or is_system(self.layer)):
            raise ArgumentError(f"--output: {self.layer!r} cannot be the name of a layer")
        if ending in _PARQUET and find_spec("pyarrow") is None:
            raise ArgumentError(
                f"--output {path}: needs pyarrow: pip install 'attachtrans[parquet]', or write "
                ".gpkg or .geojson"
            )
        if not path.parent.is_dir():
            raise SinkError(f"--output {path}: there is no folder {path.parent}; make it first")
        if ending != GEOPACKAGE and path.exists() and not _is_ours(path):
            raise OutputExistsError(
                f"--output {path} is there and is no file of footprints that attachtrans wrote: "
                "name another one"
            )

    def write(self, rows: Sequence[Row]) -> Written:
        """Write or append all of them, or nothing.

        Raises:
            ArgumentError, OutputExistsError: see `check`.
            CrsError: a geometry has no place in the file's CRS.
            SchemaError: the GeoPackage's layer has other columns or another CRS.
            SinkError: it cannot be written.
        """
        self.check()
        ending = self.path.suffix.lower()
        if ending == GEOPACKAGE:
            return self._append(rows)
        replaced = self.path.exists()
        try:
            _WRITERS[ending](self, rows)
        except (OSError, RuntimeError) as error:  # what pyogrio raises is a RuntimeError
            raise SinkError(f"--output {self.path} cannot be written: {error}") from error
        return Written(0, len(rows)) if replaced else Written(len(rows), 0)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns of every format but GeoPackage, which has ids as well."""
        own = (Field(name=name, declared="TEXT") for name in (SRC_FILE, SRC_LAYER))
        fields = (*own, *PHOTO_FIELDS, Field(name=MODEL_FP, declared="TEXT"), *self.extra)
        return tuple({field.name: field for field in fields}.values())

    def _append(self, rows: Sequence[Row]) -> Written:
        out = OutFile(self.path)
        try:
            plan = photo_class(self.layer, self.crs, layer="", extra=self.extra)
            plan, _ = prepare(out, None, plan, furnish_rows)
            counts: Counter[bool] = Counter()
            with out.transaction() as connection:
                for row in rows:
                    file, layer, key, model = (str(row.attributes.get(n) or "") for n in _KEYS)
                    features = PhotoFeatures(plan, Origin(file=file, model=model))
                    photo = PhotoKey(layer=layer, key=key)
                    counts[features.find(connection, photo) is None] += 1
                    carried = {f.name: row.attributes.get(f.name) for f in self.extra}
                    features.put(connection, photo, carried, _placement(row))
            out.check()
        finally:
            out.close()
        return Written(counts[True], counts[False])

    def table(self, rows: Sequence[Row]) -> Any:
        """A GeoDataFrame of the rows, with columns of one type each."""
        import geopandas
        import pandas as pd

        columns = {
            field.name: pd.Series(
                [row.attributes.get(field.name) for row in rows],
                dtype={"INTEGER": "Int64", "DOUBLE": "Float64"}.get(field.declared, object),
            )
            for field in self.fields
        }
        shapes = geopandas.GeoSeries([_multi(row.geometry) for row in rows], crs=self.crs)
        return geopandas.GeoDataFrame(columns, geometry=shapes)


def _placement(row: Row) -> Placement:
    shape = _multi(row.geometry)
    problem = row.attributes.get("PROBLEM")
    return Placement(
        geometry=None if shape is None else shapely.to_wkb(shape, flavor="iso"),
        attributes=row.attributes,
        problem="" if problem is None else str(problem),
    )


def _multi(shape: Polygon | MultiPolygon | None) -> MultiPolygon | None:
    return MultiPolygon([shape]) if isinstance(shape, Polygon) else shape


def _write_geojson(out: VectorOutput, rows: Sequence[Row]) -> None:
    """RFC 7946: WGS 84, longitude first, outer rings counter-clockwise, cut at 180 degrees."""
    names = [field.name for field in out.fields]
    same = horizontal(read_crs(out.crs)) == _WGS84
    lines = []
    for row in rows:
        shape: BaseGeometry | None = row.geometry
        if row.geometry is not None and not same:
            shape = to_lonlat(row.geometry, out.crs)
        geometry = None
        if shape is not None:
            turned = shapely.orient_polygons(shape, exterior_cw=False)
            geometry = _rounded(json.loads(shapely.to_geojson(turned)))
        properties = {name: _finite(row.attributes.get(name)) for name in names}
        feature = {"type": "Feature", "properties": properties, "geometry": geometry}
        lines.append(json.dumps(feature, ensure_ascii=False, allow_nan=False))
    body = ",\n".join(lines)
    content = f'{_GENERATOR}{__version__}", "features": [\n{body}\n]}}\n'
    replace_file(out.path, content.encode())


def _finite(value: Value) -> Value:
    """JSON has no spelling for nan and infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _rounded(value: Any) -> Any:
    """Coordinates without the noise of arithmetic."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return value


def _write_parquet(out: VectorOutput, rows: Sequence[Row]) -> None:
    partial = temporary_for(out.path)
    try:
        out.table(rows).to_parquet(partial, index=False)
        put_in_place(partial, out.path)
    finally:
        partial.unlink(missing_ok=True)


def _write_by_gdal(out: VectorOutput, rows: Sequence[Row]) -> None:
    """FlatGeobuf, shapefile: made in a hidden folder; of several files the named one comes last."""
    table, name = out.table(rows), out.path.name
    driver, options = "FlatGeobuf", {}
    if any(row.geometry is None for row in rows):
        options["SPATIAL_INDEX"] = "NO"  # FlatGeobuf's index has no place for them
    if out.path.suffix.lower() == ".shp":
        driver, name, options = "ESRI Shapefile", f"{out.path.stem}.shp", {}
        table = table.rename(columns=_short([field.name for field in out.fields]))
    folder = temporary_for(out.path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        table.to_file(
            folder / name,
            driver=driver,
            engine="pyogrio",
            geometry_type="MultiPolygon",
            layer_options=options,
        )
        parts = sorted(folder.iterdir(), key=lambda part: part.name == name)
        for part in parts:
            target = out.path if part.name == name else out.path.with_suffix(part.suffix)
            put_in_place(part, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        sync_folder(out.path.parent)


def _short(names: Sequence[str]) -> dict[str, str]:
    """Names that a shapefile's columns may have, each once."""
    found: dict[str, str] = {}
    for name in names:
        short, number = name[:_SHORT], 1
        while short in found.values():
            number += 1
            short = f"{name[: _SHORT - len(str(number))]}{number}"
        found[name] = short
    return found


def _is_ours(path: Path) -> bool:
    """Whether a file is one of footprints that a run wrote: a later one may replace it."""
    ending = path.suffix.lower()
    if ending in (".geojson", ".json"):
        with path.open("rb") as file:
            return file.read(len(_GENERATOR)) == _GENERATOR.encode()
    return set(_KEYS) <= _columns(path)


def _columns(path: str | os.PathLike[str]) -> set[str]:
    """The names of a vector file's columns; none when it cannot be read."""
    if Path(path).suffix.lower() in _PARQUET:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_schema

        try:
            return set(read_schema(path).names)
        except (ArrowException, OSError):
            return set()
    import fiona
    from fiona.errors import FionaError

    try:
        with fiona.open(path) as file:
            return set(file.schema["properties"])
    except FionaError:
        return set()


_PARQUET = (".parquet", ".geoparquet")
_WRITERS: dict[str, Callable[[VectorOutput, Sequence[Row]], None]] = {
    **dict.fromkeys((".geojson", ".json"), _write_geojson),
    **dict.fromkeys(_PARQUET, _write_parquet),
    **dict.fromkeys((".fgb", ".shp"), _write_by_gdal),
}
