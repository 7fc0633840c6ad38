"""GDAL's formats by name: which there are, and what they can hold, tried on a small raster."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from attachtrans.errors import ArgumentError
from attachtrans.stores.raster.image import gdal_errors, quiet
from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, check, describe, tiff_profile
from attachtrans.types import Size

_SAMPLE = Size(96, 64)
_FAILURES: tuple[type[Exception], ...] = (ValueError, IndexError, SystemError)
"""What rasterio raises besides its own errors where GDAL fails without saying why."""
_LONGEST = {"GIF": 65_535, "JPEG": 65_500, "WEBP": 16_383}
"""Pixels that a side may have, in formats of which a small sample cannot tell."""

_STRIP = 32_000_000
"""Bytes that are compared at once."""


def canonical(name: str) -> str:
    """A driver's name as GDAL writes it, from any case.

    Raises:
        ArgumentError: GDAL knows no such driver.
    """
    for known in _known():
        if known.lower() == name.lower():
            return known
    raise ArgumentError(
        f"GDAL has no driver {name!r} here; common ones: GTiff, COG, PNG, HFA, ENVI, JP2OpenJPEG"
    )


def driver_for(path: Path) -> str:
    """The driver of a file name's ending: ".tif" is GTiff, ".img" HFA, ".png" PNG.

    Raises:
        ArgumentError: no driver writes files of that ending.
    """
    from rasterio.drivers import raster_driver_extensions

    ending = path.suffix.lower().lstrip(".")
    found: str | None = raster_driver_extensions().get(ending)
    if found is None:
        raise ArgumentError(
            f"{path.name}: no raster format is known by the ending {path.suffix!r}; name one like "
            ".tif, or the format with --driver"
        )
    return found


def ending_of(driver: str) -> str:
    """The ending, with its dot, of a driver's files: ".tif" of GTiff and COG.

    Raises:
        ArgumentError: none is known.
    """
    from rasterio.drivers import raster_driver_extensions

    if driver == "COG":
        return ".tif"
    for ending, name in raster_driver_extensions().items():
        if name == driver:
            return f".{ending}"
    raise ArgumentError(f"--driver {driver}: no ending of its files is known; name an output file")


def check_writable(path: Path, spec: RasterSpec, options: RasterOptions) -> None:
    """Raise ArgumentError when the driver cannot hold such a raster, as far as that can be known.

    A raster of a few pixels with the same bands, types, georeference, nodata and creation options
    is written and read again: what it loses the large one would lose as well.
    """
    check(spec, options)
    driver = canonical(options.format)
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name a file, or remove it first")
    if max(spec.size) > _LONGEST.get(driver, max(spec.size)):
        raise ArgumentError(
            f"{driver} holds {_LONGEST[driver]} pixels in a row or column, not {max(spec.size)}; "
            "take GTiff"
        )
    if driver in {"GTiff", "COG"} and not options.creation:
        return
    with tempfile.TemporaryDirectory(prefix="attachtrans-") as folder:
        try:
            with _warnings() as said:
                lost = _rehearse(Path(folder), path.name, spec, options)
        except _FAILURES + gdal_errors() as error:
            reason = "" if isinstance(error, IndexError | SystemError) else str(error)
            raise ArgumentError(
                f"{driver} cannot hold this raster: {reason or 'GDAL fails without a reason'}. "
                "Take another --driver (GTiff holds everything) or another --co"
            ) from error
    refused = [text for text in said if "creation option" in text or "not recognised" in text]
    if refused:
        raise ArgumentError(f"--co: {'; '.join(refused)}")
    if any("clipped" in text for text in said):
        lost.append("clips its values")
    if lost:
        raise ArgumentError(
            f"{driver} cannot hold this raster: it {' and '.join(lost)}. Take another --driver "
            "(GTiff holds everything) or another --co"
        )


def copy_to(source: Path, target: Path, driver: str, creation: Mapping[str, str]) -> None:
    """Make a file of another format of a finished one, and compare them.

    What its header has no room for lies in a file beside it (.aux.xml). A full disk is no error
    to each of GDAL's drivers: some leave files that are short and read as zeros.

    Raises:
        OSError: or one of rasterio's, the format cannot hold it, or the disk is full.
    """
    import rasterio
    import rasterio.shutil

    settings = {name.upper(): text for name, text in creation.items()}
    with rasterio.Env(GDAL_PAM_ENABLED=True, GDAL_CACHEMAX=64_000_000):
        rasterio.shutil.copy(source, target, driver=driver, **settings)
        with rasterio.open(source) as first, rasterio.open(target) as made:
            if (made.count, made.shape) != (first.count, first.shape):
                raise OSError(f"{driver} made {made.count} bands of {made.shape} of it")
            if driver != "COG" and not _agree(first, made):
                raise OSError(f"the {driver} file lacks a part of it (is the disk full?)")


def _agree(first: Any, made: Any) -> bool:
    """Whether pixels are the same; of formats that lose details, whether they can all be read."""
    height, width = first.shape
    top = ((0, 1), (0, width))
    exact = _same(first.read(1, window=top), made.read(1, window=top))  # it is written first
    rows = max(1, _STRIP // (width * first.count * np.dtype(first.dtypes[0]).itemsize))
    for row in range(0, height, rows):
        window = ((row, min(row + rows, height)), (0, width))
        same = _same(first.read(window=window), made.read(window=window))
        if exact and not same:
            return False
    return True


def _same(before: Any, after: Any) -> bool:
    return np.array_equal(before, after, equal_nan=before.dtype.kind == "f")


def _rehearse(folder: Path, name: str, spec: RasterSpec, options: RasterOptions) -> list[str]:
    """What a small raster of this kind loses, in words."""
    import rasterio

    driver = canonical(options.format)
    small = replace(spec, size=_SAMPLE)
    source, target = folder / ".source.tif", folder / name
    pixels = _noise(small)
    settings = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_PAM_ENABLED": False}
    with quiet(), rasterio.Env(**settings):
        with rasterio.open(source, "w", **tiff_profile(small, options)) as dataset:
            describe(dataset, small)
            dataset.write(pixels)
            if spec.masked:
                dataset.write_mask(np.eye(*_SAMPLE[::-1], dtype=np.uint8) * 255)
        if driver == "GTiff":
            return []
        copy_to(source, target, driver, options.creation)
        with rasterio.open(source) as first:
            wanted = _facts(first)
        source.unlink()  # what only refers to it shows itself
        with rasterio.Env(GDAL_PAM_ENABLED=True), rasterio.open(target) as made:
            return _losses(wanted, _facts(made), pixels, made.read(), spec)


def _facts(dataset: Any) -> dict[str, Any]:
    return {
        "bands": dataset.count,
        "size": dataset.shape,
        "crs": dataset.crs,
        "transform": tuple(dataset.transform)[:6],
        "nodata": dataset.nodata,
        "mask": dataset.dataset_mask(),
        "gcps": [(p.col, p.row, p.x, p.y) for p in dataset.gcps[0]],
        "rpc": set(dataset.tags(ns="RPC")),
    }


def _losses(
    wanted: Mapping[str, Any],
    made: Mapping[str, Any],
    before: Any,
    after: Any,
    spec: RasterSpec,
) -> list[str]:
    lost: list[str] = []
    if (made["bands"], made["size"]) != (wanted["bands"], wanted["size"]):
        return [f"makes {made['bands']} bands on another grid of it, not {wanted['bands']}"]
    place, found = np.array(wanted["transform"]), np.array(made["transform"])
    steps = np.abs(place[[0, 1, 3, 4]]).max()
    if not np.allclose(found, place, rtol=1e-12, atol=1e-6 * steps):
        lost.append("puts it elsewhere")
    if wanted["crs"] and not made["crs"]:
        lost.append("loses the coordinate system")
    lost += [
        f"loses the {what}"
        for key, what in (("gcps", "ground control points"), ("rpc", "RPC"))
        if wanted[key] and not made[key]
    ]
    if not np.array_equal(wanted["mask"] > 0, made["mask"] > 0):
        lost.append("loses which pixels have no data")
    if spec.nodata is not None and not _same(before, after):
        lost.append("changes values a little, which would smear nodata (use a mask)")
    elif not np.can_cast(before.dtype, after.dtype) and after.dtype != before.dtype:
        lost.append(f"holds {before.dtype} as {after.dtype}")
    return lost


def _noise(spec: RasterSpec) -> Any:
    """Values all over the type's range, and nodata in a corner."""
    dtype, rng = np.dtype(spec.dtype), np.random.default_rng(0)
    shape = (spec.bands, spec.size.height, spec.size.width)
    if dtype.kind == "f":
        pixels = rng.normal(0, 1000, shape).astype(dtype)
    else:
        info = np.iinfo(dtype)
        pixels = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    if spec.nodata is not None:
        pixels[:, :20, :20] = spec.nodata
    return pixels


@cache
def _known() -> tuple[str, ...]:
    import rasterio

    with rasterio.Env() as environment:
        return tuple(environment.drivers())


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What GDAL warns of: unknown creation options are no errors to it."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage().partition(" in ")[2] or record.getMessage())

    logger, listener = logging.getLogger("rasterio"), Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
