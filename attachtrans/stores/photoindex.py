"""An index beside files of photos: a row per photo and feature, as GeoJSON or GeoParquet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError, OutputExistsError
from attachtrans.stores.attributes import Feature, Value
from attachtrans.stores.crs import crs_of
from attachtrans.stores.srs import Srs

if TYPE_CHECKING:
    import geopandas
    import shapely

IndexKind = Literal["geojson", "geoparquet", "none"]

_ENDINGS = {"geojson": ".geojson", "geoparquet": ".parquet"}
_DECIMALS = 8  # of a degree: a millimetre on the ground
_HEAD = '{"type": "FeatureCollection", "generator": "attachtrans '


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One photo on one feature; layer and feature are None for a photo on none.

    own    the index's own columns; paths of files are below its folder, with "/"
    layer  whose coordinate system the feature's geometry is in
    """

    own: Mapping[str, Value]
    layer: str | None
    feature: Feature | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """An index's own columns, and the types of columns where they are known.

    declared  as GeoPackage names types; GeoParquet keeps these. Others follow from the values
    """

    own: tuple[str, ...]
    declared: Mapping[str, str] = field(default_factory=dict)


def index_path(folder: Path, kind: IndexKind, stem: str, own: Sequence[str]) -> Path | None:
    """Where the index goes; None for "none".

    own: columns by which a GeoParquet file is known as one of ours.

    Raises:
        ArgumentError: no such kind, or GeoParquet without the library that writes it.
        OutputExistsError: a file of that name is there that is not an index of ours.
    """
    if kind == "none":
        return None
    if kind not in _ENDINGS:
        raise ArgumentError(f"--index {kind}: choose geojson, geoparquet or none")
    if kind == "geoparquet" and find_spec("pyarrow") is None:
        raise ArgumentError(
            "--index geoparquet needs pyarrow: pip install 'attachtrans[parquet]', or choose "
            "--index geojson"
        )
    path = folder / f"{stem}{_ENDINGS[kind]}"
    if path.exists() and not _is_ours(path, own):
        raise OutputExistsError(
            f"{path} is there and is not an index that attachtrans wrote: choose another folder, "
            "or --index none"
        )
    return path


def _is_ours(path: Path, own: Sequence[str]) -> bool:
    if path.suffix == ".geojson":
        with path.open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD.encode()
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return set(own) <= set(read_schema(path).names)
    except (ArrowException, OSError):
        return False


def render_index(
    kind: IndexKind,
    columns: Columns,
    entries: Sequence[IndexEntry],
    systems: Mapping[str, Srs | None],
) -> tuple[bytes, list[str]]:
    """The content of an index, and what its reader should know.

    systems are the layers' coordinate systems. GeoJSON is in WGS 84, longitude first (RFC 7946);
    GeoParquet (1.0) in the system of the first layer. Attributes of features follow our own
    columns; one with the name of such gets "_" behind it.
    """
    notes: list[str] = []
    crs = CRS.from_epsg(4326) if kind == "geojson" else _first_crs(systems)
    shapes = _shapes(entries, systems, crs, notes)
    if kind == "geojson":
        return _geojson(columns, entries, shapes), notes
    import geopandas

    frame = geopandas.GeoDataFrame(_table(columns, entries), geometry=shapes, crs=crs)
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue(), notes


def _geojson(columns: Columns, entries: Sequence[IndexEntry], shapes: geopandas.GeoSeries) -> bytes:
    import shapely

    turned = shapely.orient_polygons(shapes.to_numpy(), exterior_cw=False)
    names = _names(columns, entries)
    lines = []
    for entry, shape in zip(entries, turned, strict=True):
        geometry = None if shape is None else _rounded(json.loads(shapely.to_geojson(shape)))
        row = _row(columns, entry, names)
        feature = {"type": "Feature", "properties": row, "geometry": geometry}
        lines.append(json.dumps(feature, ensure_ascii=False, allow_nan=False))
    body = ",\n".join(lines)
    return f'{_HEAD}{__version__}", "features": [\n{body}\n]}}\n'.encode()


def _rounded(value: Any) -> Any:
    """Coordinates without the noise of arithmetic."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return value


def _table(columns: Columns, entries: Sequence[IndexEntry]) -> Any:
    """Columns of one type each, as Arrow wants them; a column of several becomes text."""
    import pandas as pd

    names = _names(columns, entries)
    rows = [_row(columns, entry, names) for entry in entries]
    declared = {name: columns.declared.get(name, "") for name in columns.own}
    declared |= {name: columns.declared.get(attribute, "") for attribute, name in names.items()}
    return pd.DataFrame(
        {name: _typed([row[name] for row in rows], kind) for name, kind in declared.items()}
    )


def _typed(values: list[Value], declared: str) -> Any:
    """A column of the type that is declared for it, or of the one that its values have."""
    import pandas as pd
    import pyarrow as pa

    if declared:
        try:
            kind, convert = _ARROW.get(declared.partition("(")[0], ("string", str))
            typed = [None if value is None else convert(value) for value in values]
            arrow = pa.timestamp("ms", "UTC") if kind == "moment" else pa.type_for_alias(kind)
            return pd.Series(typed, dtype=pd.ArrowDtype(arrow))
        except (ValueError, TypeError, OverflowError):
            return _typed(values, "")  # SQLite lets a column hold something else
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="Float64" if float in kinds else "Int64")
    if len(kinds) > 1:
        values = [None if value is None else str(value) for value in values]
    return pd.Series(values, dtype=object)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is no truth value")
    return bool(value)


_ARROW: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "BOOLEAN": ("bool", _truth),
    **dict.fromkeys(("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "INTEGER"), ("int64", _whole)),
    **dict.fromkeys(("FLOAT", "DOUBLE", "REAL"), ("double", float)),
    "DATE": ("date32", date.fromisoformat),
    "DATETIME": ("moment", datetime.fromisoformat),
}
"""GeoPackage type -> Arrow's (moments have no name there), and what makes a value one of it."""


def _names(columns: Columns, entries: Iterable[IndexEntry]) -> dict[str, str]:
    """Attribute -> its column in the index, in the order of the layers."""
    taken = {name.lower() for name in columns.own}
    names: dict[str, str] = {}
    for entry in entries:
        for attribute in entry.feature.attributes if entry.feature else ():
            if attribute in names or (attribute == "fid" and "fid" in taken):  # the same one
                continue
            name = attribute
            while name.lower() in taken or name == "geometry":
                name += "_"
            names[attribute] = name
            taken.add(name.lower())
    return names


def _row(columns: Columns, entry: IndexEntry, names: Mapping[str, str]) -> dict[str, Any]:
    own = {name: entry.own.get(name) for name in columns.own}
    attributes = entry.feature.attributes if entry.feature else {}
    # Infinity has no spelling in JSON.
    return own | {
        name: None if value in (float("inf"), float("-inf")) else value
        for attribute, name in names.items()
        for value in [attributes.get(attribute)]
    }


def _shapes(
    entries: Sequence[IndexEntry],
    systems: Mapping[str, Srs | None],
    crs: CRS | None,
    notes: list[str],
) -> geopandas.GeoSeries:
    """The entries' geometries in one system; None where there is none or it cannot be had."""
    import geopandas
    import numpy as np

    shapes = np.full(len(entries), None, dtype=object)
    for layer, srs in systems.items():
        mine = np.array([entry.layer == layer for entry in entries], dtype=bool)
        binaries = [
            entry.feature.geometry if entry.feature else None
            for entry in entries
            if entry.layer == layer
        ]
        if not any(binaries):
            continue
        own = crs_of(srs)
        if own is None and crs is not None:
            notes.append(
                f"{layer} has no known coordinate system ({srs.label if srs else 'none'}), so its "
                "photos have no geometry in the index"
            )
            continue
        read = [_read(binary) for binary in binaries]
        moved = geopandas.GeoSeries(read, crs=own)
        if own is not None and crs is not None:
            moved = moved.to_crs(crs)
        final = [shape if _is_finite(shape) else None for shape in moved]
        shapes[mine] = final
        if lost := sum(b is not None for b in binaries) - sum(s is not None for s in final):
            notes.append(
                f"{lost} photos of {layer} have no geometry in the index: it is empty, curved, "
                "damaged or outside its coordinate system"
            )
    return geopandas.GeoSeries(list(shapes), crs=crs)


def _read(binary: bytes | None) -> shapely.Geometry | None:
    """Well-known binary as a shape; curves are not known to GEOS."""
    import shapely

    if binary is None:
        return None
    try:
        return shapely.from_wkb(binary)
    except (shapely.errors.GEOSException, NotImplementedError):
        return None


def _is_finite(shape: shapely.Geometry | None) -> bool:
    import numpy as np
    import shapely

    if shape is None or shapely.is_empty(shape):
        return False
    return bool(np.isfinite(shapely.get_coordinates(shape)).all())


def _first_crs(systems: Mapping[str, Srs | None]) -> CRS | None:
    return next((crs for srs in systems.values() if (crs := crs_of(srs)) is not None), None)
