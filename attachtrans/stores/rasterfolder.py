"""A folder as the tool's page means it: rasters and photos in one tree, each run its own way.

Which file is which is told by its beginning and its header, never by its size on disk:

- raster (streamed, in map space): a TIFF that says inside where it lies (transform, control points
  or RPC); JPEG 2000, and what `MAP_ENDINGS` lists (VRT, IMG, BIL ...); any picture of more pixels
  than a photo may have, in a format that GDAL reads by window;
- photo (held, in pixel space): every other picture: JPEG, PNG, WebP, HEIC, with GPS and with world
  file, too, and a TIFF that says nothing or has a world file only. The files beside it that say
  where it lies are rescaled and go with the result.

A tile index or a vector file in a folder is neither: its rasters would come twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from attachtrans.errors import ArgumentError, LayoutError, SinkError
from attachtrans.image.probe import probe
from attachtrans.image.sniff import BMP, GIF, JPEG, PNG, TIFF, WEBP, sniff
from attachtrans.stores.filenames import promises_image
from attachtrans.stores.folder import (
    FolderPhotos,
    files_below,
    key_of,
    link_problem,
    matches,
    open_folder,
)
from attachtrans.stores.raster.image import gdal_errors, quiet

MAX_PHOTO_PIXELS = 500_000_000
"""Above it a picture is streamed: what --max-pixels is without being given."""

MAP_ENDINGS = frozenset(
    {
        *(".vrt", ".img", ".bil", ".bip", ".bsq", ".asc", ".ntf", ".nitf", ".ecw", ".sid", ".mrf"),
        *(".rst", ".sdat", ".ers", ".hgt", ".dt0", ".dt1", ".dt2", ".pix", ".kea", ".jp2", ".j2k"),
    }
)
"""Formats of maps that are no pictures by their first bytes."""

_JPEG_2000 = frozenset({"image/jp2", "image/x-jp2-codestream"})
_BY_WINDOW = frozenset({JPEG, PNG, WEBP, BMP, GIF})
_SNIFFED = 4096
_HEAD = 256 << 10
_SUFFIX = "_translated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterFile:
    """A raster of a folder, not opened.

    key      its path below the folder, with "/"
    path     of the file
    crowded  another picture of its folder differs from it by the ending only
    problem  why it is not read, None when it is
    """

    key: str
    path: Path
    crowded: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFiles:
    """What a folder holds; not both are empty.

    photos  None when there are none
    """

    folder: Path
    rasters: tuple[RasterFile, ...]
    photos: FolderPhotos | None


def sort_folder(
    folder: Path,
    *,
    patterns: Sequence[str] = (),
    recursive: bool = True,
    limit: int | None = None,
    leave_out: Sequence[Path] = (),
    max_pixels: int = MAX_PHOTO_PIXELS,
) -> FolderFiles:
    """Tell the rasters of a folder from its photos; headers are read, no pixels.

    Args:
        folder: its path.
        patterns: see `open_folder`; for both kinds of files.
        recursive: look into folders in it.
        limit: the first so many files, of both kinds together.
        leave_out: folders that are not looked into.
        max_pixels: what has more is no photo.

    Raises:
        ArgumentError: limit below 1.
        SourceError: the folder cannot be read (LayoutError: there are neither in it).
    """
    if limit is not None and limit < 1:
        raise ArgumentError(f"--limit {limit}: give a number of files, 1 or more")
    paths = list(files_below(folder, leave_out, recursive=recursive))
    real = Path(os.path.realpath(folder))
    rasters: list[RasterFile] = []
    for path in paths:
        key = key_of(path.relative_to(folder))
        problem = link_problem(Path(os.path.realpath(path)), real)
        if problem is None and path.is_file() and is_raster(path, max_pixels):
            rasters.append(RasterFile(key=key, path=path))
        elif problem is not None and path.suffix.lower() in MAP_ENDINGS:
            rasters.append(RasterFile(key=key, path=path, problem=problem))
    found = {file.path for file in rasters}
    stems = Counter(_stem(path) for path in paths if path in found or promises_image(path.suffix))
    rasters = [
        replace(file, crowded=stems[_stem(file.path)] > 1)
        for file in rasters
        if matches(file.key, patterns)
    ]
    open_photos = partial(
        open_folder,
        folder,
        patterns=patterns,
        recursive=recursive,
        leave_out=leave_out,
        others=found,
    )
    try:
        photos: FolderPhotos | None = open_photos()
    except LayoutError:
        photos = None
    if photos is None and not rasters:
        asked = f" that match {' or '.join(patterns)}" if patterns else ""
        raise LayoutError(f"{folder}: there are no photos and no rasters{asked} in this folder")
    if limit is not None and len(rasters) + len(photos or ()) > limit:
        kept, others = _first(rasters, photos, limit)
        rasters = rasters[:kept]
        photos = open_photos(limit=others) if others else None
    return FolderFiles(folder=folder, rasters=tuple(rasters), photos=photos)


def is_raster(path: Path, max_pixels: int = MAX_PHOTO_PIXELS) -> bool:
    """Whether a file is a raster and no photo, as the module says; what cannot be read is none."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED)
            media = sniff(head)
            if media == TIFF:
                return _is_map_tiff(path, max_pixels)
            if media in _BY_WINDOW:
                size = probe(head + file.read(_HEAD)).size
                return size is not None and size.width * size.height > max_pixels
    except OSError:
        return False
    if media.is_image or media.media_type in _JPEG_2000:
        return media.media_type in _JPEG_2000
    return path.suffix.lower() in MAP_ENDINGS


def _is_map_tiff(path: Path, max_pixels: int) -> bool:
    """Whether a TIFF says inside where it lies, or is too large to be held."""
    import rasterio

    try:
        # A world file or an .aux.xml beside a photo makes no map of it.
        with (
            quiet(),
            rasterio.Env(GDAL_GEOREF_SOURCES="INTERNAL", GDAL_PAM_ENABLED=False),
            rasterio.open(path) as dataset,
        ):
            placed = not dataset.transform.is_identity or bool(dataset.gcps[0])
            if placed or dataset.tags(ns="RPC"):
                return True
            return bool(dataset.width * dataset.height > max_pixels)
    except gdal_errors():  # the photo's reader says what is wrong with it
        return False


def _first(
    rasters: Sequence[RasterFile], photos: FolderPhotos | None, limit: int
) -> tuple[int, int]:
    """How many of the rasters and of the photos are among the first files by their keys."""
    keys = [(PurePosixPath(file.key).parts, True) for file in rasters]
    keys += [(PurePosixPath(item.key).parts, False) for item in photos or ()]
    first = [is_raster for _, is_raster in sorted(keys)[:limit]]
    return first.count(True), first.count(False)


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix().casefold()


def result_path(file: RasterFile, folder: Path, output: Path, ending: str) -> Path:
    """Where a raster's result goes: the same tree and name, with the ending of its format.

    Of rasters that differ by the ending only, each keeps its own before the new one.

    Args:
        file: of `folder`.
        folder: that was sorted.
        output: folder of the results.
        ending: with its dot.
    """
    below, own = file.path.relative_to(folder), file.path.suffix
    stem = below.name if file.crowded else below.stem
    return output / below.with_name(below.name if ending == own else stem + ending)


def member_path(name: str, output: Path, ending: str) -> Path:
    """Where the result of a mosaic's member goes, by the member's name (`Member.name`)."""
    return output.joinpath(*PurePosixPath(name + ending).parts)


def make_folder_for(target: Path, output: Path) -> None:
    """Make the folder that a result goes to, below the folder of the results.

    Raises:
        SinkError: it cannot be made, or a link in it leads out.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{target.parent} cannot be made: {error}") from error
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(output)):
        raise SinkError(f"{target.parent} is a link that leads out of {output}")


def default_output(source: Path) -> Path:
    """The folder of results where none is named: `photos_translated` beside `photos`.

    The tool's page says "a folder in the project folder"; there is no project here, so it lies
    beside what was named, and the command says so.
    """
    whole = Path(os.path.abspath(source))  # noqa: PTH100 - links stay what the user named
    if whole.is_dir():
        return whole.with_name(f"{whole.name or 'rasters'}{_SUFFIX}")
    stem = whole.stem
    return whole.with_name(f"{stem.removesuffix('.gti') or stem}{_SUFFIX}")
