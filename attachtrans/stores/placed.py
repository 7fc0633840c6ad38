"""Files beside a picture that say where it lies: world files, .prj, .aux.xml, .camera.json.

What is in them is rescaled by `geo.carriers`. Sources: GDAL's page on world files
(https://gdal.org/en/stable/drivers/raster/wld.html) and its pam.xsd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from pyproj import CRS
from pyproj.enums import WktVersion
from pyproj.exceptions import CRSError

from attachtrans.errors import CrsError, GeorefError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.carriers import (
    scale_gcps,
    scale_geotransform,
    scale_rpc_tags,
    scale_world_file,
    world_file,
)
from attachtrans.stores.durable import replace_file
from attachtrans.stores.poses.camera_json import SUFFIX as CAMERA
from attachtrans.stores.poses.camera_json import read_camera, write_camera
from attachtrans.stores.poses.documents import read_json
from attachtrans.types import Size

AUX = ".aux.xml"
PRJ = ".prj"
_WORLD = ".wld"
_LARGEST = 4 << 20
"""Bytes of a file that is read as text; some .aux.xml hold tables of millions of classes."""


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
    replace_file(world, world_file(affine).encode("ascii"))
    if crs is None:
        return (world,)
    try:
        wkt = crs.to_wkt(WktVersion.WKT1_ESRI)
    except CRSError as error:
        raise CrsError(f"{crs.name} cannot be said in a .prj file: {error}") from error
    projection = image.with_suffix(PRJ)
    replace_file(projection, wkt.encode())
    return world, projection


def sidecars_of(image: Path) -> list[Path]:
    """The files beside a picture that say where it lies, as far as there are any."""
    letters = image.suffix.lower()
    endings = [world_ending(letters), f"{letters}w", _WORLD, PRJ]
    names = [image.name + AUX, image.name + CAMERA, *(image.stem + ending for ending in endings)]
    names += [image.stem + ending.upper() for ending in endings]
    found = {name: image.with_name(name) for name in names}
    return [path for path in found.values() if path.is_file()]


def sidecar_for(sidecar: Path, image: Path, result: Path) -> Path:
    """What a picture's sidecar is called beside a result."""
    for ending in (AUX, CAMERA):
        if sidecar.name == image.name + ending:
            return result.with_name(result.name + ending)
    ending = sidecar.suffix
    by_format = ending.lower() not in (_WORLD, PRJ)
    if by_format and world_ending(image.suffix) != world_ending(result.suffix):
        ending = world_ending(result.suffix)
    return result.with_name(result.stem + ending)


def rescaled(sidecar: Path, before: Size, after: Size) -> bytes:
    """A sidecar for the same picture with other values, and maybe another number of pixels.

    Args:
        sidecar: one of `sidecars_of` a picture.
        before: size of the picture as stored.
        after: size of the result as stored.

    Raises:
        GeorefError: it is damaged, or says things that cannot be rescaled.
        OSError: it cannot be read.
    """
    if sidecar.suffix.lower() == PRJ:
        return sidecar.read_bytes()
    if sidecar.stat().st_size > _LARGEST:
        raise GeorefError(f"it has more than {_LARGEST >> 20} MB")
    if sidecar.name.lower().endswith(CAMERA):
        return _rescaled_camera(sidecar, after)
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    if sidecar.name.lower().endswith(AUX):
        return _rescaled_aux(text, before, after)
    return scale_world_file(text, before, after).encode("ascii")


def _rescaled_camera(sidecar: Path, after: Size) -> bytes:
    try:
        found = read_camera(read_json(sidecar), sidecar)
    except SourceError as error:
        raise GeorefError(str(error)) from error
    return write_camera(replace(found, camera=found.camera.resized(after)))


def _rescaled_aux(text: str, before: Size, after: Size) -> bytes:
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat bounds the expansion of entities
        if root.find(".//GeodataXform") is not None and before != after:
            raise GeorefError("it holds a transformation by ArcGIS, which cannot be rescaled")
        for change in _CHANGES:
            change(root, before, after)
    except (ET.ParseError, ValueError, KeyError) as error:
        raise GeorefError(f"it is damaged ({error})") from error
    return ET.tostring(root, encoding="unicode").encode()


def _rescale_transform(root: ET.Element, before: Size, after: Size) -> None:
    for element in root.iter("GeoTransform"):
        numbers = [float(word) for word in (element.text or "").split(",")]
        element.text = ", ".join(map(repr, scale_geotransform(numbers, before, after)))


def _rescale_points(root: ET.Element, before: Size, after: Size) -> None:
    for element in root.iter("GCP"):
        names = ("Pixel", "Line")
        place = [[float(element.attrib[name])] for name in names]
        for name, (value,) in zip(names, scale_gcps(place, before, after).tolist(), strict=True):
            element.set(name, repr(value))


def _rescale_rpc(root: ET.Element, before: Size, after: Size) -> None:
    for domain in root.iter("Metadata"):
        if domain.get("domain") == "RPC":
            items = {item.attrib["key"]: item for item in domain.iter("MDI")}
            tags = {name: item.text or "" for name, item in items.items()}
            for name, text in scale_rpc_tags(tags, before, after).items():
                items[name].text = text


def _drop_statistics(root: ET.Element, before: Size, after: Size) -> None:
    """Statistics and histograms are those of the photo's values."""
    del before, after
    for parent in root.iter():
        for child in list(parent):
            key = child.get("key", "") if child.tag == "MDI" else ""
            if child.tag == "Histograms" or key.startswith("STATISTICS_"):
                parent.remove(child)


_CHANGES: tuple[Callable[[ET.Element, Size, Size], None], ...] = (
    _rescale_transform,
    _rescale_points,
    _rescale_rpc,
    _drop_statistics,
)
