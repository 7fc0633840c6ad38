"""What a source is, by its name and its first bytes: a service, rasters, a folder, features."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.filenames import safe_stem
from attachtrans.stores.geopackage import read_schema, reading, same
from attachtrans.stores.layers import LayerKind, read_layer
from attachtrans.stores.layers import recognise as is_layer_file
from attachtrans.stores.mosaics import MosaicChoice
from attachtrans.stores.mosaics import recognise as collection_kind
from attachtrans.stores.services import recognise as service_address
from attachtrans.tool.sources import is_feature_class, is_geopackage

_GDAL_NAME = re.compile(r"/vsi[a-z0-9]+/|[a-z][a-z0-9_]+:(?![\\/]{1,2}[^\\/]*$)", re.IGNORECASE)
"""Of a part of a file, or a file in an archive: NETCDF:"a.nc":t, /vsizip/a.zip/a.tif."""


class SourceKind(StrEnum):
    """NAMED: what GDAL opens by a name that is no path. COLLECTION: a mosaic, of several rasters.

    TILES: a GeoPackage that holds nothing else, or of which these are named. FILE: a raster or a
    photo, or nothing at all.
    """

    SERVICE = "a service"
    NAMED = "a raster"
    TILES = "a raster of a GeoPackage"
    COLLECTION = "a mosaic of rasters"
    FOLDER = "a folder"
    FEATURES = "a feature class"
    FILE = "a file"


def kind_of(source: str, choice: MosaicChoice) -> SourceKind:
    """What a source is; choice says of which layer, and whether a folder is one mosaic."""
    if service_address(source) is not None:
        return SourceKind.SERVICE
    path = Path(source)
    if is_named(source):
        return SourceKind.NAMED
    if collection_kind(path, choice) is not None:
        return SourceKind.COLLECTION
    if is_geopackage(path) and _means_tiles(path, choice.layer):
        return SourceKind.TILES
    if is_feature_class(path):
        return SourceKind.FEATURES
    return SourceKind.FOLDER if path.is_dir() else SourceKind.FILE


def is_named(source: str) -> bool:
    """Whether GDAL alone knows what is meant: it is no path."""
    return _GDAL_NAME.match(source) is not None and not Path(source).exists()


def path_to_call_by(source: str) -> Path:
    """A source's path; of what has none, as good a file name as there is."""
    if not is_named(source):
        return Path(source)
    last = source.rpartition("/")[2]
    in_archive = source.lower().startswith("/vsi")
    return Path(last if in_archive else safe_stem(last).replace(".", "_"))


def kind_behind(source: str, layer: str | None) -> tuple[SourceKind, str]:
    """What a source is, or what a layer file leads to, and the name of that.

    Raises:
        ArgumentError, SourceError: see `read_layer`.
    """
    if is_layer_file(source):
        found = read_layer(source)
        if found.kind is LayerKind.SERVICE:
            return SourceKind.SERVICE, found.source
        source, layer = found.source, layer or found.sublayer
    return kind_of(source, MosaicChoice(layer=layer)), source


def name_of_tiles(path: Path, layer: str | None) -> str:
    """How GDAL names the raster of a GeoPackage.

    Raises:
        ArgumentError: there are several and none is named, or none of that name.
        SourceError: it cannot be read.
    """
    tables, _ = _tables(path)
    found = [name for name in tables if layer is None or same(name, layer)]
    if len(found) == 1:
        return f"GPKG:{path}:{found[0]}"
    has = f"{path} holds {len(tables)} rasters: {', '.join(tables)}"
    raise ArgumentError(f"{has}; name one with --layer")


def _means_tiles(path: Path, layer: str | None) -> bool:
    try:
        tiles, others = _tables(path)
    except SourceError:  # the reader of photos says what is wrong with it
        return False
    if layer is None:
        return bool(tiles) and not others
    return any(same(name, layer) for name in tiles)


def _tables(path: Path) -> tuple[list[str], list[str]]:
    """The rasters of a GeoPackage, and what else it holds."""
    with reading(path) as connection:
        tables = read_schema(connection, path).tables
    tiles = [table.name for table in tables if table.is_tiles]
    return tiles, [table.name for table in tables if not table.is_tiles]
