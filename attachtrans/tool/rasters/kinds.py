"""What a source is, by its name and its first bytes: a service, rasters, a folder, features."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

from attachtrans.stores.layers import LayerKind, read_layer
from attachtrans.stores.layers import recognise as is_layer_file
from attachtrans.stores.mosaics import MosaicChoice
from attachtrans.stores.mosaics import recognise as collection_kind
from attachtrans.stores.services import recognise as service_address
from attachtrans.tool.sources import is_feature_class

_GDAL_NAME = re.compile(r"/vsi[a-z0-9]+/|[a-z][a-z0-9_]+:(?![\\/]{1,2}[^\\/]*$)", re.IGNORECASE)
"""Of a part of a file, or a file in an archive: NETCDF:"a.nc":t, /vsizip/a.zip/a.tif."""


class SourceKind(StrEnum):
    """NAMED: what GDAL opens by a name that is no path. COLLECTION: a mosaic, of several rasters.

    FILE: a raster or a photo, or nothing at all.
    """

    SERVICE = "a service"
    NAMED = "a raster"
    COLLECTION = "a mosaic of rasters"
    FOLDER = "a folder"
    FEATURES = "a feature class"
    FILE = "a file"


def kind_of(source: str, choice: MosaicChoice) -> SourceKind:
    """What a source is; choice says of which layer, and whether a folder is one mosaic."""
    if service_address(source) is not None:
        return SourceKind.SERVICE
    path = Path(source)
    if _GDAL_NAME.match(source) and not path.exists():
        return SourceKind.NAMED
    if collection_kind(path, choice) is not None:
        return SourceKind.COLLECTION
    if is_feature_class(path):
        return SourceKind.FEATURES
    return SourceKind.FOLDER if path.is_dir() else SourceKind.FILE


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
