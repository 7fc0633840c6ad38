"""Opens what may hold poses: JSON, tables as text, GeoPackages, anything that fiona reads.

What a file is, its first bytes say. Nothing that a file names is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from sqlite3 import Connection

import shapely
from pyproj import CRS

from attachtrans.errors import CrsError, SourceError
from attachtrans.geo.frame import read_crs
from attachtrans.stores.geopackage import Table as StoredTable
from attachtrans.stores.geopackage import quote, read_schema, reading, same
from attachtrans.stores.poses.base import key, number
from attachtrans.stores.poses.textfile import read_text_table
from attachtrans.stores.srs import Srs, read_all_srs

Point = tuple[float, float, float | None]

MOST_BYTES = 512 << 20
"""Of a text file; a reconstruction of ten thousand photos has a tenth of that."""
_MOST_ROWS = 5_000_000
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: folded column name (`base.key`) -> value, and the feature's point."""

    values: Mapping[str, object]
    point: Point | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a document; `crs` is that of the points."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    crs: CRS | None = None
    _folded: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded", frozenset(map(key, self.columns)))

    def has(self, *names: str) -> bool:
        """Whether there are columns of all these folded names."""
        return self._folded.issuperset(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file as it was read: JSON, or tables, or (GeoJSON) both.

    named  whether its tables' columns have names
    """

    path: Path
    json: object = None
    tables: tuple[Table, ...] = ()
    named: bool = True


def open_document(path: Path, columns: tuple[str, ...] = ()) -> Document:
    """A file, or a geodatabase folder.

    Args:
        path: of the file.
        columns: names for the columns of a text table without a header.

    Raises:
        SourceError: not there, too large, or of no kind that is known.
    """
    if path.is_dir():
        return Document(path=path, tables=_vector_tables(path))
    head = first_bytes(path)
    if head.startswith(_SQLITE):
        return Document(path=path, tables=_geopackage_tables(path))
    # Byte order marks of UTF-8 and UTF-16; text has no other NULs.
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        value = read_json(path)
        return Document(path=path, json=value, tables=_feature_tables(path, value))
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head:
        return Document(path=path, tables=_vector_tables(path))
    _check_bytes(path)
    text = read_text_table(path, columns)
    rows = tuple(
        Row(values={key(name): cell for name, cell in zip(text.columns, cells, strict=False)})
        for cells in text.rows
    )
    made = Table(name=path.stem, columns=text.columns, rows=rows, crs=beside_crs(path))
    return Document(path=path, tables=(made,), named=text.named)


def read_json(path: Path) -> object:
    """The value of a JSON file.

    Raises:
        SourceError: too large, not JSON, nested too deeply.
    """
    _check_bytes(path)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not JSON that can be read: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error


def beside_crs(path: Path) -> CRS | None:
    """The CRS of a .prj file of the same name beside a file.

    Raises:
        CrsError: there is one and it cannot be read.
    """
    found = path.with_suffix(".prj")
    if not found.is_file() or found == path:
        return None
    try:
        return read_crs(found.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CrsError(f"{found}: cannot be read: {error}") from error


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, which say what it is.

    Raises:
        SourceError: it it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error


def _check_bytes(path: Path) -> None:
    nbytes = path.stat().st_size
    if nbytes > MOST_BYTES:
        raise SourceError(
            f"{path}: has {nbytes >> 20} MB; tables of poses as text may have {MOST_BYTES >> 20}"
        )


def _folded(values: Mapping[str, object]) -> dict[str, object]:
    return {key(str(name)): value for name, value in values.items()}


def _feature_tables(path: Path, value: object) -> tuple[Table, ...]:
    """GeoJSON features as a table."""
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(features, list):
        return ()
    rows, columns = [], {}
    for feature in features:
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if isinstance(properties, dict):
            columns.update(dict.fromkeys(map(str, properties)))
            geometry = feature.get("geometry")
            rows.append(Row(values=_folded(properties), point=_json_point(geometry)))
    crs = _json_crs(value)
    return (Table(name=path.stem, columns=tuple(columns), rows=tuple(rows), crs=crs),)


def _json_crs(value: Mapping[str, object]) -> CRS:
    """Of GeoJSON's features: WGS 84, but for the old "crs" member."""
    member = value.get("crs")
    properties = member.get("properties") if isinstance(member, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return read_crs("OGC:CRS84" if not isinstance(name, str) else name)


def _json_point(geometry: object) -> Point | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    return _point(geometry.get("coordinates"))


def _point(coordinates: object) -> Point | None:
    if not isinstance(coordinates, list | tuple) or len(coordinates) < 2:
        return None
    x, y = number(coordinates[0]), number(coordinates[1])
    z = number(coordinates[2]) if len(coordinates) > 2 else None
    return None if x is None or y is None else (x, y, z)


def _geopackage_tables(path: Path) -> tuple[Table, ...]:
    """Features and attributes of a GeoPackage; photos in its columns are not read."""
    with reading(path) as connection:
        stored = read_schema(connection, path).tables
        known = {srs.srs_id: srs for srs in read_all_srs(connection)}
        return tuple(
            _geopackage_table(connection, table, known) for table in stored if not table.is_tiles
        )


def _geopackage_table(
    connection: Connection, table: StoredTable, known: Mapping[int, Srs]
) -> Table:
    shape = table.geometry.column if table.geometry else ""
    names = [
        column.name
        for column in table.columns
        if same(column.name, shape) or not ("BLOB" in column.declared or column.generated)
    ]
    found = known.get(table.geometry.srs_id) if table.geometry else None
    rows = []
    for cells in connection.execute(
        f"SELECT {', '.join(map(quote, names))} FROM {quote(table.name)} LIMIT {_MOST_ROWS}"
    ):
        row = dict(zip(names, cells, strict=True))
        point = _stored_point(row.pop(shape, None))
        rows.append(Row(values=_folded(row), point=point))
    return Table(
        name=table.name,
        columns=tuple(name for name in names if not same(name, shape)),
        rows=tuple(rows),
        crs=None if found is None or found.srs_id < 1 else _stored_crs(found),
    )


def _stored_crs(srs: Srs) -> CRS:
    """Of a row of gpkg_spatial_ref_sys."""
    if srs.organization.upper() in {"EPSG", "ESRI", "OGC"} and srs.code > 0:
        return read_crs(f"{srs.organization.upper()}:{srs.code}")
    return read_crs(srs.wkt2 if srs.needs_wkt2 else srs.definition)


def _stored_point(blob: object) -> Point | None:
    """Of a GeoPackage geometry: x, y and, where it has one, z; None unless it is a point."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        return None
    begin = 8 + 8 * (0, 4, 6, 6, 8, 0, 0, 0)[blob[3] >> 1 & 7]
    try:
        shape = shapely.from_wkb(blob[begin:])
    except shapely.errors.GEOSException:
        return None
    if not isinstance(shape, shapely.Point) or shape.is_empty:
        return None
    return _point((shape.x, shape.y, shape.z if shape.has_z else None))


def _vector_tables(path: Path) -> tuple[Table, ...]:
    """The layers of whatever fiona opens: file geodatabases, shapefiles, FlatGeobuf."""
    import fiona
    from fiona.errors import FionaError

    try:
        return tuple(_vector_table(path, layer) for layer in fiona.listlayers(path))
    except (FionaError, OSError, ValueError) as error:
        raise SourceError(
            f"{path}: holds no poses that can be read: neither text, JSON, SQLite nor vector data "
            f"({error})"
        ) from error


def _vector_table(path: Path, layer: str) -> Table:
    import fiona

    with fiona.open(path, layer=layer) as source:
        wkt, columns = source.crs_wkt, tuple(source.schema["properties"])
        rows = []
        for feature in islice(source, _MOST_ROWS):
            shape = feature.geometry
            point = None if shape is None or shape.type != "Point" else _point(shape.coordinates)
            rows.append(Row(values=_folded(dict(feature.properties)), point=point))
    crs = read_crs(wkt) if wkt else None
    return Table(name=layer, columns=columns, rows=tuple(rows), crs=crs)
