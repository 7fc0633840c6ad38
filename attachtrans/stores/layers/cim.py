"""Layers of ArcGIS Pro: layer files (.lyrx), maps (.mapx) and projects (.aprx).

Format: Esri's public description of the Cartographic Information Model (github.com/Esri/cim-spec,
docs/v3): CIMLayerDocument and CIMMapDocument with layerDefinitions; a project is a zip archive
with a file per layer. Indexes of bands begin with 0. Relative workspaces are relative to the layer
file, or to the project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attachtrans.stores.layers.base import (
    Entry,
    LayerKind,
    LayerSource,
    UnreadableLayerError,
    given,
    resolved,
)

Definition = Mapping[str, Any]

_EXPORT = "in ArcGIS Pro, Data > Export writes it to a GeoPackage or a shapefile"
_MOSAIC = (
    "it is a mosaic dataset, which only ArcGIS reads; export its footprints with the paths of the "
    "rasters (Export Mosaic Dataset Paths), or the rasters, and name these"
)
_NO_DATA = frozenset(
    {"CIMGroupLayer", "CIMImageMosaicSubLayer", "CIMFeatureMosaicSubLayer", "CIMMap"}
)
_WORKSPACE = re.compile(r"(?:^|;)\s*DATABASE=(?P<path>[^;]*)", re.IGNORECASE)
_BAND = re.compile(r"band_?(?P<number>\d+)", re.IGNORECASE)
_OWNER = re.compile(r"main\.", re.IGNORECASE)
_SOAP = re.compile(r"(?<!/rest)/services/", re.IGNORECASE)
_COLOURS = ("red", "green", "blue")


def layers_of(definitions: Iterable[object], folder: Path) -> Iterator[Entry]:
    """The layers among these definitions, groups dissolved; folder: of the layer file."""
    for one in definitions:
        if not isinstance(one, dict) or one.get("type") in _NO_DATA:
            continue
        name = str(one.get("name") or one.get("uRI") or "")
        try:
            yield Entry(name, _read(one, name, folder))
        except UnreadableLayerError as error:
            yield Entry(name, None, str(error))


def _read(layer: Definition, name: str, folder: Path) -> LayerSource:
    kind = str(layer.get("type"))
    if kind == "CIMMosaicLayer":
        raise UnreadableLayerError(_MOSAIC)
    table = _object(layer, "featureTable")
    connection = _object(layer, "serviceConnection") or _object(layer, "dataConnection")
    if table:
        found = _connected(_object(table, "dataConnection"), LayerKind.FEATURES, folder)
        where = str(table.get("definitionExpression") or "").strip() or None
        return replace(found, name=name, where=where)
    if not connection:
        raise UnreadableLayerError(f"it is a {kind}, which is neither raster nor features")
    found = _connected(connection, LayerKind.RASTER, folder)
    if found.kind is LayerKind.SERVICE or found.bands:
        return replace(found, name=name)
    return replace(found, name=name, bands=_bands(_object(layer, "colorizer")))


def _object(parent: Definition, key: str) -> Definition:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _connected(connection: Definition, kind: LayerKind, folder: Path) -> LayerSource:
    """What a data connection leads to; the layer's name is still to be set."""
    type_name = str(connection.get("type"))
    read = _CONNECTIONS.get(type_name)
    if read is None:
        known = {
            "CIMRelQueryTableDataConnection": "it is joined to another table",
            "CIMSqlQueryDataConnection": "it is a query on a database",
            "CIMXYEventDataConnection": "it is made of a table with coordinates",
            "CIMVectorTileDataConnection": "it is a layer of vector tiles",
        }
        why = known.get(type_name, f"its data connection is a {type_name}")
        raise UnreadableLayerError(f"{why}; {_EXPORT}")
    return read(connection, kind, folder)


def _standard(connection: Definition, kind: LayerKind, folder: Path) -> LayerSource:
    found = _WORKSPACE.search(str(connection.get("workspaceConnectionString") or ""))
    dataset = str(connection.get("dataset") or "")
    factory = str(connection.get("workspaceFactory") or "")
    if connection.get("datasetType") == "esriDTMosaicDataset":
        raise UnreadableLayerError(_MOSAIC)
    if dataset.startswith("<"):
        raise UnreadableLayerError(
            "it shows what raster functions make of its data; in ArcGIS Pro, Export Raster writes "
            "that to a file"
        )
    place = _FACTORIES.get(factory.lower())
    if found is None or place is None or not dataset:
        raise UnreadableLayerError(f"it lies in a workspace of type {factory or '?'}; {_EXPORT}")
    source, sublayer = place(resolved(found["path"].strip() or ".", folder), dataset, kind)
    return LayerSource(kind=kind, name="", source=source, sublayer=sublayer)


def _band(connection: Definition, kind: LayerKind, folder: Path) -> LayerSource:
    """One band of a raster, by its name."""
    source = _standard(connection, kind, folder)
    found = _BAND.fullmatch(str(connection.get("rasterBandName") or ""))
    return source if found is None else replace(source, bands=(int(found["number"]),))


def _in_geodatabase(workspace: str, dataset: str, kind: LayerKind) -> tuple[str, str | None]:
    if kind is LayerKind.RASTER:
        return f'OpenFileGDB:"{workspace}":{dataset}', None
    return workspace, dataset


def _in_sqlite(workspace: str, dataset: str, kind: LayerKind) -> tuple[str, str | None]:
    table = _OWNER.sub("", dataset, count=1) if _OWNER.match(dataset) else dataset
    if kind is LayerKind.RASTER:
        return f"GPKG:{workspace}:{table}", None
    return workspace, table


def _in_folder(workspace: str, dataset: str, _kind: LayerKind) -> tuple[str, str | None]:
    """A file of the folder; some writers name the file as the workspace already."""
    whole = workspace.rsplit("/", 1)[-1].lower() == dataset.lower()
    return (workspace if whole else f"{workspace}/{dataset}"), None


def _shapefile(workspace: str, dataset: str, kind: LayerKind) -> tuple[str, str | None]:
    ending = "" if dataset.lower().endswith((".shp", ".dbf")) else ".shp"
    return _in_folder(workspace, dataset + ending, kind)


def _arcgis(connection: Definition, _kind: LayerKind, _folder: Path) -> LayerSource:
    url = _address(connection)
    words = {"/imageserver": "arcgis-image", "/mapserver": "arcgis-map"}
    found = [word for ending, word in words.items() if url.lower().endswith(ending)]
    if not found:
        raise UnreadableLayerError(
            f"it is an ArcGIS service of type {connection.get('objectType') or '?'} ({url}); "
            f"image and map services are read. {_EXPORT}"
        )
    return _service(_SOAP.sub("/rest/services/", url, count=1), found[0])


def _wms(connection: Definition, _kind: LayerKind, _folder: Path) -> LayerSource:
    options = given(("version", _text(connection, "version")))
    return _service(_server(connection), "wms", _text(connection, "layerName"), options)


def _wmts(connection: Definition, _kind: LayerKind, _folder: Path) -> LayerSource:
    options = given(
        ("tilematrixset", _text(connection, "tileMatrixSet")),
        ("style", _text(connection, "style")),
        ("format", _text(connection, "imageFormat")),
    )
    return _service(_server(connection), "wmts", _text(connection, "layerName"), options)


def _service(
    url: str, service: str, layer: str | None = None, options: tuple[tuple[str, str], ...] = ()
) -> LayerSource:
    return LayerSource(
        kind=LayerKind.SERVICE,
        name="",
        source=url,
        sublayer=layer,
        service=service,
        options=options,
    )


def _text(connection: Definition, key: str) -> str | None:
    value = connection.get(key)
    return value if isinstance(value, str) and value else None


def _address(connection: Definition) -> str:
    return str(connection.get("url") or connection.get("URL") or "").rstrip("/")


def _server(connection: Definition) -> str:
    """The address of an OGC service, which stands in its server connection."""
    url = _address(_object(connection, "serverConnection")) or _address(connection)
    if not url:
        raise UnreadableLayerError("it names no address of a service")
    return url


def _bands(colorizer: Definition) -> tuple[int, ...] | None:
    """What is drawn: three bands as red, green and blue, or the one that is stretched."""
    if colorizer.get("type") == "CIMRasterStretchColorizer":
        return (_index(colorizer, "bandIndex", 0) + 1,)
    if colorizer.get("type") != "CIMRasterRGBColorizer":
        return None
    shown = [
        _index(colorizer, f"{colour}BandIndex", place) + 1
        for place, colour in enumerate(_COLOURS)
        if colorizer.get(f"use{colour.capitalize()}Band", True)
    ]
    return tuple(shown) or None


def _index(colorizer: Definition, key: str, usual: int) -> int:
    value = colorizer.get(key, usual)
    return value if isinstance(value, int) and value >= 0 else usual


_CONNECTIONS: dict[str, Callable[[Definition, LayerKind, Path], LayerSource]] = {
    "CIMStandardDataConnection": _standard,
    "CIMFeatureDatasetDataConnection": _standard,
    "CIMRasterBandDataConnection": _band,
    "CIMAGSServiceConnection": _arcgis,
    "CIMWMSServiceConnection": _wms,
    "CIMWMTSServiceConnection": _wmts,
}
_FACTORIES: dict[str, Callable[[str, str, LayerKind], tuple[str, str | None]]] = {
    "filegdb": _in_geodatabase,
    "raster": _in_folder,
    "shapefile": _shapefile,
    "sqllite": _in_sqlite,
    "sqlite": _in_sqlite,
}
