"""Georeferences of results in pixel space: places on the map, and gdalinfo, as judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import CRS
from rasterio.control import GroundControlPoint

from attachtrans.geo.ground import FlatGround
from attachtrans.stores.raster import RasterSpec, RasterWriter, open_raster
from attachtrans.stores.raster.carrying import carried_back
from attachtrans.types import Size
from tests.stores.raster.making import TRANSFORM, UTM, make_file

SIZE, LARGE = Size(100, 80), Size(200, 240)
CORNERS = np.array([[0.0, 1.0, 0.0, 1.0, 0.4], [0.0, 0.0, 1.0, 1.0, 0.7]])


def written(path: Path, carrier):
    """A result of another size with that place."""
    spec = RasterSpec(size=LARGE, bands=1, dtype="uint8", **carrier.fields())
    with RasterWriter(path, spec) as writer:
        writer.write(np.zeros((1, LARGE.height, LARGE.width), np.uint8))
    return open_raster(path)


def same_places(before, after, tolerance):
    pixels = [CORNERS * np.array(one.size)[:, None] for one in (before, after)]
    np.testing.assert_allclose(
        after.pixel_to_map(pixels[1]), before.pixel_to_map(pixels[0]), rtol=0, atol=tolerance
    )


def test_a_transform_follows_the_size(tmp_path: Path):
    path = make_file(tmp_path / "a.tif", np.zeros((1, 80, 100), np.uint8))
    with (
        open_raster(path) as image,
        written(tmp_path / "b.tif", carried_back(image, LARGE)) as result,
    ):
        same_places(image.georef(), result.georef(), 1e-9)
        assert result.crs == UTM


def test_control_points_follow_the_size_and_keep_their_heights(tmp_path: Path):
    path = tmp_path / "a.tif"
    pixels = CORNERS * np.array(SIZE)[:, None]
    on_map = TRANSFORM.to_map(pixels)
    points = [
        GroundControlPoint(row=r, col=c, x=x, y=y, z=z)
        for (c, r), (x, y), z in zip(pixels.T, on_map.T, range(5), strict=True)
    ]
    kind = {"driver": "GTiff", "width": 100, "height": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", gcps=points, crs="EPSG:32633", **kind) as file:
        file.write(np.zeros((1, 80, 100), np.uint8))
    with (
        open_raster(path) as image,
        written(tmp_path / "b.tif", carried_back(image, LARGE)) as result,
    ):
        same_places(image.georef(), result.georef(), 1e-6)
        np.testing.assert_array_equal(result.gcp_heights, range(5))
        assert result.transform is None


def test_a_scene_keeps_its_place(tmp_path: Path, shared: Path):
    path = next((shared / "data").rglob("qb2*.tif"), None)
    if path is None:
        pytest.skip("needs the QuickBird scene")
    with open_raster(path) as image:
        carrier = carried_back(image, LARGE)
        with written(tmp_path / "b.tif", carrier) as result:
            ground, utm = FlatGround(200.0), CRS(32734)
            before, after = (one.georef(ground, crs=utm) for one in (image, result))
            same_places(before, after, 1e-4)


def test_what_has_no_place_carries_none(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("L", SIZE).save(path)
    with open_raster(path) as image:
        fields = carried_back(image, LARGE).fields()
    assert fields == {"crs": None, "transform": None, "gcps": (), "rpc": {}}
