"""Shapefile, GeoJSON, FlatGeobuf and GeoParquet as sources of photos: points with a path column.

Such a file is copied into a GeoPackage that lives as long as the run, in the system's folder for
temporary files, and read there. So detection, attributes, --where, --bbox and the appending sinks
are the ones of GeoPackages, and every format behaves the same. What a user sees is his own file:
paths are relative to its folder, photos are known by these paths, SRC_FILE names it, journal and
backup lie beside it. SRC_FID is the feature's number in it as GDAL and QGIS count ($id): from 0 in
a shapefile, a FlatGeobuf and a GeoParquet, the "id" of a GeoJSON's feature where that is a number.

Geometries keep Z; M, which no photo needs, is left in the file.

The file itself is never written: overwriting replaces the files of photos, and leaves the paths
as they are. Photos that are in a column (BLOBs of a GeoParquet, base64 in a GeoJSON) can be
appended to an output, not overwritten.

Each ending is opened by its own driver: what a file's content claims to be does not matter.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.crs import srs_of
from attachtrans.stores.geopackage import is_system, quote
from attachtrans.stores.gpb import to_blob
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.registry import GeometryRow, add_contents, add_geometry
from attachtrans.stores.schema import Field, TableSpec
from attachtrans.stores.srs import ensure_srs

DRIVERS = {
    ".shp": "ESRI Shapefile",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".fgb": "FlatGeobuf",
}
PARQUET = frozenset({".parquet", ".geoparquet"})

_UNDEFINED = -1
_KEY, _SHAPE = "fid", "geom"
_INT64 = 1 << 63
_PLAIN_TYPES = {
    "bool": "BOOLEAN",
    "int": "INTEGER",
    "float": "DOUBLE",
    "date": "DATE",
    "datetime": "DATETIME",
    "bytes": "BLOB",
}
_MULTI = {"Point": "POINT", "MultiPoint": "MULTIPOINT"} | dict.fromkeys(
    ("Polygon", "MultiPolygon"), "MULTIPOLYGON"
)
_MULTI |= dict.fromkeys(("LineString", "MultiLineString"), "MULTILINESTRING")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A feature: its number in the file, its values by column, well-known binary (ISO)."""

    number: int
    values: Sequence[Any]
    wkb: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a file holds; columns are (name, GeoPackage type), `shape` is None without geometry."""

    columns: tuple[tuple[str, str], ...]
    shape: str | None
    crs: CRS | None
    records: Iterator[_Record]


class VectorTable:
    """A vector file and its copy; made by `open_vector_table`.

    path      the user's file
    database  the GeoPackage to read; it is deleted once nobody holds this object any more, at
              the latest when the program ends
    """

    def __init__(self, path: Path, database: Path) -> None:
        self.path, self.database = path, database
        weakref.finalize(self, shutil.rmtree, database.parent, ignore_errors=True)

    def guarded(self, tables: Iterable[PhotoTable]) -> list[PhotoTable]:
        """The photo tables of the copy; those with photos in columns cannot be written."""
        why = f"its photos are in {self.path.name} itself, and only files of photos are replaced"
        return [t if t.layout is LayoutName.PATH else replace(t, read_only=why) for t in tables]


def paths_of(source: Path | VectorTable) -> tuple[Path, Path]:
    """The user's file, and the GeoPackage to read it in: the same for a GeoPackage."""
    return (source, source) if isinstance(source, Path) else (source.path, source.database)


def is_vector_table(path: Path) -> bool:
    """Whether a path is read as a vector file, by its ending."""
    return (path.suffix.lower() in DRIVERS or path.suffix.lower() in PARQUET) and not path.is_dir()


def open_vector_table(path: Path) -> VectorTable:
    """Copy a vector file, so that it can be read as a GeoPackage.

    Raises:
        ArgumentError: GeoParquet without the library that reads it.
        SourceError: it is missing, damaged or not what its ending says.
    """
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")
    reader = _read_parquet if path.suffix.lower() in PARQUET else _read_by_gdal
    folder = Path(tempfile.mkdtemp(prefix="attachtrans-"))
    table = VectorTable(path, folder / "copy.gpkg")
    reader(path, lambda content: _write(table, content))
    return table


def _read_by_gdal(path: Path, use: Callable[[_Content], None]) -> None:
    import fiona
    from fiona.errors import FionaError

    driver = DRIVERS[path.suffix.lower()]
    try:
        with fiona.open(path.absolute(), enabled_drivers=[driver]) as file:
            schema = file.schema
            kind = schema["geometry"]
            names = tuple(schema["properties"])
            content = _Content(
                columns=tuple((name, _declared(schema["properties"][name])) for name in names),
                shape=None if kind == "None" else kind,
                crs=_crs(file.crs_wkt),
                records=(_record_of(feature, names) for feature in file),
            )
            use(content)
    except (FionaError, OSError, UnicodeError) as error:
        raise SourceError(f"{path}: cannot be read as {driver}: {error}") from error


def _record_of(feature: Any, names: Sequence[str]) -> _Record:
    import shapely
    from shapely.geometry import shape

    geometry = feature.geometry
    return _Record(
        number=int(feature.id),
        values=[feature.properties[name] for name in names],
        wkb=None if geometry is None else shapely.to_wkb(shape(geometry), flavor="iso"),
    )


def _declared(kind: str) -> str:
    """The GeoPackage type of one of fiona's, such as "int32:9", "str:80" or "List[str]"."""
    base = kind.partition(":")[0].rstrip("0123456789")
    return _PLAIN_TYPES.get(base, "TEXT")


def _read_parquet(path: Path, use: Callable[[_Content], None]) -> None:
    if find_spec("pyarrow") is None:
        raise ArgumentError(f"{path}: needs pyarrow: pip install 'attachtrans[parquet]'")
    import geopandas
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            schema = file.schema_arrow
            about = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
            shapes = about.get("primary_column")
            if shapes not in schema.names:
                raise SourceError(f"{path}: is no GeoParquet: it names no column of geometries")
            geometries = geopandas.read_parquet(path, columns=[shapes]).geometry
            fields = [field for field in schema if field.name != shapes]
            kinds = {kind for kind in geometries.geom_type if kind is not None}
            content = _Content(
                columns=tuple((field.name, _arrow_type(field.type)) for field in fields),
                shape=_common_kind(kinds, has_z=bool(geometries.has_z.any())),
                crs=geometries.crs,
                records=_rows_of(file, geometries, [field.name for field in fields]),
            )
            use(content)
    except (ArrowException, OSError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: cannot be read as GeoParquet: {error}") from error


def _rows_of(file: Any, geometries: Any, names: Sequence[str]) -> Iterator[_Record]:
    binaries = iter(geometries.to_wkb(flavor="iso"))
    numbers = count()
    for batch in file.iter_batches(columns=list(names)):
        columns = [batch.column(name).to_pylist() for name in names]
        for index in range(batch.num_rows):
            values = [column[index] for column in columns]
            yield _Record(number=next(numbers), values=values, wkb=next(binaries))


def _arrow_type(kind: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    tests = {
        "BOOLEAN": types.is_boolean,
        "INTEGER": types.is_integer,
        "DOUBLE": lambda one: types.is_floating(one) or types.is_decimal(one),
        "DATE": types.is_date,
        "DATETIME": types.is_timestamp,
        "BLOB": lambda one: types.is_binary(one) or types.is_large_binary(one),
    }
    return next((name for name, holds in tests.items() if holds(kind)), "TEXT")


def _common_kind(kinds: set[str], *, has_z: bool) -> str:
    """The type of a column with these geometries, as fiona would name it."""
    declared = {_MULTI.get(kind) for kind in kinds}
    kind = min(kinds) if len(declared) == 1 and None not in declared else "Unknown"
    return f"3D {kind}" if has_z else kind


def _crs(wkt: str) -> CRS | None:
    try:
        return CRS.from_wkt(wkt) if wkt else None
    except CRSError:
        return None


def _write(table: VectorTable, content: _Content) -> None:
    """The content as the one layer of a new GeoPackage, named after the user's file."""
    *columns, shape, key = _column_names([*(name for name, _ in content.columns), _SHAPE, _KEY])
    own = [Field(name=shape, declared="BLOB")] if content.shape is not None else []
    fields = [
        Field(name=name, declared=declared)
        for name, (_, declared) in zip(columns, content.columns, strict=True)
    ]
    key_column = Field(name=key, declared="INTEGER", constraint="PRIMARY KEY NOT NULL")
    layer = _layer_name(table.path.stem)
    spec = TableSpec(name=layer, key=key, fields=(key_column, *own, *fields))
    out = OutFile(table.database)
    try:
        with out.transaction() as connection:
            srs_id = _UNDEFINED
            if content.crs is not None:
                srs_id = ensure_srs(connection, srs_of(content.crs))
            if content.shape is None:
                add_contents(connection, layer, "attributes", srs_id, "")
            else:
                add_contents(connection, layer, "features", srs_id, "")
                add_geometry(connection, _geometry_row(layer, shape, content.shape, srs_id))
            spec.create(connection)
            marks = ", ".join("?" * len(spec.fields))
            connection.executemany(
                f"INSERT INTO {quote(layer)} VALUES ({marks})", _rows(content, srs_id)
            )
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
        raise SourceError(f"{table.path}: cannot be read: {error}") from error
    finally:
        out.close()


def _rows(content: _Content, srs_id: int) -> Iterator[tuple[object, ...]]:
    types = [declared for _, declared in content.columns]
    promoted = content.shape is not None and _type_name(content.shape).startswith("MULTI")
    for record in content.records:
        values = [_stored(v, kind) for v, kind in zip(record.values, types, strict=True)]
        if content.shape is None:
            yield (record.number, *values)
        else:
            wkb = record.wkb
            blob = None if wkb is None else to_blob(_multi(wkb) if promoted else wkb, srs_id)
            yield (record.number, blob, *values)


def _multi(wkb: bytes) -> bytes:
    """A single line or area as a collection of one: shapefiles have both under one type."""
    import shapely

    shape = shapely.from_wkb(wkb)
    if isinstance(shape, shapely.Polygon):
        return shapely.to_wkb(shapely.MultiPolygon([shape]), flavor="iso")
    if isinstance(shape, shapely.LineString):
        return shapely.to_wkb(shapely.MultiLineString([shape]), flavor="iso")
    return wkb


def _geometry_row(layer: str, column: str, kind: str, srs_id: int) -> GeometryRow:
    """How the column is registered; files do not promise that all have Z."""
    z = 2 if kind.startswith("3D ") or _type_name(kind) == "GEOMETRY" else 0
    return GeometryRow(
        table=layer, column=column, type_name=_type_name(kind), srs_id=srs_id, z=z, m=0
    )


def _type_name(kind: str) -> str:
    return _MULTI.get(kind.removeprefix("3D "), "GEOMETRY")


def _layer_name(stem: str) -> str:
    """The file's name as a layer's, where it is none that runs a GeoPackage."""
    return f"layer_{stem}" if is_system(stem) else stem


def _column_names(names: Sequence[str]) -> list[str]:
    """Each name once, as SQLite tells names apart: case does not count."""
    found: list[str] = []
    for name in names:
        unique = name
        for number in count(2):
            if not any(unique.lower() == other.lower() for other in found):
                break
            unique = f"{name}_{number}"
        found.append(unique)
    return found


def _stored(value: object, declared: str) -> object:
    """A value as a GeoPackage keeps it: moments in UTC, lists and objects as JSON."""
    if value is None:
        return None
    if declared == "DATETIME":
        return _moment(value)
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (float, str, bytes)):
        return value
    return str(value) if isinstance(value, (date, time)) else _as_json(value)


def _moment(value: object) -> object:
    """A moment as GeoPackage writes it; one without time zone is taken for UTC, as GDAL does."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
