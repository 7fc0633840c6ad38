"""Files beside a picture that say where it lies: world files, .prj, .aux.xml.

World files count from the CENTRE of the first pixel, all else here from its outer corner. Sources:
https://gdal.org/en/stable/drivers/raster/wld.html, GDAL's pam.xsd.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from pyproj import CRS
from pyproj.enums import WktVersion
from pyproj.exceptions import CRSError

from attachtrans.errors import ArgumentError, CrsError, GeorefError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.stores.durable import replace_file

AUX = ".aux.xml"
PRJ = ".prj"
_WORLD = ".wld"
_LARGEST = 4 << 20
"""Bytes of a file that is read as text; some .aux.xml hold tables of millions of classes."""


class Ratios(NamedTuple):
    """Pixels of a result per pixel of its photo, along the stored columns and rows."""

    across: float
    down: float


def world_ending(ending: str) -> str:
    """The ending of the world file of pictures with an ending: ".jpg" -> ".jgw"."""
    letters = ending.lower().lstrip(".")
    return f".{letters[0]}{letters[-1]}w" if letters else _WORLD


def write_world_file(image: Path, affine: PixelToMap, crs: CRS | None = None) -> tuple[Path, ...]:
    """Write a picture's world file, and its CRS into a .prj; gives the files written.

    Raises:
        CrsError: the CRS cannot be said in the WKT that .prj files hold.
        OSError: a file cannot be written.
    """
    world = image.with_suffix(world_ending(image.suffix))
    replace_file(world, world_text(affine).encode("ascii"))
    if crs is None:
        return (world,)
    try:
        wkt = crs.to_wkt(WktVersion.WKT1_ESRI)
    except CRSError as error:
        raise CrsError(f"{crs.name} cannot be said in a .prj file: {error}") from error
    projection = image.with_suffix(PRJ)
    replace_file(projection, wkt.encode())
    return world, projection


def world_text(affine: PixelToMap) -> str:
    """The six lines of a world file."""
    x, y = affine.to_map(np.array([[0.5], [0.5]]))[:, 0]
    numbers = (affine.a, affine.d, affine.b, affine.e, float(x), float(y))
    return "".join(f"{number!r}\n" for number in numbers)


def read_world_text(text: str) -> PixelToMap:
    """The transform from outer-corner pixels that a world file holds.

    Raises:
        GeorefError: it is none.
    """
    try:
        a, d, b, e, x, y = (float(word) for word in text.split()[:6])
        return PixelToMap.read((a, b, x - (a + b) / 2.0, d, e, y - (d + e) / 2.0))
    except (ValueError, ArgumentError) as error:
        raise GeorefError(f"it is no world file ({error})") from error


def sidecars_of(image: Path) -> list[Path]:
    """The files beside a picture that say where it lies, as far as there are any."""
    letters = image.suffix.lower()
    endings = [world_ending(letters), f"{letters}w", _WORLD, PRJ]
    names = [image.name + AUX, *(image.stem + ending for ending in endings)]
    names += [image.stem + ending.upper() for ending in endings]
    found = {name: image.with_name(name) for name in names}
    return [path for path in found.values() if path.is_file()]


def sidecar_for(sidecar: Path, image: Path, result: Path) -> Path:
    """What a picture's sidecar is called beside a result."""
    if sidecar.name == image.name + AUX:
        return result.with_name(result.name + AUX)
    ending = sidecar.suffix
    by_format = ending.lower() not in (_WORLD, PRJ)
    if by_format and world_ending(image.suffix) != world_ending(result.suffix):
        ending = world_ending(result.suffix)
    return result.with_name(result.stem + ending)


def rescaled(sidecar: Path, ratios: Ratios) -> bytes:
    """A sidecar for the same picture with other values, and maybe another number of pixels.

    Raises:
        GeorefError: it is damaged, or says things that cannot be rescaled.
        OSError: it cannot be read.
    """
    if sidecar.suffix.lower() == PRJ:
        return sidecar.read_bytes()
    if sidecar.stat().st_size > _LARGEST:
        raise GeorefError(f"it has more than {_LARGEST >> 20} MB")
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    if sidecar.name.lower().endswith(AUX):
        return _rescaled_aux(text, ratios)
    return world_text(_scaled(read_world_text(text), ratios)).encode("ascii")


def _scaled(t: PixelToMap, ratios: Ratios) -> PixelToMap:
    """The same area with other pixels; the outer corner stays."""
    across, down = ratios
    numbers = (t.a / across, t.b / down, t.c, t.d / across, t.e / down, t.f)
    return PixelToMap.read(numbers)


def _rescaled_aux(text: str, ratios: Ratios) -> bytes:
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat bounds the expansion of entities
        if root.find(".//GeodataXform") is not None and ratios != (1.0, 1.0):
            raise GeorefError("it holds a transformation by ArcGIS, which cannot be rescaled")
        for change in _CHANGES:
            change(root, ratios)
    except (ET.ParseError, ValueError, KeyError, ArgumentError) as error:
        raise GeorefError(f"it is damaged ({error})") from error
    return ET.tostring(root, encoding="unicode").encode()


def _rescale_transform(root: ET.Element, ratios: Ratios) -> None:
    for element in root.iter("GeoTransform"):
        c, a, b, f, d, e = (float(word) for word in (element.text or "").split(","))
        t = _scaled(PixelToMap.read((a, b, c, d, e, f)), ratios)
        element.text = ", ".join(repr(number) for number in (t.c, t.a, t.b, t.f, t.d, t.e))


def _rescale_points(root: ET.Element, ratios: Ratios) -> None:
    for element in root.iter("GCP"):
        for name, ratio in zip(("Pixel", "Line"), ratios, strict=True):
            element.set(name, repr(float(element.attrib[name]) * ratio))


def _rescale_rpc(root: ET.Element, ratios: Ratios) -> None:
    for domain in root.iter("Metadata"):
        if domain.get("domain") != "RPC":
            continue
        items = {item.attrib["key"].upper(): item for item in domain.iter("MDI")}
        model = RpcModel.from_tags({name: item.text or "" for name, item in items.items()})
        for name, text in model.scaled(*ratios).to_tags().items():
            if name in items:
                items[name].text = text


def _drop_statistics(root: ET.Element, ratios: Ratios) -> None:
    """Statistics and histograms are those of the photo's values."""
    del ratios
    for parent in root.iter():
        for child in list(parent):
            key = child.get("key", "") if child.tag == "MDI" else ""
            if child.tag == "Histograms" or key.startswith("STATISTICS_"):
                parent.remove(child)


_CHANGES: tuple[Callable[[ET.Element, Ratios], None], ...] = (
    _rescale_transform,
    _rescale_points,
    _rescale_rpc,
    _drop_statistics,
)
