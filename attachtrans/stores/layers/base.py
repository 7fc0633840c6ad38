"""What a layer says of its data: `LayerSource`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

_OWN_PLACE = re.compile(r"/|[A-Za-z]:/")


class LayerKind(StrEnum):
    """What a layer shows: pixels of a file, features, or what a server draws."""

    RASTER = "raster"
    FEATURES = "features"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """The data of one layer.

    name      what its author calls it
    source    a path (absolute, or as it is written for another machine), a name that GDAL opens
              such as NETCDF:"x.nc":t, or the address of a service
    sublayer  the layer of a file that holds several; of a service, its layers joined by ","
    where     the SQL condition that its features meet
    bands     which are shown, from 1, in the order red, green, blue; None: all, as the file has
              them
    crs       the system that its coordinates are in ("EPSG:25832" or WKT), None: as the file says.
              To be assigned, never to be transformed to
    service   "xyz", "wmts", "wms", "arcgis-image" or "arcgis-map"; "" for the other kinds
    options   of a service: zmin, zmax and tilesize (xyz), tilematrixset, style and format (WMTS),
              crs, styles and format (WMS)
    """

    kind: LayerKind
    name: str
    source: str
    sublayer: str | None = None
    where: str | None = None
    bands: tuple[int, ...] | None = None
    crs: str | None = None
    service: str = ""
    options: tuple[tuple[str, str], ...] = ()


class Entry(NamedTuple):
    """A layer of a file; `source` is None where it cannot be read, and `problem` says why."""

    name: str
    source: LayerSource | None
    problem: str = ""


class UnreadableLayerError(Exception):
    """A layer whose data cannot be read here; the text says why, and what to do instead."""


def resolved(text: str, folder: Path) -> str:
    """A path of a layer file, which is relative to that file's folder.

    Absolute ones stay as they are, those of Windows with "/".
    """
    path = text.replace("\\", "/")
    if _OWN_PLACE.match(path):
        return path
    return Path(os.path.normpath(folder.absolute() / path)).as_posix()


def given(*pairs: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    """The options that have a value."""
    return tuple((name, value) for name, value in pairs if value)
