"""What WMS and WMTS have in common: capabilities, names of coordinate systems, order of axes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.frame import read_crs
from attachtrans.stores.services.base import MISSING_EXTRA, Answer
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.refusals import BadAnswerError, refusal

# The last authority counts: "urn:ogc:def:crs:EPSG::25832".
_CODE = re.compile(
    r".*\b(?P<authority>EPSG|ESRI|OGC|CRS)\b.*?(?P<code>(?:CRS)?\d+)$", re.IGNORECASE
)
# Before EPSG had a number for Web Mercator, people took these.
_WEB_MERCATOR = frozenset({"900913", "3785", "102100", "102113"})
_FORMATS = ("image/png", "image/png32", "image/jpeg", "image/jpg", "image/webp", "image/tiff")
_LISTED = 20


def capabilities(client: Client, url: str, parse: Callable[[bytes], Any]) -> Any:
    """What a server says of itself, parsed by OWSLib.

    Raises:
        ArgumentError: OWSLib is not installed.
        SourceError: no capabilities came.
    """

    def read(answer: Answer) -> Any:
        if answer.status != 200 or answer.data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
            raise refusal(answer)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return parse(answer.data)
        except ImportError as error:
            raise ArgumentError(MISSING_EXTRA) from error
        except Exception as error:  # OWSLib and lxml raise whatever comes to pass
            said = refusal(answer)
            raise BadAnswerError(
                f"this is no capabilities document ({said or error})", passes=said.passes
            ) from error

    return client.get(url, read, keep=False)


def crs_of(name: str) -> CRS | None:
    """The system that a server names, None when nobody knows it."""
    found = _CODE.match(name.strip())
    if found is not None:
        authority, code = found["authority"].upper(), found["code"].upper()
        if authority in ("OGC", "CRS"):
            name = "OGC:CRS84" if code.removeprefix("CRS") == "84" else name
        elif code in _WEB_MERCATOR:
            name = "EPSG:3857"
        else:
            name = f"{authority}:{code}"
    try:
        return read_crs(name)
    except CrsError:
        return None


@lru_cache(maxsize=64)
def authority_of(crs: CRS) -> tuple[str, str] | None:
    """(authority, code) of a system, None where it has none; looking for one takes a while."""
    found = crs.to_authority()
    return None if found is None else (str(found[0]), str(found[1]))


def northing_first(crs: CRS) -> bool:
    """Whether the authority writes latitude or northing before longitude or easting."""
    if len(crs.axis_info) < 2:
        return False
    first, second = crs.axis_info[:2]
    if first.direction == second.direction:  # around a pole
        return first.abbrev.upper().startswith("N")
    return first.direction.lower() in ("north", "south")


def choose(wanted: str | None, offered: Iterable[str], what: str, where: str) -> str:
    """The one that is wanted, or the only one.

    Raises:
        ArgumentError: there is none of this name, or several and none is named.
    """
    names = list(offered)
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is not None and wanted in names:
        return wanted
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    said = f"has no {what} {wanted!r}" if wanted is not None else f"has several, name the {what}"
    raise ArgumentError(f"{where} {said}; it has: {listed or 'none'}")


def choose_format(options: Mapping[str, str], offered: Iterable[str], where: str) -> str:
    """The format that is wanted, else the first one that loses nothing, or little.

    Raises:
        ArgumentError: nothing that can be read is offered.
    """
    names = list(offered)
    if wanted := options.get("format"):
        return wanted
    for ours in _FORMATS:
        for name in names:
            if name.partition(";")[0].strip().lower() == ours:
                return name
    raise ArgumentError(f"{where} offers no format that can be read: {', '.join(names)}")
