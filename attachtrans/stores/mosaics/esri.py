"""Esri mosaic datasets in file geodatabases: recognised, and refused with the way out.

Their catalog tables (AMD_<name>_CAT: one row per raster, AMD_<name>_BND: the boundary) are feature
classes that GDAL reads, but where a raster lies is in a binary object that Esri does not describe.
Source: the page "Mosaic datasets in a geodatabase" of ArcGIS's help, for the tables' names.
"""

from __future__ import annotations

import re
from pathlib import Path

from attachtrans.errors import SourceError

_GEODATABASE, _ATTACH = ".gdb", "__ATTACH"
_TABLE = re.compile(r"AMD_(.+)_(CAT|BND|ART|LOG)", re.IGNORECASE)


def mosaic_datasets(path: Path, layer: str | None = None) -> tuple[str, ...]:
    """The mosaic datasets that a path means: a geodatabase, or one of them in it (x.gdb/name).

    A geodatabase with attachments as well is one of photos, unless `layer` says otherwise.
    """
    import fiona
    from fiona.errors import FionaError

    if path.parent.suffix.lower() == _GEODATABASE and not path.exists():
        path, layer = path.parent, path.name
    if path.suffix.lower() != _GEODATABASE or not path.is_dir():
        return ()
    try:
        layers = fiona.listlayers(path)
    except (FionaError, OSError, ValueError):
        return ()  # whoever reads its feature classes says what is wrong
    matches = (_TABLE.fullmatch(name) for name in layers)
    found = sorted({match[1] for match in matches if match is not None})
    if layer is not None:
        return tuple(name for name in found if name.casefold() == layer.casefold())
    return () if any(name.upper().endswith(_ATTACH) for name in layers) else tuple(found)


def refusal(path: Path, names: tuple[str, ...]) -> SourceError:
    """Why a mosaic dataset is not read, and what to do."""
    listed = ", ".join(names)
    return SourceError(
        f"{path}: {listed} is an Esri mosaic dataset, and the paths of its rasters are in a form "
        "that Esri does not describe. In ArcGIS run Export Mosaic Dataset Paths and join its table "
        "to the footprints, then export these as a GeoPackage or shapefile with a column of paths; "
        "or name the folder of the rasters with --mosaic"
    )
