"""GeoTIFF and COG, written window by window, complete or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.enums import WktVersion

from attachtrans.errors import ArgumentError, SinkError
from attachtrans.geo.affine import PixelToMap
from attachtrans.stores.durable import put_in_place, temporary_for
from attachtrans.stores.raster.image import gdal_errors, gdal_window, quiet
from attachtrans.types import Size, Window

Compression = Literal["deflate", "zstd", "lzw", "jpeg", "none"]
Point = tuple[float, float, float, float, float]

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

    compression  "jpeg" is for three bands of bytes and loses detail; transparency goes into a mask
    quality      of JPEG, 1 to 100
    tile         side of the file's tiles, a multiple of 16
    overviews    smaller copies inside, for viewers
    smooth       overviews are averages; False for values that are classes: the nearest one
    cog          cloud-optimised layout, with overviews
    creation     GDAL's creation options for GTiff (for COG with `cog`), on top of these
    """

    compression: Compression = "deflate"
    quality: int = 90
    tile: int = 512
    overviews: bool = False
    smooth: bool = True
    cog: bool = False
    creation: Mapping[str, str] = field(default_factory=dict)


class RasterWriter:
    """A GeoTIFF in the making; a context manager. Thread-safe: one write at a time.

    It grows under a temporary name beside `path` and takes the place of `path` when the context
    ends without an error; else nothing of it stays. Windows may come in any order; whole tiles,
    row by row, are the fastest.
    """

    def __init__(self, path: Path, spec: RasterSpec, options: RasterOptions | None = None) -> None:
        """Begin the file.

        Raises:
            ArgumentError: spec and options do not fit each other, or the format.
            SinkError: the folder cannot be written.
        """
        self.path, self.spec, self.options = path, spec, options or RasterOptions()
        _check(spec, self.options)
        self._lock = Lock()
        self._partial = temporary_for(path)
        self._dataset: Any = None
        with self._working():
            self._dataset = self._create()
            self._describe()

    def write(self, array: NDArray[np.generic], window: Window | None = None) -> None:
        """Write (bands, height, width) into a window, None for the whole.

        Raises:
            ArgumentError: another shape or type than the raster's, or a window outside it.
            SinkError: the disk is full or gone; nothing stays.
        """
        place = window or _whole(self.spec.size)
        expected = (self.spec.bands, place.height, place.width)
        if array.shape != expected or array.dtype != np.dtype(self.spec.dtype):
            raise ArgumentError(
                f"{self.path.name} takes {self.spec.dtype} {expected} there, not {array.dtype} "
                f"{array.shape}"
            )
        target = gdal_window(place, self.spec.size)
        with self._working() as dataset:
            dataset.write(array, window=target)

    def write_mask(self, mask: NDArray[np.generic], window: Window | None = None) -> None:
        """Write (height, width) of the mask: 0 or False where there is no data.

        Raises:
            ArgumentError: the raster has no mask, another shape, or a window outside it.
            SinkError: see `write`.
        """
        place = window or _whole(self.spec.size)
        if not self.spec.masked or mask.shape != (place.height, place.width):
            raise ArgumentError(
                f"{self.path.name} takes a mask of {place.height} x {place.width} there "
                f"({'it has one' if self.spec.masked else 'it was begun without one'}), not one of "
                f"shape {mask.shape}"
            )
        target = gdal_window(place, self.spec.size)
        with self._working() as dataset:
            dataset.write_mask(np.where(mask, 255, 0).astype(np.uint8), window=target)

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            SinkError: the disk is full or gone; nothing stays.
        """
        with self._working() as dataset:
            dataset.close()
            levels = self._levels() if self.options.overviews or self.options.cog else []
            if self.options.cog:
                self._make_cog()
            elif levels:
                self._add_overviews(levels)
            _require_whole(self._partial, len(levels))
            put_in_place(self._partial, self.path)

    def abort(self) -> None:
        """Leave nothing behind."""
        with self._lock:
            if self._dataset is not None and not self._dataset.closed:
                _close_quietly(self._dataset)
            self._partial.unlink(missing_ok=True)
            self._second.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    @property
    def _second(self) -> Path:
        """Where a COG is made of the first file."""
        return temporary_for(self.path.with_name(f"{self.path.name}.cog"))

    @contextlib.contextmanager
    def _working(self) -> Iterator[Any]:
        """GDAL's settings and the lock; whatever goes wrong takes the file with it."""
        import rasterio

        try:
            # What PAM would keep would bear the temporary name.
            with (
                self._lock,
                quiet(),
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False),
            ):
                yield self._dataset
        except gdal_errors() as error:
            self.abort()
            raise SinkError(
                f"{self.path} cannot be written: {error}. Nothing of it was kept; free disk space "
                "or name another place."
            ) from error
        except BaseException:
            self.abort()
            raise

    def _create(self) -> Any:
        import rasterio

        spec, options = self.spec, self.options
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
            **self._photometry(),
        }
        if not options.cog:
            profile |= _compressed(options, np.dtype(spec.dtype)) | _lower(options.creation)
        elif options.compression != "jpeg":  # the first file is read once and deleted
            profile |= {"compress": "zstd", "zstd_level": 1}
        if spec.transform is not None:
            transform = PixelToMap.read(spec.transform)
            profile["transform"] = rasterio.Affine(*(getattr(transform, n) for n in "abcdef"))
        if spec.crs is not None and not spec.gcps:
            profile["crs"] = _gdal_crs(spec.crs)
        return rasterio.open(self._partial, "w", **profile)

    def _photometry(self) -> dict[str, str]:
        shown = self.spec.shown
        kind: dict[str, str] = {}
        if shown[:3] == ("red", "green", "blue"):
            jpeg = self.options.compression == "jpeg" and not self.options.cog
            kind["photometric"] = "YCBCR" if jpeg else "RGB"
        return kind | ({"alpha": "YES"} if "alpha" in shown else {})

    def _describe(self) -> None:
        from rasterio.control import GroundControlPoint
        from rasterio.enums import ColorInterp

        dataset, spec = self._dataset, self.spec
        dataset.colorinterp = [ColorInterp[name] for name in spec.shown]
        for band, name in enumerate(spec.names, start=1):
            if name:
                dataset.set_band_description(band, name)
        if spec.tags:
            dataset.update_tags(**spec.tags)
        if spec.gcps:
            points = [
                GroundControlPoint(col=col, row=row, x=x, y=y, z=z)
                for col, row, x, y, z in spec.gcps
            ]
            dataset.gcps = (points, None if spec.crs is None else _gdal_crs(spec.crs))
        if spec.rpc:
            dataset.update_tags(ns="RPC", **spec.rpc)

    def _levels(self) -> list[int]:
        """The factors of the overviews: until one is no larger than a tile."""
        longest = max(self.spec.size)
        count = 0
        while longest / 2**count > self.options.tile:
            count += 1
        return [2 << level for level in range(count)]

    def _add_overviews(self, factors: list[int]) -> None:
        import rasterio
        from rasterio.enums import Resampling

        kind = Resampling.average if self.options.smooth else Resampling.nearest
        # Overviews do not take over the level that the file was begun with.
        with rasterio.Env(ZLEVEL_OVERVIEW="1"), rasterio.open(self._partial, "r+") as dataset:
            dataset.build_overviews(factors, kind)

    def _make_cog(self) -> None:
        import rasterio.shutil

        options = self.options
        settings = {
            "COMPRESS": options.compression.upper(),
            "BLOCKSIZE": str(options.tile),
            "BIGTIFF": "IF_SAFER",
            "OVERVIEW_RESAMPLING": "AVERAGE" if options.smooth else "NEAREST",
        }
        if options.compression == "jpeg":
            settings["QUALITY"] = str(options.quality)
        elif options.compression != "none":
            settings["PREDICTOR"] = "YES"
        settings |= {name.upper(): text for name, text in options.creation.items()}
        rasterio.shutil.copy(self._partial, self._second, driver="COG", **settings)
        self._second.replace(self._partial)


def _check(spec: RasterSpec, options: RasterOptions) -> None:
    dtype, shown = np.dtype(spec.dtype), spec.shown
    problems = {
        f"{spec.bands} bands of {spec.size.width} x {spec.size.height} pixels": spec.bands < 1
        or min(spec.size) < 1,
        f"values of type {dtype}": dtype.kind not in "uif" or dtype == np.float16,
        f"{len(shown)} colours for {spec.bands} bands": len(shown) != spec.bands,
        f"{len(spec.names)} names for {spec.bands} bands": len(spec.names) > spec.bands,
        f"tiles of {options.tile} (a multiple of 16)": options.tile < 16 or options.tile % 16 != 0,
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


def _compressed(options: RasterOptions, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Creation options of GTiff. Predictors: differences of whole numbers, of floats' bytes."""
    if options.compression == "none":
        return {}
    if options.compression == "jpeg":
        return {"compress": "jpeg", "jpeg_quality": options.quality}
    # After the predictor deflate's level 1 is within 4 % of its level 6, in a third of the time.
    level = {"zlevel": 1} if options.compression == "deflate" else {}
    return {"compress": options.compression, "predictor": 3 if dtype.kind == "f" else 2} | level


def _lower(creation: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in creation.items()}


def _whole(size: Size) -> Window:
    return Window(col=0, row=0, width=size.width, height=size.height)


def _gdal_crs(crs: CRS) -> Any:
    import rasterio

    return rasterio.CRS.from_wkt(crs.to_wkt(WktVersion.WKT2_2019))


def _close_quietly(dataset: Any) -> None:
    """Close what is given up anyway."""
    with contextlib.suppress(*gdal_errors()):
        dataset.close()


def _require_whole(path: Path, levels: int) -> None:
    """Raise OSError when tiles or overviews are missing, or tiles reach beyond the file's end.

    Where the disk is full GDAL's last writes, on closing, may go nowhere without an error.
    """
    from tifffile import TiffFile, TiffFileError

    nbytes = path.stat().st_size
    try:
        with TiffFile(path) as file:
            pages = [page.aspage() for page in file.pages]
    except TiffFileError as error:
        raise OSError(f"its header is damaged ({error})") from error
    if len(pages) <= levels:
        raise OSError("its overviews are missing")
    for page in pages:
        tiles = zip(page.dataoffsets, page.databytecounts, strict=True)
        if not all(count and offset + count <= nbytes for offset, count in tiles):
            raise OSError("it ends before its last tile")
