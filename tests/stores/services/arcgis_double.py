"""A small ArcGIS Server: an image service and two map services over rasters on disk.

Written after Esri's public documentation of its REST API (Image Service, Export Image, Query,
Map Service, Export Map, Map Tile): parameters, their defaults and the shape of answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform_bounds

from tests.stores.services.loopback import CELL, EDGE, ZOOM, Reply, Request, png

_KINDS = {"uint8": "U8", "uint16": "U16", "int16": "S16", "float32": "F32"}
_INTERPOLATIONS = {
    "RSP_NearestNeighbor": Resampling.nearest,
    "RSP_BilinearInterpolation": Resampling.bilinear,
    "RSP_CubicConvolution": Resampling.cubic,
}


@dataclass
class ArcGis:
    """Answers under /rest/services: NAME/ImageServer, NAME/MapServer.

    rasters  of the catalog, the last one on top; the first one says bands, type and cell size
    token    that is wanted, None: none
    """

    rasters: list[Path]
    token: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    biggest: tuple[int, int] = (4100, 15000)

    def __call__(self, request: Request) -> Reply:
        if self.token is not None and request.query.get("token") != self.token:
            return error(499 if "token" not in request.query else 498, "Token Required")
        kind, _, operation = (
            request.path.partition("/rest/services/")[2].partition("/")[2].partition("/")
        )
        image = kind == "ImageServer"
        if operation == "":
            return document({**(self.image_info() if image else self.map_info()), **self.changes})
        if operation.startswith("tile/"):
            return self.tile(*map(int, operation.split("/")[1:]))
        known = {
            ("exportImage", True): self.export_image,
            ("query", True): self.query,
            ("export", False): self.export_map,
        }
        if (operation, image) not in known:
            return error(404, "Service not found")
        return known[operation, image](request.query)

    def image_info(self) -> dict[str, Any]:
        boxes = []
        for path in self.rasters:
            with rasterio.open(path) as dataset:
                boxes.append(dataset.bounds)
        with rasterio.open(self.rasters[0]) as dataset:
            info = {
                "currentVersion": 11.1,
                "pixelSizeX": dataset.res[0],
                "pixelSizeY": dataset.res[1],
                "bandCount": dataset.count,
                "pixelType": _KINDS[dataset.dtypes[0]],
                "noDataValue": dataset.nodata,
                "extent": extent_of(boxes, dataset.crs.to_epsg()),
                "copyrightText": "Somebody",
            }
        return {
            **info,
            "maxImageHeight": self.biggest[0],
            "maxImageWidth": self.biggest[1],
            "capabilities": "Image,Catalog,Metadata",
            "fields": [
                {"name": "OBJECTID"},
                {"name": "Name"},
                {"name": "LowPS"},
                {"name": "Category"},
            ],
        }

    def map_info(self) -> dict[str, Any]:
        with rasterio.open(self.rasters[0]) as dataset:
            extent = extent_of([dataset.bounds], 3857)
        levels = [
            {"level": zoom, "resolution": CELL * 2 ** (ZOOM - zoom), "scale": 591657527.6 / 2**zoom}
            for zoom in range(20)
        ]
        return {
            "currentVersion": 11.1,
            "singleFusedMapCache": True,
            "tileInfo": {
                "rows": 256,
                "cols": 256,
                "format": "MIXED",
                "origin": {"x": -EDGE, "y": EDGE},
                "spatialReference": {"wkid": 102100, "latestWkid": 3857},
                "lods": levels,
            },
            "minScale": levels[0]["scale"],
            "maxScale": levels[ZOOM]["scale"],
            "fullExtent": extent,
            "layers": [{"id": 0, "name": "Photos"}, {"id": 3, "name": "Inverted"}],
            "capabilities": "Map,Query,Data",
            "maxImageHeight": self.biggest[0],
            "maxImageWidth": self.biggest[1],
        }

    def export_image(self, query: Mapping[str, str]) -> Reply:
        paths = self.rasters
        if "mosaicrule" in query:
            rule = json.loads(query["mosaicrule"])
            if rule["mosaicMethod"] != "esriMosaicLockRaster":
                return error(400, "Invalid or missing input parameters.")
            paths = [self.rasters[number - 1] for number in rule["lockRasterIds"]]
        grid = self.grid(query)
        if isinstance(grid, Reply):
            return grid
        if query.get("adjustaspectratio", "true") != "false":
            return error(400, "this double does not adjust")
        how = _INTERPOLATIONS[query.get("interpolation", "RSP_BilinearInterpolation")]
        pixels, mask = mosaic(paths, *grid, how)
        if query.get("format") != "tiff":
            return error(400, "this double exports tiff")
        nodata = float(query["nodata"]) if "nodata" in query else None
        return Reply(tiff(pixels, mask, grid, nodata), media="image/tiff")

    def export_map(self, query: Mapping[str, str]) -> Reply:
        grid = self.grid(query)
        if isinstance(grid, Reply):
            return grid
        pixels, mask = mosaic(self.rasters, *grid, Resampling.nearest)
        if query.get("layers") == "show:3":
            pixels = 255 - pixels
        if query.get("transparent") != "true" or query.get("format") != "png32":
            return error(400, "this double exports png32")
        return Reply(png(np.concatenate([pixels, mask[None]])))

    def grid(self, query: Mapping[str, str]) -> tuple[str, rasterio.Affine, int, int] | Reply:
        west, south, east, north = map(float, query["bbox"].split(","))
        width, height = map(int, query["size"].split(","))
        if height > self.biggest[0] or width > self.biggest[1]:
            return error(400, "The requested image exceeds the size limit.")
        if query["bboxsr"] != query["imagesr"]:
            return error(400, "this double does not move boxes")
        sr = query["imagesr"]
        crs = f"EPSG:{sr}" if sr.isdecimal() else json.loads(sr)["wkt"]
        return (
            crs,
            rasterio.Affine((east - west) / width, 0, west, 0, (south - north) / height, north),
            width,
            height,
        )

    def query(self, query: Mapping[str, str]) -> Reply:
        numbers = range(1, len(self.rasters) + 1)
        if "objectids" in query:
            numbers = [int(number) for number in query["objectids"].split(",")]
        features = []
        for number in numbers:
            with rasterio.open(self.rasters[number - 1]) as dataset:
                left, bottom, right, top = dataset.bounds
                epsg, cell = dataset.crs.to_epsg(), dataset.res[0]
            if "geometry" in query:
                box = transform_bounds(
                    f"EPSG:{query['insr']}",
                    f"EPSG:{epsg}",
                    *map(float, query["geometry"].split(",")),
                )
                if box[0] > right or box[2] < left or box[1] > top or box[3] < bottom:
                    continue
            ring = [[left, bottom], [left, top], [right, top], [right, bottom], [left, bottom]]
            name = self.rasters[number - 1].stem
            fields = {"OBJECTID": number, "Name": name, "LowPS": cell, "Category": 1}
            features.append({"attributes": fields, "geometry": {"rings": [ring]}})
        if query.get("returnidsonly") == "true":
            ids = [feature["attributes"]["OBJECTID"] for feature in features]
            return document({"objectIdFieldName": "OBJECTID", "objectIds": ids or None})
        return document(
            {
                "objectIdFieldName": "OBJECTID",
                "spatialReference": {"wkid": epsg},
                "features": features,
            }
        )

    def tile(self, level: int, row: int, col: int) -> Reply:
        cell = CELL * 2 ** (ZOOM - level)
        transform = rasterio.Affine(
            cell, 0, -EDGE + col * 256 * cell, 0, -cell, EDGE - row * 256 * cell
        )
        pixels, mask = mosaic(self.rasters, "EPSG:3857", transform, 256, 256, Resampling.nearest)
        if not mask.any():
            return Reply(b"", status=404)
        return Reply(png(np.concatenate([pixels, mask[None]])))


def mosaic(
    paths: list[Path],
    crs: str,
    transform: rasterio.Affine,
    width: int,
    height: int,
    how: Resampling,
) -> tuple[np.ndarray, np.ndarray]:
    out: np.ndarray | None = None
    seen = np.zeros((height, width), np.uint8)
    for path in paths:
        with rasterio.open(path) as dataset:
            pixels, mask = dataset.read(), dataset.dataset_mask()
            place = {"src_transform": dataset.transform, "src_crs": dataset.crs}
        place |= {"dst_transform": transform, "dst_crs": crs}
        drawn = np.zeros((pixels.shape[0], height, width), pixels.dtype)
        there = np.zeros((height, width), np.uint8)
        reproject(pixels, drawn, resampling=how, **place)
        reproject(mask, there, resampling=Resampling.nearest, **place)
        out = drawn if out is None else np.where(there > 0, drawn, out)
        seen |= there
    assert out is not None
    return out, seen


def tiff(
    pixels: np.ndarray,
    mask: np.ndarray,
    grid: tuple[str, rasterio.Affine, int, int],
    nodata: float | None,
) -> bytes:
    crs, transform, width, height = grid
    profile = {"driver": "GTiff", "count": pixels.shape[0], "dtype": pixels.dtype, "crs": crs}
    if nodata is not None:
        pixels = np.where(mask > 0, pixels, pixels.dtype.type(nodata))
    with MemoryFile() as file:
        with file.open(
            **profile, transform=transform, width=width, height=height, nodata=nodata
        ) as dataset:
            dataset.write(pixels)
            if nodata is None:
                dataset.write_mask(mask)
        return file.read()


def extent_of(boxes: list[Any], epsg: int) -> dict[str, Any]:
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return {
        "xmin": min(lefts),
        "ymin": min(bottoms),
        "xmax": max(rights),
        "ymax": max(tops),
        "spatialReference": {"wkid": epsg, "latestWkid": epsg},
    }


def document(content: Mapping[str, Any]) -> Reply:
    return Reply(json.dumps(content).encode(), media="application/json;charset=utf-8")


def error(code: int, message: str) -> Reply:
    """Errors come with status 200."""
    return document({"error": {"code": code, "message": message, "details": []}})
