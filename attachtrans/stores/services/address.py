"""Which sources are services, by their spelling, and how their addresses are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

from attachtrans.stores.services.base import Address, ServiceKind

_ARCGIS = re.compile(
    r"^(?P<url>https?://[^?#]+/(?P<kind>ImageServer|MapServer))(?:/(?P<layer>\d+))?/?"
    r"(?:\?(?P<query>[^#]*))?$",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{(?:x|y|-y|z|q)\}")
# What GDAL's WMTS connection strings call things, as `Address` does.
_WMTS_NAMES = {"layer": "layer", "tilematrixset": "tilematrixset", "style": "style"}
_SECRET = re.compile(
    r"(?P<name>(?:^|[?&;#\s])(?:[\w.-]*(?:token|key|passw|pwd|secret|signature|credential)[\w.-]*"
    r"|auth\w*|sig|tk|code|appid|user(?:name)?)=)[^&#\s\"'<>]+",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(?<=://)[^/?#\s@]+(?=@)")
_SHOWN_INSTEAD = "***"
# Of the request, not of the service: written anew for every window.
_PER_REQUEST = frozenset(
    ("service", "request", "bbox", "width", "height", "i", "j", "x", "y", "query_layers")
)
_OF_A_MAP = frozenset(("version", "layers", "styles", "format", "transparent", "crs", "srs"))


def recognise(source: str) -> Address | None:
    """The service that a source names, None for anything else; nothing is asked.

    - "https://host/{z}/{x}/{y}.png" with {-y} for TMS, {q} for quadkeys, {s} or {switch:a,b,c}
      for several hosts, {token} for what the environment holds; options behind "#":
      "#zmin=3&zmax=19&tilesize=512"
    - "WMTS:https://host/wmts.xml,layer=...,tilematrixset=...,style=..." as GDAL writes it, and
      addresses with SERVICE=WMTS or that end with WMTSCapabilities.xml
    - "WMS:https://host/wms?LAYERS=..." as GDAL writes it, and addresses with SERVICE=WMS
    - "https://host/.../ImageServer", ".../MapServer", ".../MapServer/3"
    """
    prefix, colon, rest = source.partition(":")
    if colon and prefix.upper() in ("WMTS", "WMS"):
        return _gdal_wmts(rest) if prefix.upper() == "WMTS" else _wms(rest)
    if "://" not in source:
        return None
    if len(_TEMPLATE.findall(source)) >= (1 if "{q}" in source else 3):
        url, _, options = source.partition("#")
        return Address(kind=ServiceKind.XYZ, url=url, options=_options(options))
    return _arcgis(source) or _ogc(source)


def _arcgis(source: str) -> Address | None:
    found = _ARCGIS.match(source)
    if found is None:
        return None
    is_image = found["kind"].lower() == "imageserver"
    return Address(
        kind=ServiceKind.ARCGIS_IMAGE if is_image else ServiceKind.ARCGIS_MAP,
        url=found["url"],
        layer=found["layer"],
    )


def _ogc(source: str) -> Address | None:
    parts = urlsplit(source)
    query = _options(parts.query)
    said = query.get("service", "").upper()
    if said == "WMS":
        return _wms(source)
    if said == "WMTS" or parts.path.lower().endswith(("wmtscapabilities.xml", "/wmts")):
        return _wmts(source, query)
    return None


def _gdal_wmts(text: str) -> Address:
    url, *settings = re.split(r",(?=\w+=)", text)
    options = {name.lower(): value for name, _, value in (one.partition("=") for one in settings)}
    return _wmts(url, options)


def _wmts(url: str, options: dict[str, str]) -> Address:
    named = {ours: options[name] for name, ours in _WMTS_NAMES.items() if name in options}
    if "format" in options:
        named["format"] = options["format"]
    return Address(kind=ServiceKind.WMTS, url=url, layer=named.pop("layer", None), options=named)


def _wms(text: str) -> Address:
    parts = urlsplit(text)
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = {name.lower(): value for name, value in query if name.lower() in _OF_A_MAP}
    # What is left is the server's own ("map", a key) and stays as it is written.
    own = [pair for pair in query if pair[0].lower() not in _PER_REQUEST | _OF_A_MAP]
    layer, srs = given.pop("layers", None), given.pop("srs", None)
    if srs:
        given.setdefault("crs", srs)
    return Address(
        kind=ServiceKind.WMS,
        url=urlunsplit(parts._replace(query=urlencode(own, safe=",/:"), fragment="")),
        layer=layer,
        options=given,
    )


def _options(query: str) -> dict[str, str]:
    return {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """An address, or words about one, without passwords, tokens, keys and signatures.

    secrets: known values, taken out wherever they stand.
    """
    for secret in filter(None, secrets):
        for written in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
            text = text.replace(written, _SHOWN_INSTEAD)
    text = _PASSWORD.sub(_SHOWN_INSTEAD, text)
    return _SECRET.sub(rf"\g<name>{_SHOWN_INSTEAD}", text)


def with_parameters(url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The address with parameters added to its query; those that it has by these names go."""
    parts = urlsplit(url)
    added = list(parameters)
    names = {name.lower() for name, _ in added}
    kept = [
        pair
        for pair in parse_qsl(parts.query, keep_blank_values=True)
        if pair[0].lower() not in names
    ]
    return urlunsplit(parts._replace(query=urlencode([*kept, *added], safe=",/:"), fragment=""))
