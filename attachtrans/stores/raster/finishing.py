"""From a written GeoTIFF to the file that was asked for: overviews, COG, other formats, its name.

All of it happens on the side; the old file of that name goes when the new one is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attachtrans.stores.durable import put_in_place, sync_folder, temporary_for
from attachtrans.stores.raster.drivers import canonical, copy_to
from attachtrans.stores.raster.image import quiet
from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, upper

_CACHE = 64_000_000
"""Bytes of blocks that GDAL keeps; its own default is a share of the machine's memory."""


@contextmanager
def writing() -> Iterator[None]:
    """GDAL's settings while a raster is written."""
    import rasterio

    # What PAM would keep would bear the temporary name.
    with quiet(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False):
        yield


def complete(first: Path, path: Path, spec: RasterSpec, options: RasterOptions) -> None:
    """Make of a closed GeoTIFF what the options ask for, and give it its name.

    `first` is gone afterwards; after an error it can be tried again.

    Raises:
        OSError: the disk is full, or the format cannot hold the raster.
    """
    driver = canonical(options.format)
    levels = _levels(spec, options) if options.overviews or driver == "COG" else []
    if driver == "GTiff":
        if levels:
            _add_overviews(first, levels, smooth=options.smooth)
        _require_whole(first, len(levels))
        _replace_sides(path, [])
        put_in_place(first, path)
        return
    room = room_for(path)
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir()
    made = room / path.name
    if driver == "COG":
        copy_to(first, made, driver, _cog_settings(options) | {"NUM_THREADS": str(options.threads)})
        _require_whole(made, len(levels))
    else:
        copy_to(first, made, driver, options.creation)
        if levels:
            _add_overviews(first, levels, smooth=options.smooth, beside=made)
    _move_all(room, path)
    first.unlink()


def discard(first: Path, path: Path) -> None:
    """Remove what an unfinished raster left."""
    first.unlink(missing_ok=True)
    _overviews_of(first).unlink(missing_ok=True)
    shutil.rmtree(room_for(path), ignore_errors=True)


def room_for(path: Path) -> Path:
    """The folder in which a file is made that brings others along, all with their final names."""
    temporary = temporary_for(path)
    return temporary.with_name(f"{temporary.name}.d")


def _levels(spec: RasterSpec, options: RasterOptions) -> list[int]:
    """The factors of the overviews: until one is no larger than a tile."""
    longest = max(spec.size)
    count = 0
    while longest / 2**count > options.side:
        count += 1
    return [2 << level for level in range(count)]


def _add_overviews(
    path: Path, factors: list[int], *, smooth: bool, beside: Path | None = None
) -> None:
    """Into a GeoTIFF; or made of it, into the .ovr file that GDAL looks for beside any other.

    Formats that cannot be updated would be held in memory and written again by rasterio.
    """
    import rasterio
    from rasterio.enums import Resampling

    kind = Resampling.average if smooth else Resampling.nearest
    # Overviews do not take over the level that the file was begun with.
    settings = {"ZLEVEL_OVERVIEW": "1", "ZSTD_LEVEL_OVERVIEW": "1", "GDAL_CACHEMAX": _CACHE}
    if beside is not None:
        _overviews_of(path).unlink(missing_ok=True)
        settings |= {"TIFF_USE_OVR": "YES", "COMPRESS_OVERVIEW": "DEFLATE"}
        settings |= {"BIGTIFF_OVERVIEW": "IF_SAFER"}
    with rasterio.Env(**settings), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(factors, kind)
    if beside is not None:
        _overviews_of(path).replace(_overviews_of(beside))


def _overviews_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.ovr")


def _cog_settings(options: RasterOptions) -> dict[str, str]:
    settings = {
        "COMPRESS": options.compression.upper(),
        "BLOCKSIZE": str(options.tile),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": "AVERAGE" if options.smooth else "NEAREST",
    }
    if options.compression == "jpeg":
        settings["QUALITY"] = str(options.quality)
    elif options.compression != "none":
        settings |= {"PREDICTOR": "YES", "LEVEL": "1"}
    if options.compression == "lzw":
        del settings["LEVEL"]
    return settings | upper(options.creation)


def _move_all(room: Path, path: Path) -> None:
    """Give a file and those beside it their place: the file that names the others comes last."""
    made = sorted(room.iterdir(), key=lambda item: item.name == path.name)
    if not made or made[-1].name != path.name:
        raise OSError(f"GDAL made no file {path.name}, only {[item.name for item in made]}")
    for item in made:
        if item.is_dir():
            raise OSError(f"the format makes folders ({item.name}); take one that makes files")
        with item.open("rb+") as file:
            os.fsync(file.fileno())
    _replace_sides(path, [item.name for item in made])
    for item in made:
        item.replace(path.with_name(item.name))
    sync_folder(path.parent)
    room.rmdir()


def _replace_sides(path: Path, coming: list[str]) -> None:
    """Remove GDAL's notes about the file that is replaced: they hold for its pixels only."""
    for ending in (".aux.xml", ".msk", ".ovr"):
        side = path.with_name(path.name + ending)
        if path.exists() and side.name not in coming:
            side.unlink(missing_ok=True)


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
