"""What a raster to be written is, and how it is stored; what both mean to GDAL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pyproj import CRS
from pyproj.enums import WktVersion

from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap
from attachtrans.types import Size

Compression = Literal["deflate", "zstd", "lzw", "jpeg", "none"]
Point = tuple[float, float, float, float, float]

RASTER_COMPRESSION: Compression = "zstd"
"""Of large rasters: 2.5 times as fast as deflate on 8-bit colours, and a little smaller; programs
with a libtiff or GDAL of before 2019, and some builds of later ones, cannot read it."""

_COLOURS = {1: ("gray",), 2: ("gray", "alpha"), 3: ("red", "green", "blue")}
_COLOURS[4] = (*_COLOURS[3], "alpha")


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterSpec:
    """What a raster is.

    transform  of outer-corner pixels; None for none
    nodata     value that means no data
    masked     it gets a mask inside the file; what is not written to the mask is without data
    colours    what each band shows, in GDAL's words; empty: gray, RGB or RGBA by their number
    names      of the bands
    units      of each band's values ("metre", "ft"), None where nothing is said
    scaling    (factor, offset) by which each band's values become quantities
    tags       of the dataset; TIFFTAG_SOFTWARE, TIFFTAG_IMAGEDESCRIPTION and their like become TIFF
               tags
    gcps       (col, row, x, y, z) of ground control points in `crs`, pixels from the outer corner
    rpc        GDAL's "RPC" metadata, which counts pixels from the centre of the first
    """

    size: Size
    bands: int
    dtype: str | np.dtype[Any]
    crs: CRS | None = None
    transform: PixelToMap | Sequence[float] | None = None
    nodata: float | None = None
    masked: bool = False
    colours: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    units: tuple[str | None, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    gcps: Sequence[Point] = ()
    rpc: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """What each band shows."""
        return self.colours or _COLOURS.get(self.bands, ("undefined",) * self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterOptions:
    """How a raster is stored.

    driver       GDAL's name of the format; others than "GTiff" are made of a finished GeoTIFF
    cog          the same as the driver "COG": cloud-optimised layout, with overviews
    compression  of GTiff and COG. "jpeg" is for three bands of bytes and loses detail;
                 transparency goes into a mask
    quality      of JPEG, 1 to 100
    tile         side of the file's tiles, a multiple of 16
    overviews    smaller copies inside (beside the file where its format has no room for them)
    smooth       overviews are averages; False for values that are classes: the nearest one
    threads      that GDAL compresses with
    creation     GDAL's creation options of the driver, on top of these
    """

    driver: str = "GTiff"
    cog: bool = False
    compression: Compression = "deflate"
    quality: int = 90
    tile: int = 512
    overviews: bool = False
    smooth: bool = True
    threads: int = 1
    creation: Mapping[str, str] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The driver that makes the final file, as it is meant."""
        return "COG" if self.cog or self.driver.upper() == "COG" else self.driver

    @property
    def side(self) -> int:
        """Of the file's tiles: as a creation option has it, else `tile`.

        Raises:
            ArgumentError: creation options ask for strips, or for tiles that are not square.
        """
        if self.format.upper() != "GTIFF":
            return self.tile
        given = upper(self.creation)
        width = given.get("BLOCKXSIZE", str(self.tile))
        height = given.get("BLOCKYSIZE", str(self.tile))
        if given.get("TILED", "YES").upper() in {"NO", "FALSE", "OFF", "0"} or width != height:
            raise ArgumentError("--co: rasters are written in square tiles; leave TILED and BLOCK*")
        if not width.isdecimal():
            raise ArgumentError(f"--co BLOCKXSIZE={width}: give a multiple of 16")
        return int(width)


def check(spec: RasterSpec, options: RasterOptions) -> None:
    """Raise ArgumentError when no GeoTIFF, the first form of every raster, can be that."""
    dtype, shown = np.dtype(spec.dtype), spec.shown
    side = options.side
    problems = {
        f"{spec.bands} bands of {spec.size.width} x {spec.size.height} pixels": spec.bands < 1
        or min(spec.size) < 1,
        f"values of type {dtype}": dtype.kind not in "uif" or dtype == np.float16,
        f"{len(shown)} colours for {spec.bands} bands": len(shown) != spec.bands,
        f"{len(spec.names)} names for {spec.bands} bands": len(spec.names) > spec.bands,
        f"{len(spec.units)} units for {spec.bands} bands": len(spec.units) > spec.bands,
        f"{len(spec.scaling)} scalings for {spec.bands} bands": len(spec.scaling)
        not in {0, spec.bands},
        f"tiles of {side} (a multiple of 16)": side < 16 or side % 16 != 0,
        "a transform besides ground control points": bool(spec.gcps) and spec.transform is not None,
    }
    if options.compression == "jpeg":
        problems |= {
            f"JPEG of {dtype} in {spec.bands} bands (three of bytes)": dtype != np.uint8
            or spec.bands != 3,
            "JPEG with nodata, which its losses would smear (use a mask)": spec.nodata is not None,
            f"quality {options.quality} (1 to 100)": not 1 <= options.quality <= 100,
        }
    found = [text for text, is_so in problems.items() if is_so]
    if found:
        raise ArgumentError(f"a GeoTIFF cannot have {' or '.join(found)}")


def tiff_profile(spec: RasterSpec, options: RasterOptions) -> dict[str, Any]:
    """For rasterio.open(..., "w"): the GeoTIFF that a raster is first written to."""
    import rasterio

    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": spec.size.width,
        "height": spec.size.height,
        "count": spec.bands,
        "dtype": spec.dtype,
        "nodata": spec.nodata,
        "tiled": True,
        "blockxsize": options.tile,
        "blockysize": options.tile,
        "bigtiff": "IF_SAFER",
        "num_threads": options.threads,
        **_photometry(spec, options),
    }
    if options.format.upper() == "GTIFF":
        profile |= _compressed(options, np.dtype(spec.dtype))
        profile |= {name.lower(): text for name, text in options.creation.items()}
    elif options.compression != "jpeg":  # the first file is read once and deleted
        profile |= {"compress": "zstd", "zstd_level": 1}
    if spec.transform is not None:
        transform = PixelToMap.read(spec.transform)
        profile["transform"] = rasterio.Affine(*(getattr(transform, n) for n in "abcdef"))
    if spec.crs is not None and not spec.gcps:
        profile["crs"] = _gdal_crs(spec.crs)
    return profile


def describe(dataset: Any, spec: RasterSpec) -> None:
    """Tell an open rasterio dataset what a profile has no room for."""
    from rasterio.control import GroundControlPoint
    from rasterio.enums import ColorInterp

    dataset.colorinterp = [ColorInterp[name] for name in spec.shown]
    for band, name in enumerate(spec.names, start=1):
        if name:
            dataset.set_band_description(band, name)
    for band, unit in enumerate(spec.units, start=1):
        if unit:
            dataset.set_band_unit(band, unit)
    if any(scale != (1.0, 0.0) for scale in spec.scaling):
        dataset.scales = tuple(factor for factor, _ in spec.scaling)
        dataset.offsets = tuple(offset for _, offset in spec.scaling)
    if spec.tags:
        dataset.update_tags(**spec.tags)
    if spec.gcps:
        points = [
            GroundControlPoint(col=col, row=row, x=x, y=y, z=z) for col, row, x, y, z in spec.gcps
        ]
        dataset.gcps = (points, None if spec.crs is None else _gdal_crs(spec.crs))
    if spec.rpc:
        dataset.update_tags(ns="RPC", **spec.rpc)


def upper(creation: Mapping[str, str]) -> dict[str, str]:
    """Creation options with their names as GDAL's manual writes them."""
    return {name.upper(): text for name, text in creation.items()}


def _photometry(spec: RasterSpec, options: RasterOptions) -> dict[str, str]:
    kind: dict[str, str] = {}
    if spec.shown[:3] == ("red", "green", "blue"):
        jpeg = options.compression == "jpeg" and options.format.upper() == "GTIFF"
        kind["photometric"] = "YCBCR" if jpeg else "RGB"
    return kind | ({"alpha": "YES"} if "alpha" in spec.shown else {})


def _compressed(options: RasterOptions, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Creation options of GTiff. Predictors: differences of whole numbers, of floats' bytes."""
    if options.compression == "none":
        return {}
    if options.compression == "jpeg":
        return {"compress": "jpeg", "jpeg_quality": options.quality}
    # After the predictor the lowest levels are within 4 % of the defaults, in a third (deflate)
    # and a tenth (zstd) of the time.
    level = {"deflate": {"zlevel": 1}, "zstd": {"zstd_level": 1}}.get(options.compression, {})
    return {"compress": options.compression, "predictor": 3 if dtype.kind == "f" else 2} | level


def _gdal_crs(crs: CRS) -> Any:
    import rasterio

    return rasterio.CRS.from_wkt(crs.to_wkt(WktVersion.WKT2_2019))
