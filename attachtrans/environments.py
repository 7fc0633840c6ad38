# ruff: noqa: N815 - the names of the tool's page are kept
"""Geoprocessing environments: what they may be set to, and what that means here."""

from __future__ import annotations

import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attachtrans.errors import ArgumentError

if TYPE_CHECKING:
    from pyproj import CRS

    from attachtrans.tool.rasters.choice import RasterChoice

Extent = tuple[float, float, float, float]

_DEFAULT = ("", "#")
_WHOLE_EXTENT = ("DEFAULT", "MAXOF", "MINOF")
_LAYER = re.compile(
    r"^(.+\.(?:gpkg|gdb|geodatabase))[/\\](?:[^/\\]+[/\\])?(?:main\.)?([^/\\]+)$", re.IGNORECASE
)
"""A layer as arcpy names it: "parks.gpkg/main.parks", "parks.gdb/dataset/parks"."""
_FILE = re.compile(r"[^\[]+\.\w{2,8}(:.+)?", re.DOTALL)
"""What may be a path and is no WKT."""


@dataclass(slots=True)
class Environment:
    """The geoprocessing environments that the tool's page lists; `env` is the one that counts.

    processorType   "CPU", "GPU" or "" (the default: a GPU when there is one)
    gpuId           number of the GPU to use, or of several: "0;1", [0, 1]
    parallelProcessingFactor    on the CPU, how many cores the net uses: "50%" or a number, "0" or
                    "1" for one; by default all, which are the most. A GPU overrides it
    extent          "xmin ymin xmax ymax", four numbers or an object with XMin, YMin, XMax, YMax.
                    Photos: only features that touch this box are processed; in the layer's
                    coordinates. Rasters: what is processed, in the output's coordinates, or in
                    those of the object's spatialReference; also the path of a raster or a layer to
                    take it from. "DEFAULT", "MAXOF" and "MINOF": all
    outputCoordinateSystem  "EPSG:25832", a WKID, WKT or an object with factoryCode. Rasters: of the
                    output; also the path of a raster, a layer or a .prj. Photos: of those that are
                    rectified (NO_PIXELSPACE); refused in pixel space, where nothing is rectified.
                    Features keep their coordinate system
    cellSize        in units of that system. Rasters: of what the net sees, a number, two, or the
                    path of a raster; "MAXOF" and "MINOF" are the raster's own. Photos: pixel size
                    of those that are rectified, a number; a warning in pixel space, and for "MAXOF"
                    and rasters to take it from
    snapRaster      path of a raster whose cells those of the output fit; a warning for photos:
                    their grids begin at whole multiples of their pixels
    mask            path of a raster, or of a layer of polygons ("parks.gpkg/main.parks"), that
                    rasters are processed inside of; refused for photos, which are not masked
    None and "" mean not set.
    """

    cellSize: object = None
    extent: Any = None
    mask: object = None
    snapRaster: object = None
    outputCoordinateSystem: object = None
    processorType: str | None = None
    gpuId: object = None
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
    numbers = _gpus(settings.gpuId)
    if kind == "CPU":
        warnings.warn("env.gpuId has no effect: env.processorType is CPU", stacklevel=3)
        return "cpu"
    return f"cuda:{','.join(map(str, numbers))}"


def _gpus(value: object) -> tuple[int, ...]:
    """The numbers of GPUs, each once."""
    parts = re.split(r"[;,]", value) if isinstance(value, str) else value
    listed = list(parts) if isinstance(parts, Iterable) else [parts]
    texts = [str(part).strip() for part in listed]
    if not texts or not all(text.isdecimal() for text in texts):
        raise ArgumentError(
            f"env.gpuId={value!r}: give the number of a GPU, from 0, or several like '0;1'"
        )
    return tuple(dict.fromkeys(int(text) for text in texts))


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
    return min(max(1, math.ceil(cores * number / 100) if found[2] else number), cores)


def extent_of(settings: Environment) -> Extent | None:
    """The box that chooses features, None for all of them."""
    value = settings.extent
    if not given(value) or (isinstance(value, str) and value.strip().upper() in _WHOLE_EXTENT):
        return None
    return _box(value)[0]


def _box(value: Any) -> tuple[Extent, str]:
    """The four numbers of an extent, and what a text says of a coordinate system behind them."""
    parts: list[Any] = []
    if hasattr(value, "XMin"):
        parts = [value.XMin, value.YMin, value.XMax, value.YMax]
    elif isinstance(value, str):
        parts = value.split(maxsplit=4)
    elif isinstance(value, Iterable):
        parts = list(value)
    try:
        west, south, east, north = (float(part) for part in parts[:4])
    except (TypeError, ValueError):
        raise ArgumentError(
            f"env.extent={value!r}: write 'xmin ymin xmax ymax' in the layer's coordinates"
        ) from None
    rest = parts[4] if isinstance(value, str) and len(parts) > 4 else ""
    return (west, south, east, north), rest


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


def raster_environment(settings: Environment, own: Callable[[], CRS | None]) -> RasterChoice:
    """What cellSize, extent, snapRaster, outputCoordinateSystem and mask mean for a raster.

    Rasters and layers that are named for their cells, extent or system are opened, and closed.

    Args:
        settings: the environments.
        own: gives the raster's coordinate system, None where it is not known; asked where cells
            are those of another raster, which may be in another system.

    Raises:
        ArgumentError: a value that means nothing here.
        SourceError: a raster or a layer cannot be opened.
        CrsError: it does not say where it lies.
    """
    from attachtrans.tool.rasters.choice import RasterChoice

    target = None
    if given(settings.outputCoordinateSystem):
        target = _raster_system(settings.outputCoordinateSystem)
    extent, extent_crs = _raster_extent(settings.extent)
    return RasterChoice(
        cell_size=_cell_size(settings.cellSize, target, own),
        extent=extent,
        extent_crs=extent_crs,
        snap=Path(_named("snapRaster", settings.snapRaster))
        if given(settings.snapRaster)
        else None,
        crs=target,
        mask=_named("mask", settings.mask) if given(settings.mask) else None,
    )


def _cell_size(
    value: object, target: str | None, own: Callable[[], CRS | None]
) -> tuple[float, float] | None:
    """(x, y) in units of the output's system; None: the raster's own."""
    if not given(value) or str(value).strip().upper() in _WHOLE_EXTENT:
        return None
    several = value if isinstance(value, list | tuple) else str(value).split()
    try:
        numbers = [float(part) for part in several]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) in (1, 2):
        return numbers[0], numbers[-1]
    from attachtrans.geo.frame import read_crs
    from attachtrans.geo.gridding import Gridding, target_grid
    from attachtrans.stores.raster import open_raster
    from attachtrans.stores.raster.gridded import placed

    with open_raster(_named("cellSize", value)) as image:
        system = own() if target is None else read_crs(target)
        if system is None:
            raise ArgumentError(
                f"env.cellSize={value!r}: the coordinate system of in_raster is not known, so the "
                "cells of another raster cannot be taken; give a number, or set "
                "env.outputCoordinateSystem"
            )
        cells = target_grid(placed(image), Gridding(crs=system))
    return cells.affine.a, -cells.affine.e


def _raster_extent(value: Any) -> tuple[Extent | None, str | None]:
    """The extent and its system, None for the output's."""
    if not given(value) or (isinstance(value, str) and value.strip().upper() in _WHOLE_EXTENT):
        return None, None
    if isinstance(value, str) and value.strip().upper() == "DISPLAY":
        raise ArgumentError("env.extent='DISPLAY': there is no map here; give its four numbers")
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not _is_numbers(value)):
        from attachtrans.stores.raster.extents import extent_of_file

        box, crs = extent_of_file(_named("extent", value))
        return box, crs.to_wkt()
    box, rest = _box(value)
    said = rest or getattr(value, "spatialReference", None)
    return box, _raster_system(said) if given(said) else None


def _is_numbers(text: str) -> bool:
    """Whether a text begins with numbers: else it is a path."""
    first = text.split(maxsplit=1)[0]
    return _number(first) is not None


def _raster_system(value: object) -> str:
    """A coordinate system, also by the path of something that has one."""
    from attachtrans.stores.raster.extents import crs_of_file, file_and_layer

    text = _layer_behind_colon(str(value))
    if _FILE.fullmatch(text) and file_and_layer(text)[0].exists():
        return crs_of_file(text).to_wkt()
    written = getattr(value, "exportToString", None)
    if written is not None and not getattr(value, "factoryCode", None):
        value = written()
    return _system(value)


def _named(name: str, value: object) -> str:
    """The path in an environment: text, a path, or an object that has one."""
    text = path_in(value)
    if text is None:
        raise ArgumentError(f"env.{name}={value!r}: give the path of a raster or a layer")
    return _layer_behind_colon(text)


def path_in(value: object) -> str | None:
    """Text, a path, or arcpy's object with `catalogPath` or `dataSource`, as text; else None."""
    for name in ("catalogPath", "dataSource"):
        value = getattr(value, name, None) or value
    return os.fspath(value).strip() if isinstance(value, str | os.PathLike) else None


def _layer_behind_colon(text: str) -> str:
    """A layer in a database as the stores name it."""
    return _LAYER.sub(r"\1:\2", text)


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
