"""Rasters written window by window, complete or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, SinkError
from attachtrans.stores.durable import temporary_for
from attachtrans.stores.raster.drivers import check_writable
from attachtrans.stores.raster.finishing import complete, discard, writing
from attachtrans.stores.raster.image import gdal_errors, gdal_window
from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, describe, tiff_profile
from attachtrans.types import Size, Window


class RasterWriter:
    """A raster in the making; a context manager. Thread-safe: one write at a time.

    It grows under a temporary name beside `path`, as a GeoTIFF, and takes the place of `path` when
    the context ends without an error; else nothing of it stays. Windows may come in any order;
    whole tiles, row by row, are the fastest.
    """

    def __init__(self, path: Path, spec: RasterSpec, options: RasterOptions | None = None) -> None:
        """Begin the file.

        Raises:
            ArgumentError: spec and options do not fit each other, or the format.
            SinkError: the folder cannot be written.
        """
        self.path, self.spec, self.options = path, spec, options or RasterOptions()
        check_writable(path, spec, self.options)
        self._lock = Lock()
        self._partial = temporary_for(path)
        self._dataset: Any = None
        with self._working():
            self._begin()

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
        gdal_window(place, self.spec.size)
        self._put(array, place)

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
        gdal_window(place, self.spec.size)
        self._put_mask(np.where(mask, 255, 0).astype(np.uint8), place)

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            SinkError: the disk is full or gone; nothing stays.
        """
        with self._working():
            self._dataset.close()
            complete(self._partial, self.path, self.spec, self.options)

    def abort(self) -> None:
        """Leave nothing behind."""
        with self._lock:
            if self._dataset is not None and not self._dataset.closed:
                _close_quietly(self._dataset)
            discard(self._partial, self.path)

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

    def _begin(self) -> None:
        import rasterio

        profile = tiff_profile(self.spec, self.options)
        self._dataset = rasterio.open(self._partial, "w", **profile)
        describe(self._dataset, self.spec)

    def _put(self, array: NDArray[np.generic], place: Window) -> None:
        with self._working():
            self._dataset.write(array, window=gdal_window(place, self.spec.size))

    def _put_mask(self, mask: NDArray[np.uint8], place: Window) -> None:
        with self._working():
            self._dataset.write_mask(mask, window=gdal_window(place, self.spec.size))

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """GDAL's settings and the lock; see `_guarded`."""
        with self._guarded(), self._lock, writing():
            yield

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever goes wrong takes the file with it."""
        try:
            yield
        except gdal_errors() as error:
            self.abort()
            raise SinkError(
                f"{self.path} cannot be written: {error}. {self._left()} Free disk space or name "
                "another place."
            ) from error
        except BaseException:
            self.abort()
            raise

    def _left(self) -> str:
        """What is left of it after an error."""
        return "Nothing of it was kept."


def _whole(size: Size) -> Window:
    return Window(col=0, row=0, width=size.width, height=size.height)


def _close_quietly(dataset: Any) -> None:
    """Close what is given up anyway."""
    with contextlib.suppress(*gdal_errors()):
        dataset.close()
