"""GDAL's virtual rasters as collections: the files that they are made of.

Source: https://gdal.org/en/stable/drivers/raster/vrt.html and gdalvrt.xsd.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from attachtrans.errors import SourceError
from attachtrans.stores.mosaics.base import Contents, Entry
from attachtrans.stores.mosaics.listing import is_network

_SOURCES = frozenset({"SimpleSource", "ComplexSource", "AveragedSource", "NoDataFromMaskSource"})


def is_vrt_mosaic(path: Path) -> bool:
    """Whether one band of a VRT is made of several files.

    A VRT that warps, sharpens, cuts or restacks the bands of a file is a raster like any other.
    """
    first: set[str] = set()
    try:
        for band, text in _sources(path):
            if band > 1:
                return False
            first.add(text)
            if len(first) > 1:
                return True
    except SourceError:
        pass  # whoever opens it as a raster says what is wrong
    return False


def read_vrt(path: Path) -> Contents:
    """The files of a VRT's first band; their order is the one in which GDAL draws them.

    Of other bands those on a network, too, which nobody is to read by surprise.

    Raises:
        SourceError: it is no VRT.
    """
    found = [Entry(text=text) for band, text in _sources(path) if band == 1 or is_network(text)]
    return Contents(entries=found, ordered=True)


def _sources(path: Path) -> Iterator[tuple[int, str]]:
    """(number of the band, path of a file) for all that VRTs are made of."""
    band = 0
    try:
        for event, element in ET.iterparse(path, events=("start", "end")):  # noqa: S314 - see expat
            if event == "start":
                if element.tag == "VRTDataset" and element.get("subClass"):
                    return
                band += element.tag == "VRTRasterBand"
            elif element.tag in _SOURCES:
                name = element.find("SourceFilename")
                if name is not None and name.text:
                    relative = name.get("relativeToVRT", "0") == "1"
                    text = name.text.strip()
                    yield band, text if relative else _absolute(text)
                element.clear()
    except (ET.ParseError, OSError) as error:
        raise SourceError(f"{path}: cannot be read as a VRT: {error}") from error


def _absolute(text: str) -> str:
    """A path that is relative to the folder the program runs in, as GDAL takes it."""
    here = Path(text)
    return str(here.absolute()) if here.exists() else text
