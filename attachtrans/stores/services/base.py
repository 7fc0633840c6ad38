"""The values of services: which kind, where, how they are asked, what came."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.image import Limits
from attachtrans.stores.raster.base import Raster

MISSING_EXTRA = (
    "services are read with urllib3 and OWSLib, which are not installed: "
    "pip install 'attachtrans[services]'"
)

HEADER_VARIABLE = "ATTACHTRANS_HEADER"
TOKEN_VARIABLE = "ATTACHTRANS_TOKEN"  # noqa: S105 - the name of a variable


class ServiceKind(StrEnum):
    """What a server speaks."""

    XYZ = "xyz"
    WMTS = "wmts"
    WMS = "wms"
    ARCGIS_IMAGE = "arcgis-image"
    ARCGIS_MAP = "arcgis-map"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What to open.

    url      of the service: a template with {x}, {y} and {z}, capabilities, .../MapServer
    layer    by name; several WMS layers are joined by commas; the number of a map server's layer
    options  by lower-case name, all as text: "zmin", "zmax" and "tilesize" of a template;
             "tilematrixset", "style", "format"; "styles", "version", "crs", "transparent" and
             any other parameter that a WMS takes
    named    by the user; False: by a file that may be anybody's, and credentials are not for it
    """

    kind: ServiceKind
    url: str
    layer: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    named: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How servers are asked.

    headers      sent with every request, to the service's own hosts only
    token        an Esri token, or what {token} stands for in a template; likewise
    rate         requests a second, None: as fast as they are answered
    parallel     requests at a time
    retries      after the first try, of what may pass: no answer, 429, 5xx, a damaged picture
    timeout_s    without a sign of the server
    cache        folder that answers are kept in, None: nowhere
    cache_bytes  what it may grow to; what was not used for longest goes first
    cache_days   answers older than this are asked for again
    keep_blank   tiles of which many are the same picture are data, too (maps, not imagery)
    limits       of one decoded answer

    Raises:
        ArgumentError: a number below its least.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    rate: float | None = 10.0
    parallel: int = 4
    retries: int = 5
    timeout_s: float = 60.0
    cache: Path | None = None
    cache_bytes: int = 2 * 1024**3
    cache_days: float = 7.0
    keep_blank: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        wrong = (self.parallel < 1 and "parallel") or (self.retries < 0 and "retries")
        wrong = wrong or (self.rate is not None and self.rate <= 0 and "rate")
        wrong = wrong or (self.timeout_s <= 0 and "timeout_s")
        if wrong:
            raise ArgumentError(f"{wrong}={getattr(self, wrong)} is too small to ask a service")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Credentials from ATTACHTRANS_HEADER (lines of "Name: value") and ATTACHTRANS_TOKEN.

        Raises:
            ArgumentError: a line that is no header; what it holds is not shown.
        """
        variables = os.environ if environ is None else environ
        token = variables.get(TOKEN_VARIABLE, "").strip() or None
        return cls(headers=_headers(variables.get(HEADER_VARIABLE, "")), token=token)

    def with_(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return replace(self, **changes)


def _headers(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not name.strip().replace("-", "").isalnum() or not value.strip():
            raise ArgumentError(
                f"{HEADER_VARIABLE} holds something that is no header: write "
                f"{HEADER_VARIABLE}='Authorization: Bearer ...', one header a line"
            )
        found[name.strip()] = value.strip()
    return found


def default_cache() -> Path:
    """Where the user's programs keep what can be fetched again."""
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "attachtrans" / "services"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server sent.

    url         of the request, fit to be shown
    status      200, or 204 and 404: there is nothing
    media_type  as the server says, which is not always true
    """

    url: str
    status: int
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A decoded answer.

    pixels  (bands, height, width), without alpha
    mask    (height, width): 0 where there is no data, else 255
    nodata  as the file says it
    """

    pixels: NDArray[np.generic]
    mask: NDArray[np.uint8]
    nodata: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service, open on the grid that was asked for.

    raster  its pixels; closing it closes the service
    notes   what was chosen, a line each, for people
    """

    kind: ServiceKind
    raster: Raster
    notes: tuple[str, ...] = ()


Fetch = Callable[[int, int], Picture | None]
"""(column, row) of a block -> its picture, None where there is nothing. Thread-safe."""
