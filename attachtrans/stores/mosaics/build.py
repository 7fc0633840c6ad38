"""Writes GDAL's tile index of a mosaic (GTI), by which GDAL itself draws it.

GDAL resamples members, honours their nodata, masks and alpha, and opens only what a window touches;
its index of 100,000 members is a GeoPackage with an R-tree. Members in other systems, and those
that are not north up, come as views: see `warped`.
Source: https://gdal.org/en/stable/drivers/raster/gti.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from attachtrans.errors import ArgumentError, SinkError
from attachtrans.stores.mosaics.grid import MosaicGrid
from attachtrans.stores.mosaics.headers import Headers, Kind, common_nodata

_INDEX, _LAYER, _XML = "members.gpkg", "members", "mosaic.gti"
_YES = frozenset({"YES", "TRUE", "ON", "1"})
_INWARDS = 1e-3
"""Of a pixel, by which boxes are smaller than members. GDAL 3.10 gives up a read, without an error,
where a member only touches the window."""
_GDAL_TYPES = {"uint8": "Byte"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """What the mosaic's bands are.

    nodata  None where a mask or alpha says what has no data
    masked  it has a mask for the dataset
    """

    dtypes: tuple[str, ...]
    colours: tuple[str, ...]
    names: tuple[str | None, ...]
    nodata: tuple[float, ...] | None
    masked: bool


def bands_of(headers: Headers, settings: Mapping[str, str]) -> Bands:
    """The bands of the members; a tile index may say that there are fewer, of another type.

    A mosaic of members that all have alpha, or of which some have, has alpha. One whose members
    have one nodata value has that; any other has a mask, since its holes need a mark.

    Raises:
        ArgumentError: the tile index says what cannot be.
    """
    most = max(headers.kinds, key=lambda kind: len(kind.dtypes))
    names = {kind.names[: len(kind.values)] for kind in headers.kinds}
    shown = next(iter(names)) if len(names) == 1 else (None,) * len(most.values)
    nodata = common_nodata(headers)
    found = Bands(
        dtypes=most.dtypes,
        colours=most.colours,
        names=shown + (None,) * (len(most.dtypes) - len(shown)),
        nodata=None if nodata is None else (nodata,) * len(most.dtypes),
        masked=nodata is None and not most.has_alpha,
    )
    return _as_said(found, settings, most)


def _as_said(bands: Bands, settings: Mapping[str, str], most: Kind) -> Bands:
    try:
        count = int(settings.get("BANDCOUNT", len(bands.dtypes)))
        words = [word for word in settings.get("NODATA", "").split(",") if word.strip()]
        said = tuple(float(word) for word in words)
        dtype = settings.get("DATATYPE", "").lower().replace("byte", "uint8")
        dtypes = (np.dtype(dtype).name,) * count if dtype else bands.dtypes[:count]
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"the tile index's band count, type or nodata: {error}") from error
    if not 1 <= count <= len(bands.dtypes):
        raise ArgumentError(
            f"the tile index says {count} bands, and its rasters have {len(bands.dtypes)}"
        )
    nodata = said * count if len(said) == 1 else said[:count]
    masked = settings.get("MASKBAND", "").upper() in _YES
    if not said and not masked:
        alpha = most.has_alpha and count == len(bands.dtypes)
        nodata, masked = (bands.nodata or ())[:count], not alpha and bands.nodata is None
    return Bands(
        dtypes=dtypes,
        colours=bands.colours[:count],
        names=bands.names[:count],
        nodata=nodata or None,
        masked=masked,
    )


def write_index(
    folder: Path,
    paths: Sequence[str],
    order: Sequence[int],
    grid: MosaicGrid,
) -> None:
    """Write the members into a folder; `order` lists their indices, bottom first.

    Raises:
        SinkError: the folder for temporary files is full.
    """
    import pyogrio.raw

    drawn = np.asarray(order, dtype=np.int64)
    rank = np.empty(len(drawn), dtype=np.int64)
    rank[drawn] = np.arange(len(drawn))
    inwards = _INWARDS * np.array(grid.cell * 2) * (1, 1, -1, -1)
    shapes = shapely.to_wkb(shapely.box(*(grid.boxes + inwards).T))
    try:
        pyogrio.raw.write(
            folder / _INDEX,
            shapes,
            [np.array(paths, dtype=object), rank],
            ["location", "rank"],
            layer=_LAYER,
            driver="GPKG",
            geometry_type="Polygon",
            crs=grid.crs or None,
        )
    except (OSError, RuntimeError) as error:
        raise SinkError(f"{folder}: the index of the mosaic cannot be written: {error}") from error


def write_gti(folder: Path, grid: MosaicGrid, bands: Bands, resampling: str) -> Path:
    """Write the file that GDAL opens as the mosaic; gives its path."""
    root = ET.Element("GDALTileIndexDataset")
    left, top = grid.origin
    transform = (left, grid.cell[0], 0.0, top, 0.0, -grid.cell[1])
    said = {
        "IndexDataset": str(folder / _INDEX),
        "IndexLayer": _LAYER,
        "LocationField": "location",
        "SortField": "rank",
        "SRS": grid.crs,
        "GeoTransform": ",".join(map(repr, transform)),
        "XSize": str(grid.size.width),
        "YSize": str(grid.size.height),
        "Resampling": resampling,
        "MaskBand": "true" if bands.masked else "",
    }
    for tag, text in said.items():
        if text:
            ET.SubElement(root, tag).text = text
    for number, dtype in enumerate(bands.dtypes, start=1):
        kind = _GDAL_TYPES.get(dtype, dtype.title().replace("Uint", "UInt"))
        band = ET.SubElement(root, "Band", band=str(number), dataType=kind)
        name = bands.names[number - 1]
        if name:
            ET.SubElement(band, "Description").text = name
        if bands.nodata is not None:
            ET.SubElement(band, "NoDataValue").text = repr(bands.nodata[number - 1])
        ET.SubElement(band, "ColorInterp").text = bands.colours[number - 1].title()
    path = folder / _XML
    ET.ElementTree(root).write(path, encoding="utf-8")
    return path
