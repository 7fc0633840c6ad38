"""Members of a mosaic that GDAL's tile index would draw wrong, as views that it draws right.

GDAL 3.10 takes every member as north up, and of members that it reprojects itself it loses the
outline unless their values are of type Byte or UInt16: what is beside them becomes zeros with data.
So each of these gets a VRT that warps it, once, to the mosaic's own pixels, with alpha in bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.mosaics.grid import MosaicGrid
from attachtrans.stores.raster.image import gdal_errors, quiet

RESAMPLINGS = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "cubic": "cubic",
    "cubicspline": "cubic_spline",
    "lanczos": "lanczos",
    "average": "average",
    "rms": "rms",
}
"""GDAL's word for a tile index -> rasterio's; what both can do."""


def require_resampling(name: str) -> str:
    """A resampling as GDAL writes it. Raises ArgumentError where there is none of that name."""
    found = name.lower().replace("_", "")
    if found not in RESAMPLINGS:
        raise ArgumentError(f"--resampling {name}: there are {', '.join(RESAMPLINGS)}")
    return found


def write_view(path: str, target: Path, grid: MosaicGrid, index: int, resampling: str) -> None:
    """Write the view of one member, on the mosaic's pixels.

    Raises:
        SourceError: it cannot be opened or warped.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    left, bottom, right, top = grid.snapped(grid.boxes[index])
    width, height = grid.cell
    crs = rasterio.CRS.from_wkt(grid.crs) if grid.crs else None
    try:
        with quiet(), rasterio.open(path) as dataset:
            adds_alpha = dataset.nodata is None and dataset.colorinterp[-1].name != "alpha"
            options: dict[str, Any] = {
                "crs": crs,
                "transform": rasterio.Affine(width, 0.0, left, 0.0, -height, top),
                "width": round((right - left) / width),
                "height": round((top - bottom) / height),
                "resampling": Resampling[RESAMPLINGS[resampling]],
                "add_alpha": adds_alpha,
            }
            with WarpedVRT(dataset, **options) as view:
                rasterio.shutil.copy(view, target, driver="VRT")
    except gdal_errors() as error:
        raise SourceError(f"{path}: cannot be warped to the mosaic: {error}") from error
    _finish(target, path, adds_alpha=adds_alpha)


def _finish(target: Path, path: str, *, adds_alpha: bool) -> None:
    """Bytes for the alpha that was added, and the member's own path."""
    tree = ET.parse(target)  # noqa: S314 - GDAL wrote it
    if adds_alpha:
        tree.getroot().findall("VRTRasterBand")[-1].set("dataType", "Byte")
    for element in tree.iter("SourceDataset"):
        element.text = path
        element.set("relativeToVRT", "0")
    tree.write(target, encoding="utf-8")
