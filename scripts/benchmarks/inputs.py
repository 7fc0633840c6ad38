"""Seeded photos, GeoPackages, rasters, and nets as models with all their facts stated.

What makes the fixtures is imported where it is used: it needs pyproj and more, which the jobs that
make no photos do without.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from fixture_parts.scenes import Pixels

QUALITY = 92
RASTER_CRS, RASTER_ORIGIN, RASTER_CELL = "EPSG:32633", (500_000, 5_400_000), 0.5
RASTER_TILE, VIRTUAL_TILE, CORNER_PX = 512, 2000, 900
WEIGHTS = {".onnx": "ONNX", ".pt": "TorchScript", ".pth": "TorchScript"}


def size_of(megapixels: float) -> tuple[int, int]:
    """(width, height) of a 4:3 photo of about so many megapixels, in whole JPEG blocks."""
    height = (megapixels * 1e6 * 3 / 4) ** 0.5
    return round(height * 4 / 3 / 16) * 16, round(height / 16) * 16


@cache
def scene(kind: str, size: tuple[int, int]) -> Pixels:
    """A rendered scene, (height, width, 3) RGB."""
    from fixture_parts.scenes import render

    return render(kind, 7, size, kind)


def photo(number: int, size: tuple[int, int]) -> bytes:
    """JPEG number so-and-so: one of six scenes; EXIF with GPS and heading makes each differ."""
    from fixture_parts.photos import exif_block, srgb_profile
    from fixture_parts.scenes import SCENES
    from fixture_parts.survey import taken

    kind = tuple(SCENES)[number % len(SCENES)]
    block = b"Exif\0\0" + exif_block(taken(kind, number, size=size), size)
    buffer = io.BytesIO()
    image = Image.fromarray(scene(kind, size))
    image.save(buffer, "JPEG", quality=QUALITY, exif=block, icc_profile=srgb_profile())
    return buffer.getvalue()


def write_files(folder: Path, photos: Iterable[bytes]) -> None:
    """Write p00.jpg, p01.jpg, ... into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(photos):
        (folder / f"p{number:02d}.jpg").write_bytes(data)


def write_geopackage(path: Path, count: int, size: tuple[int, int]) -> None:
    """A layer of points, each with one photo in its __ATTACH table."""
    from fixture_parts.geopackage import Layer, Package, Table
    from fixture_parts.survey import UTM, guid, spot
    from fixture_parts.within import ATTACH, attachment_row

    columns = {"REL_GLOBALID": "TEXT(38) NOT NULL", **ATTACH}
    features = [(n, spot(n), guid(f"asset/{n}")) for n in range(1, count + 1)]
    with Package(path) as package:
        layer = Layer(
            name="assets",
            srs_id=UTM,
            geometry_type="POINT Z",
            columns={"GlobalID": "TEXT(38) NOT NULL UNIQUE"},
            rows=features,
        )
        package.add_layer(layer)
        package.add_table(
            Table(name="assets__ATTACH", key="ATTACHMENTID", columns=columns, rows=[])
        )
        for number, _, link in features:  # one at a time: thousands need not be in memory
            attachment = f"photo {number}.jpg", photo(number, size)
            package.insert("assets__ATTACH", [attachment_row(number, link, attachment)])


def write_raster(
    path: Path, size: tuple[int, int], *, strips: bool = False, masked: bool = False
) -> None:
    """A GeoTIFF of (width, height) noisy RGB bytes, deflated, without data in its first corner.

    That corner is 0, which is nodata, or is left out by a mask in the file; it is stored in tiles
    or in strips of a few rows.
    """
    import numpy as np
    import rasterio
    from fixture_parts.scenes import SCENES
    from rasterio.windows import Window

    scenes = [scene(kind, (RASTER_TILE, RASTER_TILE)).transpose(2, 0, 1) for kind in SCENES]
    blocks = {"tiled": not strips, "blockysize": 16 if strips else RASTER_TILE}
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": size[0],
        "height": size[1],
        "count": 3,
        "dtype": "uint8",
        "photometric": "RGB",
        "compress": "deflate",
        "zlevel": 1,
        "crs": RASTER_CRS,
        "transform": (RASTER_CELL, 0, RASTER_ORIGIN[0], 0, -RASTER_CELL, RASTER_ORIGIN[1]),
        "nodata": None if masked else 0,
    }
    rng = np.random.default_rng(7)
    tops, lefts = (range(0, length, RASTER_TILE) for length in size[::-1])
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, **blocks) as out,
    ):
        for number, (top, left) in enumerate(product(tops, lefts)):
            place = Window(left, top, RASTER_TILE, RASTER_TILE).intersection(Window(0, 0, *size))
            values = scenes[number % len(scenes)][:, : place.height, : place.width]
            noise = rng.integers(-4, 5, values.shape, np.int16)
            rows, cols = np.ogrid[top : top + place.height, left : left + place.width]
            valid = rows + cols >= CORNER_PX
            out.write(
                np.where(valid, np.clip(values + noise, 1, 255), 0).astype(np.uint8), window=place
            )
            if masked:
                out.write_mask(valid, window=place)


def write_virtual(path: Path, size: tuple[int, int], rows: int) -> tuple[float, ...]:
    """A virtual raster of (width, height): one tile, written beside it, over and over.

    Gives the extent (left, bottom, right, top) of so many of its first rows.
    """
    width, height = size
    write_raster(path.with_suffix(".tif"), (VIRTUAL_TILE, VIRTUAL_TILE))
    left, top = RASTER_ORIGIN
    bands = []
    for band in (1, 2, 3):
        parts = [
            f'<SimpleSource><SourceFilename relativeToVRT="1">{path.stem}.tif</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{VIRTUAL_TILE}" ySize="{VIRTUAL_TILE}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{VIRTUAL_TILE}" ySize="{VIRTUAL_TILE}"/>'
            "</SimpleSource>"
            for row in range(0, height, VIRTUAL_TILE)
            for col in range(0, width, VIRTUAL_TILE)
        ]
        bands.append(
            f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
            f"{''.join(parts)}</VRTRasterBand>"
        )
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{RASTER_CRS}</SRS>'
        f"<GeoTransform>{left}, {RASTER_CELL}, 0, {top}, 0, -{RASTER_CELL}</GeoTransform>"
        f"{''.join(bands)}</VRTDataset>",
        encoding="utf-8",
    )
    return left, top - rows * RASTER_CELL, left + width * RASTER_CELL, top


def with_facts(net: str, folder: Path) -> tuple[str, float]:
    """A model that states every fact of its net, and the seconds that measuring them took.

    Bare weights (.onnx, TorchScript) are taken to map 0..1 to 0..1, and an .emd that says what
    loading them measured is written into `folder`: the jobs then time photos, not measurements.
    Definitions and names of built-in models come back as they are.
    """
    weights = Path(net)
    if weights.suffix not in WEIGHTS:
        return net if not weights.exists() else str(weights.resolve()), 0.0
    from attachtrans.models.load import load_model

    definition = {
        "Framework": "attachtrans",
        "ModelType": WEIGHTS[weights.suffix],
        "ModelFile": str(weights.resolve()),
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
    }
    started = time.perf_counter()
    spec = load_model(json.dumps(definition), device="cpu").spec
    seconds = time.perf_counter() - started
    reach = spec.receptive_field_px
    measured = {
        "InputBands": spec.in_bands,
        "OutputBands": spec.out_bands,
        "Scale": spec.scale,
        "Margin": spec.margin_px,
        "MultipleOf": spec.multiple_of,
        "MinSize": spec.min_size,
        "FixedSize": spec.fixed_size,
        "FixedBatch": spec.fixed_batch,
        "ReceptiveField": "global" if reach is None else reach,
    }
    stated = {key: value for key, value in measured.items() if value is not None}
    emd = folder / f"{weights.parent.name}-{weights.stem}.emd"
    emd.write_text(json.dumps(definition | stated), encoding="utf-8")
    return str(emd), seconds
