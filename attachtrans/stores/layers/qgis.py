"""Layers of QGIS: layer definitions (.qlr) and projects (.qgs, .qgz).

Format: what QGIS 3 writes. `maplayer` elements with layername, provider and datasource, which each
provider spells its own way: ogr as FILE|layername=..|subset=.. (the subset is last and takes the
rest), gdal as a path or GDAL's own name, wms as a query (type=xyz, tileMatrixSet for WMTS),
arcgismapserver as key='value' pairs. Relative paths are relative to the layer file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

from attachtrans.stores.layers.base import (
    Entry,
    LayerKind,
    LayerSource,
    UnreadableLayerError,
    given,
    resolved,
)

_EXPORT = "in QGIS, Export > Save Features As writes it to a GeoPackage"
_ELSEWHERE = {
    "memory": f"its features are in the memory of QGIS only; {_EXPORT}",
    "postgres": f"it lies in a PostgreSQL database; {_EXPORT}",
    "mssql": f"it lies in a SQL Server database; {_EXPORT}",
    "oracle": f"it lies in an Oracle database; {_EXPORT}",
    "hana": f"it lies in a SAP HANA database; {_EXPORT}",
    "spatialite": f"it lies in a SpatiaLite file; {_EXPORT}",
    "virtual": f"it is a virtual layer, computed by QGIS; {_EXPORT}",
    "delimitedtext": f"it is a table of text; {_EXPORT}",
    "wfs": f"it is a web feature service; {_EXPORT}",
    "oapif": f"it is a web feature service; {_EXPORT}",
    "arcgisfeatureserver": f"it is an ArcGIS feature service; {_EXPORT}",
    "postgresraster": "it lies in a PostgreSQL database; export it to GeoTIFF in QGIS",
    "wcs": "it is a web coverage service; export it to GeoTIFF in QGIS",
}
_ONE_LAYER = (".shp", ".geojson", ".fgb", ".parquet", ".geoparquet")
_BANDS = ("grayBand", "band")
_READY_COLOURS = "singlebandcolordata"
_GDAL_QUOTED = re.compile(r'(?P<driver>[A-Za-z]\w+):"(?P<path>[^"]+)"(?P<rest>.*)', re.DOTALL)
_GDAL_BARE = re.compile(r"(?P<driver>[A-Za-z]\w+):(?P<path>\.{1,2}/[^:]+)(?P<rest>.*)", re.DOTALL)
_GDAL_NAME = re.compile(r"/vsi\w+/|[A-Za-z][\w-]+:")
_SELECT = re.compile(r"\s*select\b", re.IGNORECASE)
_PAIR = re.compile(r"(?P<name>[\w:-]+)='(?P<value>(?:[^'\\]|\\.)*)'")


def layers_of(root: ET.Element, folder: Path) -> Iterator[Entry]:
    """The layers of a project or layer definition in drawing order, groups dissolved.

    folder: of the layer file.
    """
    order = {one.get("id", ""): n for n, one in enumerate(root.iter("layer-tree-layer"))}
    elements = [one for one in root.iter("maplayer") if one.find("datasource") is not None]
    elements.sort(key=lambda one: order.get(one.findtext("id", ""), len(order)))
    for element in elements:
        name = element.findtext("layername", "") or element.findtext("id", "")
        try:
            yield Entry(name, _read(element, name, folder))
        except UnreadableLayerError as error:
            yield Entry(name, None, str(error))


def _read(element: ET.Element, name: str, folder: Path) -> LayerSource:
    provider = element.findtext("provider", "").strip()
    text = element.findtext("datasource", "").strip()
    read = _PROVIDERS.get(provider.lower())
    if read is None:
        why = f"QGIS reads it with its provider {provider!r}, which is not known here"
        raise UnreadableLayerError(_ELSEWHERE.get(provider.lower(), why))
    return read(element, name, text, folder)


def _of_ogr(element: ET.Element, name: str, text: str, folder: Path) -> LayerSource:
    head, _, where = text.partition("|subset=")
    if _SELECT.match(where):
        raise UnreadableLayerError(f"its filter is a whole query ({where.strip()}); {_EXPORT}")
    path, *parts = head.split("|")
    options = {key.lower(): value for key, _, value in (part.partition("=") for part in parts)}
    source = _path(path, folder)
    return LayerSource(
        kind=LayerKind.FEATURES,
        name=name,
        source=source,
        sublayer=_sublayer(source, options),
        where=where.strip() or None,
        crs=_crs(element),
    )


def _sublayer(source: str, options: Mapping[str, str]) -> str | None:
    """The layer of a file that may hold several; old projects know it by its number."""
    number = options.get("layerid")
    if source.lower().endswith(_ONE_LAYER):
        return None
    if "layername" in options or number is None:
        return options.get("layername") or None
    import fiona
    from fiona.errors import FionaError

    try:
        names = fiona.listlayers(source)
        return str(names[int(number)])
    except (FionaError, OSError, ValueError, IndexError) as error:
        raise UnreadableLayerError(f"its layer {number} of {source} is not there") from error


def _of_gdal(element: ET.Element, name: str, text: str, folder: Path) -> LayerSource:
    if text.startswith("<"):
        raise UnreadableLayerError(
            "its source is XML in the layer itself; save that to a .vrt or .xml file"
        )
    head = text.partition("|")[0]
    found = _GDAL_QUOTED.fullmatch(head) or _GDAL_BARE.fullmatch(head)
    if found is None:
        source = _path(head, folder)
    else:
        quote = '"' if found.re is _GDAL_QUOTED else ""
        path = resolved(found["path"], folder)
        source = f"{found['driver']}:{quote}{path}{quote}{found['rest']}"
    return LayerSource(
        kind=LayerKind.RASTER, name=name, source=source, bands=_bands(element), crs=_crs(element)
    )


def _of_wms(element: ET.Element, name: str, text: str, folder: Path) -> LayerSource:
    parts = [part.partition("=") for part in text.split("&")]
    query = [(unquote(key), unquote(value)) for key, _, value in parts]
    first = dict(reversed(query))
    url = first.get("url", "")
    layers = ",".join(value for key, value in query if key == "layers")
    styles = ",".join(value for key, value in query if key == "styles")
    if first.get("type") == "mbtiles":
        return _of_gdal(element, name, url, folder)
    if "url" not in first:
        raise UnreadableLayerError("it names no address of a service")
    if first.get("type") == "xyz":
        return _service(name, url, "xyz", options=_pyramid(first))
    if tiles := first.get("tileMatrixSet"):
        options = given(
            ("tilematrixset", tiles), ("style", styles), ("format", first.get("format"))
        )
        return _service(name, url, "wmts", layers, options)
    styles = styles if styles.strip(",") else ""
    options = given(("crs", first.get("crs")), ("styles", styles), ("format", first.get("format")))
    return _service(name, url, "wms", layers, options)


def _pyramid(first: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Levels of an XYZ layer; tiles of twice the usual resolution are as much larger."""
    large = "512" if first.get("tilePixelRatio") == "2" else None
    return given(("zmin", first.get("zmin")), ("zmax", first.get("zmax")), ("tilesize", large))


def _of_arcgis(_element: ET.Element, name: str, text: str, _folder: Path) -> LayerSource:
    pairs = {found["name"]: found["value"] for found in _PAIR.finditer(text)}
    url = pairs.get("url", "").rstrip("/")
    service = "arcgis-image" if url.lower().endswith("/imageserver") else "arcgis-map"
    if not url:
        raise UnreadableLayerError("it names no address of a service")
    return _service(name, url, service, pairs.get("layer", ""))


def _service(
    name: str,
    url: str,
    service: str,
    layers: str = "",
    options: tuple[tuple[str, str], ...] = (),
) -> LayerSource:
    return LayerSource(
        kind=LayerKind.SERVICE,
        name=name,
        source=url,
        sublayer=layers or None,
        service=service,
        options=options,
    )


def _path(text: str, folder: Path) -> str:
    """A file of a data source; names that are GDAL's own stay as they are."""
    scheme = text.partition(":")[0].lower()
    if scheme in ("localized", "inbuilt", "attachment"):
        raise UnreadableLayerError(
            f"its path {text} is one that only this QGIS can resolve; save the project with "
            "relative or absolute paths (Project > Properties > General)"
        )
    if scheme == "file":
        return resolved(unquote(urlsplit(text).path), folder)
    if _GDAL_NAME.match(text):
        return text
    return resolved(text, folder)


def _bands(element: ET.Element) -> tuple[int, ...] | None:
    """What the renderer shows: three bands as red, green and blue, or one."""
    renderer = element.find(".//rasterrenderer")
    if renderer is None or renderer.get("type") == _READY_COLOURS:
        return None
    if renderer.get("type") == "multibandcolor":
        names: tuple[str, ...] = ("redBand", "greenBand", "blueBand")
    else:
        names = tuple(key for key in _BANDS if renderer.get(key))[:1]
    numbers = [renderer.get(key, "-1") for key in names]
    shown = tuple(int(number) for number in numbers if number.isdecimal() and int(number) > 0)
    return shown or None


def _crs(element: ET.Element) -> str | None:
    """The system that the layer is declared to be in."""
    system = element.find("srs/spatialrefsys")
    if system is None:
        return None
    authority = system.findtext("authid", "")
    if authority and not authority.upper().startswith("USER:"):
        return authority
    return system.findtext("wkt", "") or None


_PROVIDERS: dict[str, Callable[[ET.Element, str, str, Path], LayerSource]] = {
    "ogr": _of_ogr,
    "gdal": _of_gdal,
    "wms": _of_wms,
    "arcgismapserver": _of_arcgis,
}
