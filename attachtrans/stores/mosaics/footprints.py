"""Footprints with a path column: GDAL's tile indexes (GTI), and any vector file like them.

Read by pyogrio, whatever the format is; the wheel of rasterio has no driver for FlatGeobuf.
Source: https://gdal.org/en/stable/drivers/raster/gti.html (layer metadata and the .gti XML).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, LayoutError, SourceError
from attachtrans.geo.frame import read_crs
from attachtrans.stores.measured import measures_aside
from attachtrans.stores.mosaics.base import Bounds, Contents, Entry, MosaicChoice
from attachtrans.stores.mosaics.listing import is_network
from attachtrans.stores.resolve import is_remote

ENDINGS = frozenset({".gpkg", ".shp", ".geojson", ".json", ".fgb"})
RASTER = re.compile(
    r"\.(tiff?|vrt|img|jp2|j2k|bil|asc|dem|ntf|nitf|ecw|sid|mrf|hgt|dt[012]|ers|pix|nc)[\"']?$",
    re.IGNORECASE,
)
"""Endings that maps have, and photos as a rule do not."""

_PATHS = ("location", "path", "filepath", "filename", "file", "href", "uri", "raster", "source")
_DATES = ("datetime", "date", "acquired", "acquisition", "acqdate", "timestamp", "capturedate")
_LOCATION = "location"
_SAMPLE = 100
_MOST_XML = 16 << 20
_DATE_TYPES = frozenset({"OFTDate", "OFTDateTime"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer of polygons: its fields, and OGR's types of them."""

    path: Path
    name: str
    types: Mapping[str, str]
    crs: str | None
    metadata: Mapping[str, str]


def path_column_of(path: Path) -> str | None:
    """The column of a vector file that names rasters, None where none does; for recognising.

    Paths of photos (.jpg, .png) do not count: footprints of photos are features, no mosaic.
    """
    try:
        layers = list(_layers(path, None))
    except SourceError:
        return None
    return next((found for layer in layers if (found := _path_column(layer)) is not None), None)


def read_footprints(path: Path, choice: MosaicChoice) -> Contents:
    """The rasters that a vector file names in a column.

    Raises:
        ArgumentError: there is no such layer or column, or `where` is not SQL.
        SourceError (LayoutError): it cannot be read, or no column holds paths of rasters.
    """
    layers = list(_layers(path, choice.layer))
    named = [layer for layer in layers if choice.path_column or _path_column(layer)]
    if choice.path_column is not None:
        folded = choice.path_column.casefold()
        named = [layer for layer in layers if folded in map(str.casefold, layer.types)]
        if not named:
            columns = ", ".join(sorted({name for layer in layers for name in layer.types}))
            raise ArgumentError(
                f"--path-column {choice.path_column}: {path} has no such column; it has {columns}"
            )
    if not named:
        raise LayoutError(
            f"{path}: no column of its polygons holds paths of rasters; name it with --path-column"
        )
    if len(named) > 1:
        names = ", ".join(layer.name for layer in named)
        raise ArgumentError(f"{path}: several layers name rasters ({names}); choose with --layer")
    column = choice.path_column or _path_column(named[0]) or _LOCATION
    return _read(named[0], column, choice, {})


def read_gti(path: Path, choice: MosaicChoice) -> Contents:
    """The rasters of a GDAL tile index, and what it says of the mosaic's grid.

    Raises:
        ArgumentError, SourceError: see `read_footprints`.
    """
    settings: dict[str, str] = {}
    index = path
    if path.suffix.lower() == ".gti":
        settings = _read_xml(path)
        text = settings.get("INDEXDATASET", "")
        if is_network(text) or is_remote(text):
            raise SourceError(f"{path}: its index {text} is not on this machine: download it")
        index = Path(os.path.normpath(path.parent / text))
        if not text or not index.is_file():
            raise SourceError(f"{path}: its index {index} is not there")
    wanted = choice.layer or settings.get("INDEXLAYER")
    layers = list(_layers(index, wanted))
    for layer in layers:
        own = {_key(name): value for name, value in layer.metadata.items()} | settings
        column = choice.path_column or own.get("LOCATIONFIELD", _LOCATION)
        if column.casefold() in map(str.casefold, layer.types):
            return _read(layer, column, choice, _with_extent(own))
    raise LayoutError(
        f"{path}: is no tile index: none of its layers has a column {_LOCATION}; name the column "
        "of paths with --path-column"
    )


def _key(name: str) -> str:
    """BAND_COUNT of layers' metadata and BandCount of the XML as one word."""
    return name.replace("_", "").upper()


def _with_extent(settings: Mapping[str, str]) -> Mapping[str, str]:
    """A geotransform and a size, the other way to say cell size and extent, as the first one."""
    try:
        left, width, row, top, column, height = map(float, settings["GEOTRANSFORM"].split(","))
        columns, rows = int(settings["XSIZE"]), int(settings["YSIZE"])
    except (KeyError, ValueError):
        return settings
    if row or column:
        raise ArgumentError("a tile index with a rotated grid is not read: warp its rasters first")
    words = {
        "RESX": width,
        "RESY": -height,
        "MINX": left,
        "MINY": top + rows * height,
        "MAXX": left + columns * width,
        "MAXY": top,
    }
    return {**settings, **{name: repr(value) for name, value in words.items()}}


def _read_xml(path: Path) -> dict[str, str]:
    """The elements of a .gti file; what is said band by band as in the metadata of layers."""
    try:
        if path.stat().st_size > _MOST_XML:
            raise SourceError(f"{path}: has more than {_MOST_XML >> 20} MB, no tile index has")
        root = ET.fromstring(path.read_bytes())  # noqa: S314 - expat bounds what entities become
    except (ET.ParseError, OSError) as error:
        raise SourceError(f"{path}: cannot be read as a tile index: {error}") from error
    if root.tag != "GDALTileIndexDataset":
        raise SourceError(f"{path}: is no tile index: its XML begins with <{root.tag}>")
    found = {_key(child.tag): (child.text or "").strip() for child in root if len(child) == 0}
    bands = root.findall("Band")
    if bands:
        found["BANDCOUNT"] = str(len(bands))
        if (kind := bands[0].get("dataType")) is not None:
            found["DATATYPE"] = kind
        for tag, name in (("NoDataValue", "NODATA"), ("ColorInterp", "COLORINTERPRETATION")):
            words = [(band.findtext(tag) or "").strip() for band in bands]
            if all(words):
                found[name] = ",".join(words)
    return found


def _layers(path: Path, wanted: str | None) -> Iterator[_Layer]:
    """The layers of polygons of a file, or the one that is wanted."""
    import pyogrio

    try:
        with measures_aside():
            listed = pyogrio.list_layers(path).tolist()
        names = [str(name) for name, shape in listed if shape and "Polygon" in shape]
        # A GeoJSON's layer is of no one type until all of it was read.
        names = names or [str(name) for name, shape in listed if shape in ("Unknown", None)]
        if wanted is not None:
            every = [str(name) for name, _ in listed]
            if wanted not in every:
                raise ArgumentError(f"{path}: has no layer {wanted}; it has {', '.join(every)}")
            names = [wanted]
        for name in names:
            with measures_aside():
                info = pyogrio.read_info(path, layer=name)
            yield _Layer(
                path=path,
                name=name,
                types=dict(zip(info["fields"].tolist(), info["ogr_types"], strict=True)),
                crs=info["crs"],
                metadata=info["layer_metadata"] or {},
            )
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise SourceError(f"{path}: cannot be read as footprints: {error}") from error


def _path_column(layer: _Layer) -> str | None:
    """By its name, then the first whose values are; most of the first rows end like rasters."""
    texts = [name for name, kind in layer.types.items() if kind == "OFTString"]
    folded = {name: re.sub(r"[^a-z]", "", name.casefold()) for name in texts}
    by_name = [name for known in _PATHS for name in texts if folded[name] == known]
    if not texts:
        return None
    columns = _columns(layer, texts, _SAMPLE, None)
    for name in dict.fromkeys((*by_name, *texts)):
        values = [str(value) for value in columns[name] if value]
        if values and 2 * sum(RASTER.search(value) is not None for value in values) > len(values):
            return name
    return None


def _columns(
    layer: _Layer, names: Sequence[str], most: int | None, where: str | None
) -> dict[str, Any]:
    """Columns by name, and "" for well-known binary, None without geometry."""
    import pyogrio.raw

    with measures_aside():
        meta, _, shapes, data = pyogrio.raw.read(
            layer.path,
            layer=layer.name,
            columns=list(names),
            max_features=most,
            where=where,
            read_geometry=most is None,
            datetime_as_string=True,
        )
    return dict(zip(meta["fields"].tolist(), data, strict=True)) | {"": shapes}


def _read(
    layer: _Layer, column: str, choice: MosaicChoice, settings: Mapping[str, str]
) -> Contents:
    named = {name.casefold(): name for name in layer.types}
    paths = named[column.casefold()]
    sort = named.get(settings.get("SORTFIELD", "").casefold())
    dates = _date_column(layer, choice)
    where = " AND ".join(f"({one})" for one in (settings.get("FILTER"), choice.where) if one)
    columns = list(dict.fromkeys(name for name in (paths, dates, sort) if name is not None))
    try:
        data = _columns(layer, columns, None, where or None)
    except (OSError, RuntimeError, ValueError) as error:
        if where:
            raise ArgumentError(f"--where {where}: is no SQL for {layer.path}: {error}") from error
        raise SourceError(f"{layer.path}: cannot be read: {error}") from error
    rows = [row for row, value in enumerate(data[paths]) if value]
    if sort is not None:
        falling = settings.get("SORTFIELDASC", "YES").upper() in {"NO", "FALSE", "0"}
        keys = data[sort]
        rows.sort(key=lambda row: (keys[row] is not None, keys[row] or 0), reverse=falling)
    if data[""] is None:  # a table without geometry
        bounds = np.full((len(data[paths]), 4), np.nan)
    else:
        bounds = shapely.bounds(shapely.from_wkb(data[""], on_invalid="ignore"))
    found = [
        Entry(
            text=str(data[paths][row]),
            bounds=cast("Bounds", tuple(bounds[row].tolist())),
            date=None if dates is None else read_date(data[dates][row]),
        )
        for row in rows
    ]
    return Contents(
        entries=found,
        crs=_crs(settings.get("SRS") or layer.crs, layer.path),
        settings=settings,
        ordered=sort is not None,
        notes=() if paths.casefold() == _LOCATION else (f"paths of rasters: column {paths}",),
    )


def _date_column(layer: _Layer, choice: MosaicChoice) -> str | None:
    """The one that is named; by its name; the only one of a date's type.

    Raises:
        ArgumentError: there is no such column.
    """
    if choice.date_column is not None:
        for name in layer.types:
            if name.casefold() == choice.date_column.casefold():
                return name
        columns = ", ".join(layer.types)
        raise ArgumentError(
            f"--date-column {choice.date_column}: {layer.path} has no such column; it has {columns}"
        )
    names = list(layer.types)
    folded = {re.sub(r"[^a-z]", "", name.casefold()): name for name in reversed(names)}
    for known in _DATES:
        if known in folded:
            return folded[known]
    typed = [name for name, kind in layer.types.items() if kind in _DATE_TYPES]
    return typed[0] if len(typed) == 1 else None


def read_date(value: object) -> datetime | None:
    """A moment (UTC where it says nothing) of what a column or an item holds; None for no date.

    ISO 8601, TIFF's own "2024:05:01 12:00:00", OGR's "2024/05/01".
    """
    if isinstance(value, np.datetime64):
        value = None if np.isnat(value) else value.astype("datetime64[us]").item()
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        text = re.sub(r"^(\d{4})[:/](\d\d)[:/](\d\d)", r"\1-\2-\3", value.strip())
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _crs(text: str | None, path: Path) -> CRS | None:
    if not text:
        return None
    try:
        return read_crs(text)
    except CrsError as error:
        raise SourceError(f"{path}: its coordinate system is not known: {error}") from error
