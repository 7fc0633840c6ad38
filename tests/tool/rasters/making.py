"""Small rasters of every kind, and what a net makes of them in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from attachtrans.infer.whole import translate_array
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.report import Outcome, Report
from attachtrans.stores.raster.image import quiet
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.translate import translate_pixels

UTM = "EPSG:25832"
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
TURNED = Affine(0.4, 0.3, 500_000, 0.3, -0.4, 5_400_000)
Pixels = NDArray[Any]


def scene(bands: int, height: int, width: int, dtype: str = "uint8") -> Pixels:
    """Structure at every scale, and noise; of bytes 20 to 235."""
    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[:height, :width]
    planes = [
        np.sin(cols / (5 + 3 * band)) * np.cos(rows / (9 - band)) + rng.normal(0, 0.1, rows.shape)
        for band in range(bands)
    ]
    unit = np.clip(np.stack(planes) / 3 + 0.5, 0.05, 0.95)
    if np.dtype(dtype).kind == "f":
        return unit.astype(dtype)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def write(path: Path, array: Pixels, **profile: Any) -> Path:
    """A GeoTIFF; `mask`, `colours`, `names` and `tags` as rasterio takes them."""
    extras = {name: profile.pop(name, None) for name in ("mask", "colours", "names", "tags")}
    settings = {"crs": UTM, "transform": NORTH_UP, "driver": "GTiff", **profile}
    settings = {name: value for name, value in settings.items() if value is not None}
    bands, height, width = array.shape
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        data = rasterio.open(
            path, "w", count=bands, height=height, width=width, dtype=array.dtype, **settings
        )
    with data, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        data.write(array)
        if extras["mask"] is not None:
            data.write_mask(extras["mask"])
        if extras["colours"] is not None:
            data.colorinterp = extras["colours"]
        for band, name in enumerate(extras["names"] or (), start=1):
            data.set_band_description(band, name)
        if extras["tags"]:
            data.update_tags(**extras["tags"])
    return path


def in_memory(model: Path, array: Pixels, **options: Any) -> Pixels:
    """What the net makes of the whole array at once."""
    net = load_model(ModelDefinition.read(model), device=torch.device("cpu"))
    return translate_array(net, array, **options)


def run(source: Path | str, model: Path, output: Path | None, **options: Any) -> Report:
    """The tool on the CPU; what belongs to `RasterChoice` goes there."""
    known = RasterChoice.__dataclass_fields__
    chosen = {name: options.pop(name) for name in list(options) if name in known}
    return translate_pixels(
        source, model, output, device="cpu", rasters=RasterChoice(**chosen), **options
    )


def only(report: Report) -> Outcome:
    (outcome,) = report.outcomes
    return outcome


def read(path: Path) -> Pixels:
    with quiet(), rasterio.open(path) as data:
        pixels: Pixels = data.read()
    return pixels
