"""WMTS 1.0.0: capabilities as a pyramid, tiles by KVP or by template (OGC 07-057r7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding, same_crs
from attachtrans.stores.services.address import with_parameters
from attachtrans.stores.services.base import Address
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.ogc import (
    capabilities,
    choose,
    choose_format,
    crs_of,
    northing_first,
)
from attachtrans.stores.services.pyramid import Pyramid, TileMatrix, TileRange, cell_of_scale
from attachtrans.stores.services.tiles import TileService, UrlOf
from attachtrans.types import Size

_REQUEST = (("SERVICE", "WMTS"), ("REQUEST", "GetCapabilities"), ("VERSION", "1.0.0"))


def wmts_service(address: Address, asked: Gridding, client: Client) -> TileService:
    """The layer of a service, in the tile matrix set that fits best.

    Raises:
        ArgumentError: no such layer, style or tile matrix set, or several and none is named.
        SourceError: no capabilities, or none that can be used.
    """
    url = address.url
    if not urlsplit(url).path.lower().endswith(".xml"):
        url = with_parameters(url, _REQUEST)
    name = client.show(address.url)
    document = capabilities(client, url, lambda data: _parsed(address.url, data))
    layer = document.contents[choose(address.layer, document.contents, "layer", name)]
    where = f"{name}, layer {layer.id},"
    link, crs = _matrix_set(address.options, layer, document.tilematrixsets, asked, where)
    matrices = _matrices(document.tilematrixsets[link], layer.tilematrixsetlinks[link], crs)
    if not matrices:
        raise SourceError(f"{where} has no tiles in {link}")
    return TileService(
        address=address,
        name=name,
        pyramid=Pyramid(crs=crs, matrices=matrices, bounds=_bounds(matrices)),
        url_of=_url_of(address, document, layer, link, where),
        tags={},
    )


def _parsed(url: str, data: bytes) -> Any:
    from owslib.wmts import WebMapTileService

    return WebMapTileService(url, xml=data)


def _matrix_set(
    options: Mapping[str, str], layer: Any, sets: Mapping[str, Any], asked: Gridding, where: str
) -> tuple[str, CRS]:
    """(name, coordinate system): as named; else in the output's system, Web Mercator, any."""
    offered = {link: crs_of(sets[link].crs) for link in layer.tilematrixsetlinks if link in sets}
    usable = {link: crs for link, crs in offered.items() if crs is not None}
    wanted = options.get("tilematrixset")
    if wanted is not None or not usable:
        link = choose(wanted, usable, "tile matrix set", where)
        return link, usable[link]
    preferred = [crs for crs in (asked.crs, CRS.from_epsg(3857)) if crs is not None]
    for crs in preferred:
        for link, own in usable.items():
            if same_crs(own, crs):
                return link, own
    return next(iter(usable.items()))


def _matrices(matrix_set: Any, link: Any, crs: CRS) -> tuple[TileMatrix, ...]:
    found = []
    for matrix in matrix_set.tilematrix.values():
        limits = link.tilematrixlimits.get(matrix.identifier)
        if link.tilematrixlimits and limits is None:
            continue
        whole = TileRange(
            first_col=0,
            first_row=0,
            last_col=matrix.matrixwidth - 1,
            last_row=matrix.matrixheight - 1,
        )
        found.append(
            TileMatrix(
                name=matrix.identifier,
                cell=cell_of_scale(matrix.scaledenominator, crs),
                origin=_origin(matrix.topleftcorner, matrix_set.crs, crs),
                tile=Size(matrix.tilewidth, matrix.tileheight),
                limits=whole if limits is None else _limited(whole, limits),
            )
        )
    return tuple(found)


def _limited(whole: TileRange, limits: Any) -> TileRange:
    return TileRange(
        first_col=max(whole.first_col, limits.mintilecol),
        first_row=max(whole.first_row, limits.mintilerow),
        last_col=min(whole.last_col, limits.maxtilecol),
        last_row=min(whole.last_row, limits.maxtilerow),
    )


def _origin(corner: tuple[float, float], written: str, crs: CRS) -> tuple[float, float]:
    """(x, y): an URN or address has the authority's order of axes, a short name has x first."""
    first, second = corner
    formal = written.strip().lower().startswith(("urn:", "http"))
    if not (formal and northing_first(crs)):
        return first, second
    if crs.is_geographic and abs(first) > 90.0:  # a server that wrote longitude first all the same
        return first, second
    return second, first


def _bounds(matrices: tuple[TileMatrix, ...]) -> tuple[float, float, float, float]:
    boxes = []
    for matrix in matrices:
        wide, high = matrix.cell * matrix.tile.width, matrix.cell * matrix.tile.height
        limits, (left, top) = matrix.limits, matrix.origin
        boxes.append(
            (
                left + limits.first_col * wide,
                top - (limits.last_row + 1) * high,
                left + (limits.last_col + 1) * wide,
                top - limits.first_row * high,
            )
        )
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _url_of(address: Address, document: Any, layer: Any, link: str, where: str) -> UrlOf:
    default = next((name for name, one in layer.styles.items() if one["isDefault"]), None)
    wanted = address.options.get("style")
    style = wanted if wanted is not None else default or next(iter(layer.styles), "default")
    if wanted is not None and layer.styles:
        choose(wanted, layer.styles, "style", where)
    fixed = {name: str(one["default"]) for name, one in layer.dimensions.items()}
    templates = {
        one["format"]: one["template"]
        for one in layer.resourceURLs
        if one["resourceType"] == "tile"
    }
    if templates:
        template = templates[choose_format(address.options, templates, where)]
        values = {**fixed, "Style": style, "TileMatrixSet": link}

        def by_template(matrix: TileMatrix, col: int, row: int) -> str:
            return _filled(
                template,
                {**values, "TileMatrix": matrix.name, "TileRow": row, "TileCol": col},
                where,
            )

        return by_template
    base = _get_tile(document) or address.url
    parameters = {
        **fixed,
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": layer.id,
        "STYLE": style,
        "FORMAT": choose_format(address.options, layer.formats, where),
        "TILEMATRIXSET": link,
    }

    def by_parameters(matrix: TileMatrix, col: int, row: int) -> str:
        place = {"TILEMATRIX": matrix.name, "TILEROW": str(row), "TILECOL": str(col)}
        return with_parameters(base, {**parameters, **place}.items())

    return by_parameters


def _filled(template: str, values: Mapping[str, object], where: str) -> str:
    known = {name.lower(): str(value) for name, value in values.items()}

    def value(found: re.Match[str]) -> str:
        name = found[1].lower()
        if name not in known:
            raise ArgumentError(f"{where} wants {found[0]} in its addresses and says no default")
        return quote(known[name], safe=":,")

    return re.sub(r"\{(\w+)\}", value, template)


def _get_tile(document: Any) -> str | None:
    """Where tiles are asked for by KVP."""
    for operation in document.operations:
        if operation.name == "GetTile":
            for method in operation.methods:
                if method.get("type", "").lower() == "get":
                    return str(method["url"])
    return None
