"""Where files lie that only say so: rasters, layers of vector files, .prj."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.frame import horizontal, read_crs
from attachtrans.geo.gridding import Bounds
from attachtrans.stores.measured import measures_aside
from attachtrans.stores.raster.gridded import placed
from attachtrans.stores.raster.image import open_raster

_MOST_BYTES = 1 << 20
"""Of a .prj."""


def file_and_layer(text: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file and the layer of "file.gpkg:layer"; a file may have a colon in its name."""
    whole, (file, colon, layer) = Path(text), os.fspath(text).rpartition(":")
    if whole.exists() or not colon or not Path(file).exists():
        return whole, None
    return Path(file), layer


def vector_layers(path: Path) -> dict[str, str]:
    """The layers of a vector file that have geometries, and of what kind; none of a raster.

    Raises:
        SourceError: there is no such file.
    """
    import pyogrio
    from pyogrio.errors import DataSourceError

    if not path.exists():
        raise SourceError(f"{path}: there is no such file")
    try:
        with measures_aside():
            return {name: kind for name, kind in pyogrio.list_layers(path) if kind is not None}
    except DataSourceError:
        return {}


def extent_of_file(text: str | os.PathLike[str]) -> tuple[Bounds, CRS]:
    """The box about a raster, or about a layer ("file.gpkg:layer"), in its coordinate system.

    Raises:
        SourceError: it cannot be opened.
        ArgumentError: of several layers none is named; it has no features.
        CrsError: it does not say where it lies.
    """
    path, layer = file_and_layer(text)
    layers = vector_layers(path)
    if layers:
        said = _layer_info(path, layer, layers)
        box = said["total_bounds"]
        if box is None or not np.isfinite(box).all():
            raise ArgumentError(f"{text}: there are no features whose extent could be taken")
        left, bottom, right, top = map(float, box)
        return (left, bottom, right, top), _system(said["crs"], text)
    with open_raster(path) as image:
        grid = placed(image)
    width, height = grid.size
    corners = np.array([[0.0, width, 0.0, width], [0.0, 0.0, height, height]])
    (left, bottom), (right, top) = (
        end(grid.pixel_to_map(corners), axis=1) for end in (np.min, np.max)
    )
    return (float(left), float(bottom), float(right), float(top)), grid.crs


def crs_of_file(text: str | os.PathLike[str]) -> CRS:
    """The coordinate system of a raster, a layer or a .prj.

    Raises:
        SourceError: it cannot be opened.
        ArgumentError: of several layers none is named.
        CrsError: it has none.
    """
    path, layer = file_and_layer(text)
    if path.suffix.lower() == ".prj":
        try:
            with path.open("rb") as file:
                return _system(file.read(_MOST_BYTES).decode("utf-8", "replace").strip(), text)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error}") from error
    layers = vector_layers(path)
    if layers:
        return _system(_layer_info(path, layer, layers)["crs"], text)
    with open_raster(path) as image:
        if image.crs is None:
            raise CrsError(f"{text} has no coordinate system")
        return image.crs


def _layer_info(path: Path, layer: str | None, layers: Iterable[str]) -> dict[str, Any]:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    names = list(layers)
    if layer is None and len(names) > 1:
        raise ArgumentError(
            f"{path} has several layers; name one, like {path}:{names[0]} "
            f"(there are {', '.join(names)})"
        )
    try:
        with measures_aside():
            found: dict[str, Any] = pyogrio.read_info(
                path, layer=layer or names[0], force_total_bounds=True
            )
    except (DataSourceError, DataLayerError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    return found


def _system(said: object, text: str | os.PathLike[str]) -> CRS:
    if not said:
        raise CrsError(f"{os.fspath(text)} has no coordinate system")
    return horizontal(read_crs(said))
