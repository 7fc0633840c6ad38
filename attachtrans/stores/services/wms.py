"""WMS 1.1.1 and 1.3.0 (OGC 01-068r3, 06-042): windows in any system that the layer offers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.gridding import Bounds, Gridding, moved_bounds
from attachtrans.stores.services.address import with_parameters
from attachtrans.stores.services.base import Address
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.exports import ExportService
from attachtrans.stores.services.ogc import (
    authority_of,
    capabilities,
    choose,
    choose_format,
    crs_of,
    northing_first,
)
from attachtrans.types import Size

_NEWEST = "1.3.0"
_OLD = "1.1.1"
_BIGGEST = re.compile(rb"<(?:\w+:)?Max(Width|Height)>\s*(\d+)\s*<")
_UNSAID = 1024
# Names that mean the same, the better one first.
_SAME = {
    "EPSG:3857": ("EPSG:900913", "EPSG:102100", "EPSG:3785"),
    "EPSG:4326": ("CRS:84", "OGC:CRS84"),
    "OGC:CRS84": ("CRS:84", "EPSG:4326"),
}
_USUAL = ("EPSG:3857", "EPSG:4326")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What a server offers of some layers.

    systems  {name as EPSG writes it: as the server writes it}
    base     where maps are asked for
    """

    version: str
    layers: str
    systems: dict[str, str]
    format: str
    base: str
    biggest: Size
    boxes: tuple[Bounds, ...] = ()


def wms_service(address: Address, asked: Gridding, client: Client) -> ExportService:
    """Some layers of a service.

    Raises:
        ArgumentError: no such layer, or several and none is named.
        SourceError: no capabilities, or none that can be used.
    """
    options = address.options
    name = client.show(address.url)
    offer = _complete(address) or _offered(address, client, name)
    crs = _chosen(offer.systems, (options.get("crs"), asked.crs), f"{name}, {offer.layers},")
    parameters = {
        "SERVICE": "WMS",
        "VERSION": offer.version,
        "REQUEST": "GetMap",
        "LAYERS": offer.layers,
        "STYLES": options.get("styles", ""),
        "FORMAT": offer.format,
        "TRANSPARENT": options.get("transparent", "TRUE").upper(),
        "EXCEPTIONS": "XML" if offer.version == _NEWEST else "application/vnd.ogc.se_xml",
    }

    def url_of(box: Bounds, size: Size, system: CRS) -> str:
        place = _placed(box, size, _name_of(system, offer.systems) or "", offer.version)
        return with_parameters(offer.base, {**parameters, **place}.items())

    return ExportService(
        address=address,
        name=name,
        crs=crs,
        url_of=url_of,
        draws=lambda grid: _name_of(grid.crs, offer.systems) is not None,
        bounds=_bounds(offer.boxes, crs),
        biggest=offer.biggest,
    )


def _complete(address: Address) -> _Offer | None:
    """An address that says all that a request takes, as GDAL's do: nothing has to be asked."""
    said = address.options
    if address.layer is None or not {"version", "crs", "format"} <= set(said):
        return None
    return _Offer(
        version=said["version"] if said["version"] == _NEWEST else _OLD,
        layers=address.layer,
        systems={said["crs"].upper(): said["crs"]},
        format=said["format"],
        base=address.url,
        biggest=Size(_UNSAID, _UNSAID),
    )


def _offered(address: Address, client: Client, name: str) -> _Offer:
    version = address.options.get("version", _NEWEST)
    request = {"SERVICE": "WMS", "REQUEST": "GetCapabilities", "VERSION": version}
    document, version, biggest = capabilities(
        client,
        with_parameters(address.url, request.items()),
        lambda data: _parsed(address.url, data),
    )
    names = _layers(address.layer, document, name)
    layers = [document.contents[one] for one in names]
    where = f"{name}, layer {','.join(names)},"
    get_map = next((one for one in document.operations if one.name == "GetMap"), None)
    boxes = tuple(layer.boundingBoxWGS84 for layer in layers if layer.boundingBoxWGS84)
    return _Offer(
        version=version,
        layers=",".join(names),
        systems=_systems(layers, where),
        format=choose_format(address.options, getattr(get_map, "formatOptions", ()), where),
        base=_base(address.url, get_map),
        biggest=biggest,
        boxes=boxes if len(boxes) == len(layers) else (),
    )


def _parsed(url: str, data: bytes) -> tuple[Any, str, Size]:
    from owslib.wms import WebMapService

    version = _OLD if b"<WMT_MS_Capabilities" in data else _NEWEST
    found = {name: int(value) for name, value in _BIGGEST.findall(data)}
    biggest = Size(found.get(b"Width") or _UNSAID, found.get(b"Height") or _UNSAID)
    return WebMapService(url, version=version, xml=data), version, biggest


def _layers(wanted: str | None, document: Any, name: str) -> list[str]:
    if wanted is None:
        drawn = [one.id for one in document.contents.values() if not one.children]
        return [choose(None, drawn or document.contents, "layer (LAYERS=...)", name)]
    return [choose(one, document.contents, "layer", name) for one in wanted.split(",")]


def _systems(layers: list[Any], where: str) -> dict[str, str]:
    """Systems that all of the layers offer: {name as EPSG writes it: as the server writes it}."""
    shared = set.intersection(*(set(layer.crsOptions) for layer in layers))
    if not shared:
        raise ArgumentError(f"{where} offers no coordinate system")
    return {name.strip().upper(): name for name in sorted(shared)}


def _chosen(systems: dict[str, str], wishes: tuple[str | None, CRS | None], where: str) -> CRS:
    """As the address says; the output's; Web Mercator; any."""
    named, output = wishes
    if named is not None:
        wished = crs_of(named)
        if wished is None or _name_of(wished, systems) is None:
            raise ArgumentError(f"{where} does not offer CRS={named}")
        return wished
    if output is not None and _name_of(output, systems) is not None:
        return output
    for name in (*_USUAL, *systems):
        crs = crs_of(name)
        if crs is not None and _name_of(crs, systems) is not None:
            return crs
    raise ArgumentError(f"{where} offers no coordinate system that is known here")


def _name_of(crs: CRS, systems: dict[str, str]) -> str | None:
    """What the server calls a system, None when it does not offer it."""
    authority = authority_of(crs)
    if authority is None:
        return None
    name = ":".join(authority)
    return next((systems[one] for one in (name, *_SAME.get(name, ())) if one in systems), None)


def _placed(box: Bounds, size: Size, name: str, version: str) -> dict[str, str]:
    """Where: 1.3.0 writes a box in the order of the system's axes, 1.1.1 always x first."""
    west, south, east, north = box
    crs = crs_of(name)
    turned = version == _NEWEST and crs is not None and northing_first(crs)
    numbers = (south, west, north, east) if turned else (west, south, east, north)
    return {
        "CRS" if version == _NEWEST else "SRS": name,
        "BBOX": ",".join(map(repr, numbers)),
        "WIDTH": str(size.width),
        "HEIGHT": str(size.height),
    }


def _base(url: str, get_map: Any) -> str:
    """Where maps are asked for: as the server says, if that is the same host.

    Behind a proxy servers often name themselves as nobody can reach them.
    """
    given = urlsplit(url)
    for method in getattr(get_map, "methods", ()):
        said = str(method.get("url") or "")
        if method.get("type", "").lower() == "get" and urlsplit(said)[:2] == given[:2]:
            return with_parameters(said, parse_qsl(given.query, keep_blank_values=True))
    return url


def _bounds(boxes: tuple[Bounds, ...], crs: CRS) -> Bounds | None:
    """Of boxes in longitude and latitude, None where there are none or they do not fit in."""
    if not boxes:
        return None
    wests, souths, easts, norths = zip(*boxes, strict=True)
    box = min(wests), min(souths), max(easts), max(norths)
    try:
        return moved_bounds(box, CRS.from_user_input("OGC:CRS84"), crs)
    except GeorefError:
        return None
