"""The rasters of a folder as one mosaic."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from attachtrans.errors import LayoutError
from attachtrans.image.sniff import sniff
from attachtrans.stores.folder import files_below, key_of, link_problem, matches
from attachtrans.stores.mosaics.base import Contents, Entry, MosaicChoice
from attachtrans.stores.mosaics.footprints import read_date
from attachtrans.stores.mosaics.vrt import is_vrt_mosaic
from attachtrans.stores.raster.image import gdal_errors, quiet
from attachtrans.stores.rasterfolder import MAP_ENDINGS

_SNIFFED = 4096
_ACQUIRED, _WRITTEN = "ACQUISITIONDATETIME", "TIFFTAG_DATETIME"


def read_folder(path: Path, choice: MosaicChoice) -> Contents:
    """The files of a folder that have a place on the map, by their names.

    Pictures without one (previews, photos) are left out, and VRTs of several files, whose files
    would come twice. A date is that of the acquisition, or else TIFF's.

    Raises:
        SourceError (LayoutError): it cannot be read, or holds no such rasters.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    real = Path(os.path.realpath(path))
    for file in files_below(path, recursive=choice.recursive):
        key = key_of(file.relative_to(path))
        if not matches(key, choice.patterns) or not _may_be_raster(file):
            continue
        problem = link_problem(Path(os.path.realpath(file)), real)
        if problem is not None:
            entries.append(Entry(text=str(file.absolute()), problem=problem))
        elif file.suffix.lower() == ".vrt" and is_vrt_mosaic(file):
            left_out.append(f"{key} (its files are taken)")
        else:
            placed, date = _place(file)
            if placed:
                entries.append(Entry(text=str(file.absolute()), date=date))
            else:
                left_out.append(f"{key} (no place on the map)")
    if not entries:
        raise LayoutError(f"{path}: there are no rasters with a place on the map in this folder")
    notes: tuple[str, ...] = ()
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        notes = (f"left out: {left_out[0]}{more}",)
    return Contents(entries=entries, ordered=True, notes=notes)


def _may_be_raster(path: Path) -> bool:
    if path.suffix.lower() in MAP_ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return sniff(file.read(_SNIFFED)).is_image
    except OSError:
        return False


def _place(path: Path) -> tuple[bool, datetime | None]:
    """Whether a raster has a place on the map, and its date; what cannot be opened is kept.

    The mosaic's own check names it then.
    """
    import rasterio

    try:
        with quiet(), rasterio.open(path) as dataset:
            acquired = read_date(dataset.tags(ns="IMAGERY").get(_ACQUIRED))
            date = acquired or read_date(dataset.tags().get(_WRITTEN))
            return not dataset.transform.is_identity, date
    except gdal_errors():
        return True, None
