"""Small rasters on a common grid, and what lists them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from shapely.geometry import box

UTM = "EPSG:32632"
LEFT, TOP = 500_000.0, 5_000_064.0
SIDE = 64


def tile(
    path: Path,
    values: float | NDArray[Any],
    at: tuple[float, float] = (0.0, 0.0),
    *,
    res: float = 1.0,
    dtype: str = "uint8",
    crs: str | None = UTM,
    nodata: float | None = None,
    transform: Affine | None = None,
    mask: NDArray[np.uint8] | None = None,
    **more: Any,
) -> Path:
    """A GeoTIFF; `at` is its upper left corner, right and down from the common one, in metres."""
    array = np.full((1, SIDE, SIDE), values) if np.isscalar(values) else np.asarray(values)
    array = array.astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": array.shape[0],
        "height": array.shape[1],
        "width": array.shape[2],
        "dtype": dtype,
        "crs": crs,
        "nodata": nodata,
        "transform": transform or Affine(res, 0, LEFT + at[0], 0, -res, TOP - at[1]),
        **more,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(array)
        if mask is not None:
            file.write_mask(mask)
    return path


def footprints(
    path: Path, rasters: Sequence[Path | str], column: str = "location", **columns: Sequence[Any]
) -> Path:
    """A vector file with a column of the rasters' paths; remote ones lie where the first does."""
    shapes = []
    for raster in rasters:
        here = path.parent / raster if "://" not in str(raster) else path.parent / rasters[0]
        with rasterio.open(here) as file:
            shapes.append(box(*file.bounds))
    data = {column: [str(raster) for raster in rasters], **columns}
    geopandas.GeoDataFrame(data, geometry=shapes, crs=UTM).to_file(path)
    return path


def item(name: str, href: str, *, date: str | None = None, **asset: Any) -> dict[str, Any]:
    """A STAC item with one asset."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "bbox": [9.0, 45.1, 9.001, 45.101],
        "properties": {"datetime": date},
        "links": [],
        "assets": {"image": {"href": href, "type": "image/tiff; application=geotiff", **asset}},
    }


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path
