# ruff: noqa: N815 - the names of the tool's page are kept
"""Geoprocessing environments: what they may be set to, and what that means here."""

from __future__ import annotations

import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from attachtrans.errors import ArgumentError

Extent = tuple[float, float, float, float]

_DEFAULT = ("", "#")
_WHOLE_EXTENT = ("DEFAULT", "MAXOF", "MINOF")


@dataclass(slots=True)
class Environment:
    """The geoprocessing environments that the tool's page lists; `env` is the one that counts.

    processorType   "CPU", "GPU" or "" (the default: a GPU when there is one)
    gpuId           number of the GPU to use
    parallelProcessingFactor    on the CPU, how many cores the net uses: "50%" or a number, "0" or
                    "1" for one; by default all. A GPU overrides it
    extent          only features that touch this box are processed: "xmin ymin xmax ymax", four
                    numbers or an object with XMin, YMin, XMax, YMax, in the layer's coordinates
    outputCoordinateSystem  of photos that are rectified (NO_PIXELSPACE): "EPSG:25832", a WKID, WKT
                    or an object with factoryCode; refused in pixel space, where nothing is
                    rectified. Features keep their coordinate system
    cellSize        pixel size of photos that are rectified, a number in units of that system; a
                    warning in pixel space, and for "MAXOF" and rasters to take it from
    snapRaster      a warning when set: grids begin at whole multiples of their pixels
    mask            refused when set: photos are not masked
    None and "" mean not set.
    """

    cellSize: object = None
    extent: Any = None
    mask: object = None
    snapRaster: object = None
    outputCoordinateSystem: object = None
    processorType: str | None = None
    gpuId: int | str | None = None
    parallelProcessingFactor: int | str | None = None

    def __setattr__(self, name: str, value: object) -> None:
        """Set an environment. Raises ArgumentError for a name that is not listed above."""
        if name not in self.__slots__:
            names = ", ".join(self.__slots__)
            raise ArgumentError(f"env.{name} is not an environment of this tool: {names}")
        object.__setattr__(self, name, value)  # super() does not work in a class with slots here


def given(value: object) -> bool:
    """Whether a parameter was given; arcpy writes "#" for the default."""
    return value is not None and not (isinstance(value, str) and value.strip() in _DEFAULT)


def device_of(settings: Environment) -> str:
    """What processorType and gpuId mean, as `--device` takes it."""
    kind = str(settings.processorType or "").strip().upper()
    if kind not in ("", "CPU", "GPU"):
        raise ArgumentError(f"env.processorType={settings.processorType!r}: write CPU, GPU or ''")
    if not given(settings.gpuId):
        gpu = "mps" if sys.platform == "darwin" else "cuda"
        return {"": "auto", "CPU": "cpu", "GPU": gpu}[kind]
    if not str(settings.gpuId).strip().isdecimal():
        raise ArgumentError(f"env.gpuId={settings.gpuId!r}: give the number of a GPU, from 0")
    if kind == "CPU":
        warnings.warn("env.gpuId has no effect: env.processorType is CPU", stacklevel=3)
        return "cpu"
    return f"cuda:{int(str(settings.gpuId))}"


def threads_of(settings: Environment) -> int | None:
    """What parallelProcessingFactor means as a number of cores; None: all."""
    value = settings.parallelProcessingFactor
    if not given(value):
        return None
    found = re.fullmatch(r"(\d{1,6})\s*(%?)", str(value).strip())
    if found is None:
        raise ArgumentError(
            f"env.parallelProcessingFactor={value!r}: write a number of cores or a share like '50%'"
        )
    cores, number = os.cpu_count() or 1, int(found[1])
    return max(1, math.ceil(cores * number / 100) if found[2] else number)


def extent_of(settings: Environment) -> Extent | None:
    """The box that chooses features, None for all of them."""
    value = settings.extent
    if not given(value) or (isinstance(value, str) and value.strip().upper() in _WHOLE_EXTENT):
        return None
    wrong = ArgumentError(
        f"env.extent={value!r}: write 'xmin ymin xmax ymax' in the layer's coordinates"
    )
    parts: list[Any]
    if hasattr(value, "XMin"):
        parts = [value.XMin, value.YMin, value.XMax, value.YMax]
    elif isinstance(value, str):
        parts = value.split()
    elif isinstance(value, Iterable):
        parts = list(value)
    else:
        raise wrong
    try:
        west, south, east, north = (float(part) for part in parts[:4])
    except (TypeError, ValueError):
        raise wrong from None
    return west, south, east, north


def grid_of(settings: Environment, *, rectifies: bool) -> tuple[str | None, float | None]:
    """Coordinate system and pixel size of the grids that photos are rectified to; None: found.

    rectifies: whether photos are.
    """
    if given(settings.mask):
        raise ArgumentError(
            "env.mask cannot be honoured: photos cannot be masked. Set env.mask = None"
        )
    crs, size = None, None
    if given(settings.outputCoordinateSystem):
        if not rectifies:
            raise ArgumentError(
                "env.outputCoordinateSystem cannot be honoured: features keep the coordinate "
                "system that they have, and photos are rectified with NO_PIXELSPACE and "
                "NO_OVERWRITE only. Set env.outputCoordinateSystem = None"
            )
        crs = _system(settings.outputCoordinateSystem)
    if given(settings.cellSize):
        size = _number(settings.cellSize) if rectifies else None
        if size is None and str(settings.cellSize).upper() not in _WHOLE_EXTENT:
            why = "it is no number" if rectifies else "photos keep their own pixels"
            warnings.warn(f"env.cellSize has no effect: {why}", stacklevel=3)
    if given(settings.snapRaster):
        warnings.warn(
            "env.snapRaster has no effect: grids begin at whole multiples of their pixels",
            stacklevel=3,
        )
    return crs, size


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _system(value: object) -> str:
    """A coordinate system as pyproj reads it, which knows Esri's WKIDs."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    text = str(getattr(value, "factoryCode", None) or value).strip()
    text = f"EPSG:{text}" if text.isdecimal() else text
    try:
        CRS.from_user_input(text)
    except CRSError as error:
        raise ArgumentError(
            f"env.outputCoordinateSystem={value!r}: there is no such coordinate system"
        ) from error
    return text


@contextmanager
def cores(count: int | None, device: str) -> Iterator[None]:
    """Let the net use so many cores of the CPU; nothing where it runs on a GPU."""
    if count is None:
        yield
        return
    import torch

    from attachtrans.infer.devices import select_devices

    before = torch.get_num_threads()
    if all(one.type == "cpu" for one in select_devices(device)):
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
