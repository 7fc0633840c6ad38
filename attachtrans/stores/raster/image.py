"""A raster open for reading: windows, masks, what its header says, and where it lies."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.frame import read_crs
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.ground.base import Ground
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.geo.view import Gcps, Georef, Grid, Rpc
from attachtrans.types import Size, Window

Masked = np.ma.MaskedArray[Any, Any]
T = TypeVar("T")
_MOST_NAMES = 20
_IN_ARCHIVE = re.compile(r"^(?:/vsi(?:zip|tar|gzip|7z|rar)/)+\{?", re.IGNORECASE)
_LEAST_CACHE, _MOST_CACHE = 32_000_000, 512_000_000


class RasterImage:
    """A `Raster` over a file; made by `open_raster`. Thread-safe: one read at a time.

    path          of the file, as GDAL names it
    size          of the whole image
    block         of the tiles or strips that it is stored in
    bands, dtype  of what `read` gives; bands of several types come in one that holds them all
    nodata        value of the first band that means no data, None when there is none
    colours       what each band shows, in GDAL's words: "red", "gray", "alpha", "undefined" ...
    names         of the bands, None where one has none
    units         of each band's values ("metre", "ft"), None where it says nothing
    scaling       (factor, offset) by which each band's values become quantities
    tags          of the dataset, by name
    crs           of `transform` or `gcps`, None when it is not said or is local
    transform     of outer-corner pixels, None when the file has none
    gcps          (4, N) ground control points: col and row from the outer corner, x and y
    gcp_heights   (N,) of those; 0 where the file says nothing
    rpc           GDAL's "RPC" metadata, empty when there is none; from a file beside it, too
    """

    def __init__(self, dataset: Any) -> None:
        """Take over an open rasterio dataset."""
        self._dataset = dataset
        self._lock = Lock()
        self.path = Path(dataset.name)
        self.name: str = dataset.name
        self.size = Size(dataset.width, dataset.height)
        height, width = dataset.block_shapes[0]
        self.block = Size(width, height)
        self.bands: int = dataset.count
        self.dtype: np.dtype[Any] = np.result_type(*(np.dtype(name) for name in dataset.dtypes))
        self.nodata: float | None = dataset.nodata
        self.colours: tuple[str, ...] = tuple(kind.name for kind in dataset.colorinterp)
        self.names: tuple[str | None, ...] = dataset.descriptions
        self.units: tuple[str | None, ...] = tuple(unit or None for unit in dataset.units)
        self.scaling = tuple(zip(dataset.scales, dataset.offsets, strict=True))
        self.tags: Mapping[str, str] = dataset.tags()
        points, gcp_crs = dataset.gcps
        self.gcps = np.array([(p.col, p.row, p.x, p.y) for p in points], dtype=np.float64).T
        self.gcp_heights = np.array([p.z or 0.0 for p in points], dtype=np.float64)
        self.rpc: Mapping[str, str] = dataset.tags(ns="RPC")
        self.crs = _crs(gcp_crs if points else dataset.crs)
        # GDAL has no word for "none": a file without a transform says that of its own pixels.
        self.transform = (
            None if dataset.transform.is_identity else PixelToMap.read(tuple(dataset.transform)[:6])
        )

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """(bands, height, width) as stored, of the whole image or of a window within it.

        bands are numbers from 1, in the order wanted; None: all.

        Raises:
            ArgumentError: the window reaches out of the image.
            SourceError: the file is damaged there.
        """
        chosen = None if bands is None else list(bands)
        return self._read(window, lambda data, place: np.asarray(data.read(chosen, window=place)))

    def read_band(
        self, band: int, window: Window | None = None, *, size: Size | None = None
    ) -> Masked:
        """(height, width) of one band (from 1), masked where there is no data.

        Args:
            band: its number, from 1.
            window: see `read`.
            size: the result has this size instead: averages, taken from overviews where the file
                has some.

        Raises:
            ArgumentError, SourceError: see `read`.
        """
        from rasterio.enums import Resampling

        shape = None if size is None else (size.height, size.width)

        def read(data: Any, place: Any) -> Masked:
            values: Masked = data.read(
                band, window=place, out_shape=shape, masked=True, resampling=Resampling.average
            )
            return values

        return self._read(window, read)

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """(height, width): 0 where there is no data, 255 where there is; alpha where it is that.

        From the alpha band, the file's mask, or nodata in all bands, whichever it has.

        Raises:
            ArgumentError, SourceError: see `read`.
        """

        def read(data: Any, place: Any) -> NDArray[np.uint8]:
            mask: NDArray[np.uint8] = data.dataset_mask(window=place)
            return mask

        return self._read(window, read)

    def reduced(self, factor: float) -> RasterImage | None:
        """The coarsest overview whose pixels are at most `factor` times as large, open.

        None where there is none. The caller closes it.

        Raises:
            SourceError: it cannot be opened.
        """
        import rasterio

        factors = self._dataset.overviews(1)
        fitting = [level for level, size in enumerate(factors) if size <= factor]
        if not fitting:
            return None
        try:
            with quiet():
                return RasterImage(rasterio.open(self.name, overview_level=fitting[-1]))
        except gdal_errors() as error:
            raise SourceError(f"{self.path}: its overviews cannot be read: {error}") from error

    @property
    def has_mask(self) -> bool:
        """Whether it says which pixels have data: by nodata, a mask or an alpha band."""
        from rasterio.enums import MaskFlags

        return any(MaskFlags.all_valid not in flags for flags in self._dataset.mask_flag_enums)

    @property
    def says_by_value(self) -> bool:
        """Whether a whole number as nodata says it all, so that `read_mask` knows nothing more."""
        from rasterio.enums import MaskFlags

        flags, values = self._dataset.mask_flag_enums, self._dataset.nodatavals
        return (
            self.dtype.kind in "iu"
            and "alpha" not in self.colours
            and all(band == [MaskFlags.nodata] for band in flags)
            and len(set(values)) == 1
        )

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """(N, 4) red, green, blue and opacity of the numbers in the first band; None: it has none.

        Raises:
            SourceError: the file is damaged.
        """
        if self.colours[0] != "palette":
            return None
        colours = self._read(None, lambda data, _: data.colormap(1))
        table = np.zeros((max(colours) + 1, 4), np.uint8)
        table[list(colours)] = list(colours.values())
        return table

    def _read(self, window: Window | None, read: Callable[[Any, Any], T]) -> T:
        place = None if window is None else gdal_window(window, self.size)
        try:
            with self._lock:
                return read(self._dataset, place)
        except gdal_errors() as error:
            # What rasterio raises points to GDAL's own words, which name the damaged part.
            reason = error.__cause__ or error
            raise SourceError(f"{self.path}: cannot be read: {reason}") from error

    def georef(self, ground: Ground | None = None, *, crs: CRS | None = None) -> Georef | None:
        """Where the image lies: by its transform, its RPC or its control points, in this order.

        None when it has none of them, or does not say in which CRS. Scenes that have an RPC and
        a few control points (for `Rpc.corrected`) are placed by the RPC.

        Args:
            ground: for an RPC: under the scene, in `crs`; None: flat at the RPC's mean height,
                which is where GDAL and QGIS put it.
            crs: of a file that has a transform and does not say in which system; of the ground
                and the map coordinates of an RPC, None: WGS 84.

        Raises:
            GeorefError: the control points or the RPC are damaged.
        """
        system = self.crs or crs
        if self.transform is not None:
            return None if system is None else Grid(self.transform, self.size, system)
        if self.rpc:
            model = RpcModel.from_tags(self.rpc)
            under = FlatGround(model.height_off) if ground is None else ground
            return Rpc(model, self.size, under, crs or CRS.from_epsg(4326))
        if self.gcps.size and system is not None:
            return Gcps(self.gcps, self.size, system)
        return None

    def fingerprint(self) -> str:
        """See `Raster`: of the paths, sizes and times of its files."""
        name, files = self.name, [str(file) for file in self._dataset.files]
        if files and Path(files[0]).exists():  # the same by any path that leads there
            name = name.replace(files[0], str(Path(files[0]).resolve()), 1)
        found = hashlib.sha256(name.encode())
        for file in sorted(files):
            found.update(_stamp(file).encode())
        return found.hexdigest()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_raster(path: str | os.PathLike[str]) -> RasterImage:
    """Open anything that GDAL reads; close the result after use.

    Raises:
        SourceError: it is not there, or GDAL knows no such format; it holds several rasters.
    """
    import rasterio

    try:
        with quiet():
            dataset = rasterio.open(path)
            if dataset.count:
                return RasterImage(dataset)
            with dataset:
                names = dataset.subdatasets
    except gdal_errors() as error:
        raise SourceError(f"{path}: cannot be opened as a raster: {error}") from error
    if not names:
        raise SourceError(f"{path}: there is no raster in it")
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    raise SourceError(f"{path} holds {len(names)} rasters; name one of them: {shown}")


def gdal_window(window: Window, size: Size) -> Any:
    """A window for rasterio.

    Raises:
        ArgumentError: it reaches out of the image.
    """
    from rasterio.windows import Window as GdalWindow

    right, bottom = window.col + window.width, window.row + window.height
    if min(window.col, window.row) < 0 or right > size.width or bottom > size.height:
        raise ArgumentError(f"{window} reaches out of an image of {size.width} x {size.height}")
    return GdalWindow(window.col, window.row, window.width, window.height)


@contextmanager
def bounded_cache(nbytes: int = 0) -> Iterator[None]:
    """Let GDAL keep so many bytes of decoded blocks, 32 to 512 MB, where it takes 5 % of RAM."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=min(max(nbytes, _LEAST_CACHE), _MOST_CACHE)):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Plain pictures are no surprise here: they have no georeference."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _stamp(file: str) -> str:
    """A file's path, size and time; those of the archive that it is in; of an address, itself."""
    place = Path(_IN_ARCHIVE.sub("", file))
    for path in (place, *place.parents):
        if path.is_file():
            status = path.stat()
            return f"{path.resolve()} {place.name} {status.st_size} {status.st_mtime_ns}"
    return file


def _crs(found: Any) -> CRS | None:
    if not found:
        return None
    try:
        return read_crs(found.to_wkt(version="WKT2_2019"))
    except CrsError:  # a site's own axes: nothing to transform from
        return None


def gdal_errors() -> tuple[type[Exception], ...]:
    """What rasterio raises, GDAL's own errors included (which have no public name there)."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return RasterioError, CPLE_BaseError, OSError
