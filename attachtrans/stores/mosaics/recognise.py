"""Tells collections of rasters from single rasters and from photos."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from attachtrans.stores.mosaics.base import MosaicChoice, MosaicKind
from attachtrans.stores.mosaics.esri import mosaic_datasets
from attachtrans.stores.mosaics.footprints import ENDINGS as VECTORS
from attachtrans.stores.mosaics.footprints import path_column_of
from attachtrans.stores.mosaics.stac import is_stac, is_stac_parquet
from attachtrans.stores.mosaics.vrt import is_vrt_mosaic
from attachtrans.stores.vectortable import PARQUET

_GTI = (".gti", ".gti.gpkg", ".gti.fgb")
_JSON = frozenset({".json", ".geojson"})


def recognise(
    source: str | os.PathLike[str], choice: MosaicChoice | None = None
) -> MosaicKind | None:
    """What collection of rasters a path is, None for a single raster, photos or anything else.

    A VRT is one where a band has several files. A vector file is one where it has polygons and a
    column whose values end like rasters (.tif, .jp2, not .jpg), or where `path_column` is given. A
    folder is one with `as_mosaic` only. A file's beginning, or a hundred rows, are read.
    """
    path, chosen = Path(source), choice or MosaicChoice()
    return next((kind for kind, test in _TESTS if test(path, chosen)), None)


def _is_gti(path: Path, _: MosaicChoice) -> bool:
    return path.name.lower().endswith(_GTI) and path.is_file()


def _is_footprints(path: Path, choice: MosaicChoice) -> bool:
    if path.suffix.lower() not in VECTORS or not path.is_file():
        return False
    return choice.path_column is not None or path_column_of(path) is not None


_TESTS: tuple[tuple[MosaicKind, Callable[[Path, MosaicChoice], bool]], ...] = (
    (MosaicKind.ESRI, lambda path, choice: bool(mosaic_datasets(path, choice.layer))),
    (MosaicKind.FOLDER, lambda path, choice: choice.as_mosaic and path.is_dir()),
    (MosaicKind.VRT, lambda path, _: path.suffix.lower() == ".vrt" and is_vrt_mosaic(path)),
    (MosaicKind.GTI, _is_gti),
    (
        MosaicKind.STAC_PARQUET,
        lambda path, _: path.suffix.lower() in PARQUET and is_stac_parquet(path),
    ),
    (MosaicKind.STAC, lambda path, _: path.suffix.lower() in _JSON and is_stac(path)),
    (MosaicKind.FOOTPRINTS, _is_footprints),
)
"""In the order of trial."""
