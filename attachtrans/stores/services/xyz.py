"""Tiles by a template: {z}, {x}, {y} of OpenStreetMap, {-y} of TMS, {q} of quadkeys."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attachtrans.errors import ArgumentError
from attachtrans.stores.services.address import redact
from attachtrans.stores.services.base import TOKEN_VARIABLE, Access, Address
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.pyramid import FINEST_ZOOM, web_mercator
from attachtrans.stores.services.tiles import TileService
from attachtrans.types import Size

_SWITCH = re.compile(r"\{switch:(?P<hosts>[^}]+)\}")
_SUBDOMAINS = ("a", "b", "c")
_KNOWN = ("{x}", "{y}", "{-y}", "{z}", "{q}", "{r}")


def xyz_service(address: Address, client: Client) -> TileService:
    """The pyramid of a template, always in Web Mercator.

    Raises:
        ArgumentError: something in braces that nobody knows, or zooms that are none.
    """
    options = address.options
    template = _without_token(address.url, client.access)
    unknown = [
        name
        for name in re.findall(r"\{[^}]*\}", template)
        if name not in (*_KNOWN, "{s}") and not _SWITCH.fullmatch(name)
    ]
    if unknown:
        raise ArgumentError(
            f"{client.show(template)}: {', '.join(unknown)} is nothing that a template holds: "
            "{z}, {x}, {y} or {-y}, {q}, {s}, {switch:a,b,c}, {r}, {token}"
        )
    first, last = _number(options, "zmin", 0), _number(options, "zmax", FINEST_ZOOM)
    side = _number(options, "tilesize", 256)
    if not (0 <= first <= last <= FINEST_ZOOM and 1 <= side <= 8192):
        raise ArgumentError(
            f"{client.show(template)}: zmin={first}, zmax={last}, tilesize={side} is no pyramid"
        )
    return TileService(
        address=address,
        name=client.show(address.url),
        pyramid=web_mercator(range(first, last + 1), Size(side, side), known="zmax" in options),
        url_of=lambda matrix, col, row: tile_url(template, int(matrix.name), col, row),
        tags={},
    )


def hosts_of(address: Address, access: Access) -> tuple[str, ...]:
    """An address on each host of a template."""
    template = _without_token(address.url, access)
    return tuple(_on_host(template, index) for index in range(len(_hosts(template))))


def tile_url(template: str, zoom: int, col: int, row: int) -> str:
    """The address of one tile; the same host for the same tile."""
    url = _on_host(template, col + row)
    values = {
        "{x}": str(col),
        "{y}": str(row),
        "{-y}": str(2**zoom - 1 - row),
        "{z}": str(zoom),
        "{q}": _quadkey(zoom, col, row),
        "{r}": "",  # "@2x" for screens
    }
    return re.sub(r"\{[^}]*\}", lambda found: values.get(found[0], found[0]), url)


def _without_token(url: str, access: Access) -> str:
    if "{token}" in url and access.token is None:
        raise ArgumentError(f"{redact(url)}: set {TOKEN_VARIABLE} to what {{token}} stands for")
    return url.replace("{token}", access.token or "")


def _hosts(template: str) -> tuple[str, ...]:
    if found := _SWITCH.search(template):
        return tuple(found["hosts"].split(","))
    return _SUBDOMAINS if "{s}" in template else ("",)


def _on_host(template: str, index: int) -> str:
    hosts = _hosts(template)
    return _SWITCH.sub("{s}", template).replace("{s}", hosts[index % len(hosts)])


def _quadkey(zoom: int, col: int, row: int) -> str:
    """Bing's name of a tile: a digit of base 4 for each zoom."""
    return "".join(
        str((col >> level & 1) + 2 * (row >> level & 1)) for level in reversed(range(zoom))
    )


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal():
        raise ArgumentError(f"{name}={text!r} behind the template is no whole number")
    return int(text)
