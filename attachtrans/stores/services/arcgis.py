"""ArcGIS image and map services, as Esri's REST API documents them.

Image Service, Export Image, Map Service, Export Map and Map Tile of ArcGIS REST APIs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.frame import read_crs
from attachtrans.geo.gridding import Bounds, Gridding
from attachtrans.geo.view import Grid
from attachtrans.stores.services.address import with_parameters
from attachtrans.stores.services.base import Address
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.exports import ExportService, square
from attachtrans.stores.services.ogc import authority_of, crs_of
from attachtrans.stores.services.pictures import read_json
from attachtrans.stores.services.pyramid import Pyramid, TileMatrix, TileRange
from attachtrans.stores.services.tiles import TileService
from attachtrans.types import Size

_PIXEL_TYPES = {
    **dict.fromkeys(("U1", "U2", "U4", "U8"), "uint8"),
    "S8": "int8",
    "U16": "uint16",
    "S16": "int16",
    "U32": "uint32",
    "S32": "int32",
    "F32": "float32",
    "F64": "float64",
}
_INTERPOLATIONS = {
    "nearest": "RSP_NearestNeighbor",
    "bilinear": "RSP_BilinearInterpolation",
    "cubic": "RSP_CubicConvolution",
}
_COLOURS = {"red": "red", "green": "green", "blue": "blue"}
_UNSAID = 2048
_ENDLESS = TileRange(first_col=-(2**40), first_row=-(2**40), last_col=2**40, last_row=2**40)


def ask(client: Client, url: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON document of a server.

    Raises:
        SourceError: an error, or no JSON.
    """
    asked = {**(parameters or {}), "f": "json"}
    return client.get(_url(client, url, asked), read_json, keep=False)


def _url(client: Client, url: str, parameters: Mapping[str, str]) -> str:
    token = client.access.token
    signed = {"token": token} if token else {}
    return with_parameters(url, {**parameters, **signed}.items())


def image_service(
    address: Address, asked: Gridding, client: Client, *, lock: int | None = None
) -> ExportService | TileService:
    """An image service: its pixels as they are stored, or tiles where it has nothing else.

    lock: the number of the one raster of its catalog that is wanted.

    Raises:
        SourceError: it does not answer as an image service does.
    """
    info = ask(client, address.url)
    name = client.show(address.url)
    if "tilesonly" in str(info.get("capabilities") or "").lower() and info.get("tileInfo"):
        return _tiles(address, info, client)
    extent = info.get("extent") or info.get("fullExtent") or {}
    crs = crs_of_esri(extent.get("spatialReference"), name)
    cell = _positive(info.get("pixelSizeX"))
    dtype = _PIXEL_TYPES.get(str(info.get("pixelType")))
    nodata = _nodata(info)
    parameters = {
        "format": "tiff",
        "compression": "LZ77",
        "interpolation": _INTERPOLATIONS[asked.resampling],
        "adjustAspectRatio": "false",
        "f": "image",
    }
    if dtype is not None:
        parameters["pixelType"] = str(info["pixelType"])
    if nodata is not None:
        parameters["noData"] = f"{nodata:.17g}"
    if lock is not None:
        rule = {"mosaicMethod": "esriMosaicLockRaster", "lockRasterIds": [lock]}
        parameters["mosaicRule"] = json.dumps(rule, separators=(",", ":"))
    names = _band_names(info)

    def url_of(box: Bounds, size: Size, system: CRS) -> str:
        place = _placed(box, size, system)
        return _url(client, f"{address.url}/exportImage", {**parameters, **place})

    return ExportService(
        address=address,
        name=name,
        crs=crs,
        url_of=url_of,
        draws=_north_up,
        bounds=_box(extent),
        cell=cell,
        origin=(float(extent["xmin"]), float(extent["ymax"])),
        biggest=_biggest(info),
        bands=None if dtype is None else int(info.get("bandCount") or 0) or None,
        dtype=None if dtype is None else np.dtype(dtype),
        nodata=nodata,
        names=names,
        colours=tuple(_COLOURS.get((one or "").lower(), "undefined") for one in names),
        tags=_tags(info),
    )


def map_service(address: Address, client: Client) -> ExportService | TileService:
    """A map service: its tiles where it has some, else maps, of one layer where one is named.

    Raises:
        ArgumentError: no such layer.
        SourceError: it does not answer as a map service does.
    """
    info = ask(client, address.url)
    name = client.show(address.url)
    if address.layer is None and info.get("singleFusedMapCache") and info.get("tileInfo"):
        return _tiles(address, info, client)
    extent = info.get("fullExtent") or info.get("initialExtent") or {}
    parameters = {"format": "png32", "transparent": "true", "dpi": "96", "f": "image"}
    if address.layer is not None:
        number = _layer(address.layer, info, name)
        parameters["layers"] = f"show:{number}"
        name = f"{name}/{number}"

    def url_of(box: Bounds, size: Size, system: CRS) -> str:
        place = _placed(box, size, system)
        return _url(client, f"{address.url}/export", {**parameters, **place})

    return ExportService(
        address=address,
        name=name,
        crs=crs_of_esri(extent.get("spatialReference") or info.get("spatialReference"), name),
        url_of=url_of,
        draws=lambda grid: _north_up(grid) and square(grid),  # else another box would be drawn
        bounds=_box(extent),
        biggest=_biggest(info),
        tags=_tags(info),
    )


def crs_of_esri(reference: Any, where: str) -> CRS:
    """The system of a spatialReference: {"wkid", "latestWkid"} or {"wkt"}.

    Raises:
        SourceError: there is none, or nobody knows it.
    """
    known = reference if isinstance(reference, dict) else {}
    for code in (known.get("latestWkid"), known.get("wkid")):
        for authority in ("EPSG", "ESRI"):
            if code and (crs := crs_of(f"{authority}:{code}")) is not None:
                return crs
    try:
        return read_crs(known.get("wkt") or known.get("wkt2"))
    except CrsError as error:
        raise SourceError(f"{where}: its coordinate system is not known: {reference}") from error


def esri_reference(crs: CRS) -> str:
    """A system as a server reads it: a number, or WKT in JSON."""
    authority = authority_of(crs)
    if authority is not None and authority[0] in ("EPSG", "ESRI"):
        return authority[1]
    if authority is not None and authority[1] == "CRS84":
        return "4326"
    return json.dumps({"wkt": crs.to_wkt("WKT1_ESRI")})


def _tiles(address: Address, info: Mapping[str, Any], client: Client) -> TileService:
    scheme = info["tileInfo"]
    name = client.show(address.url)
    crs = crs_of_esri(scheme.get("spatialReference"), name)
    bounds = _box(info.get("fullExtent") or info.get("extent") or {})
    # Zero, or nothing: no limit.
    coarsest, finest = (float(info.get(key) or 0.0) for key in ("minScale", "maxScale"))
    matrices = []
    for level in scheme.get("lods") or ():
        scale = float(level["scale"])
        if (coarsest and scale > coarsest * 1.001) or scale < finest * 0.999:
            continue
        matrix = TileMatrix(
            name=str(level["level"]),
            cell=float(level["resolution"]),
            origin=(float(scheme["origin"]["x"]), float(scheme["origin"]["y"])),
            tile=Size(int(scheme["cols"]), int(scheme["rows"])),
            limits=_ENDLESS,
        )
        limits = matrix.range_of(bounds, margin_px=0.0) if bounds is not None else None
        matrices.append(matrix if limits is None else matrix.within(limits))
    if not matrices or bounds is None:
        raise SourceError(f"{name}: its tile scheme has no levels, or it does not say its extent")

    def url_of(matrix: TileMatrix, col: int, row: int) -> str:
        # Without it some servers answer with a picture of "map data not yet available".
        return _url(client, f"{address.url}/tile/{matrix.name}/{row}/{col}", {"blankTile": "false"})

    return TileService(
        address=address,
        name=name,
        pyramid=Pyramid(crs=crs, matrices=tuple(matrices), bounds=bounds),
        url_of=url_of,
        tags=_tags(info),
    )


def _placed(box: Bounds, size: Size, crs: CRS) -> dict[str, str]:
    reference = esri_reference(crs)
    return {
        "bbox": ",".join(map(repr, box)),
        "bboxSR": reference,
        "imageSR": reference,
        "size": f"{size.width},{size.height}",
    }


def _layer(wanted: str, info: Mapping[str, Any], name: str) -> str:
    layers = {str(one["id"]): str(one.get("name")) for one in info.get("layers") or ()}
    for number, title in layers.items():
        if wanted in (number, title):
            return number
    listed = ", ".join(f"{number} ({title})" for number, title in layers.items())
    raise ArgumentError(f"{name} has no layer {wanted}; it has: {listed or 'none'}")


def _box(extent: Mapping[str, Any]) -> Bounds | None:
    try:
        west, south, east, north = (float(extent[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, TypeError, ValueError):
        return None
    return west, south, east, north


def _biggest(info: Mapping[str, Any]) -> Size:
    return Size(
        int(info.get("maxImageWidth") or _UNSAID), int(info.get("maxImageHeight") or _UNSAID)
    )


def _nodata(info: Mapping[str, Any]) -> float | None:
    value = info.get("noDataValue")
    several = info.get("noDataValues")
    if value is None and isinstance(several, Sequence) and several:
        value = several[0]
    return None if value is None else float(value)


def _band_names(info: Mapping[str, Any]) -> tuple[str | None, ...]:
    names = info.get("bandNames")
    if not isinstance(names, Sequence):
        return ()
    return tuple(str(name) if name else None for name in names)


def _tags(info: Mapping[str, Any]) -> dict[str, str]:
    said = str(info.get("copyrightText") or "").strip()
    return {"TIFFTAG_COPYRIGHT": said} if said else {}


def _north_up(grid: Grid) -> bool:
    return grid.affine.b == grid.affine.d == 0.0


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
