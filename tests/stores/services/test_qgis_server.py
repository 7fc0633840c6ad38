"""QGIS Server, where QGIS is installed: WMS with capabilities, its limits and orders of axes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import open_service
from tests.stores.services.loopback import CELL, scene_once, write_scene

pytestmark = pytest.mark.long

PYTHON = "/usr/bin/python3"  # the one that Debian's QGIS comes with

PLUGIN = Path("/usr/lib/qgis/server/libwms.so")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("qgis") / "scene.tif")


@pytest.fixture(scope="module")
def url(path):
    if not (Path(PYTHON).exists() and PLUGIN.exists()):
        pytest.skip("needs Debian's python3-qgis and qgis-server-wms")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    script = Path(__file__).with_name("qgis_server.py")
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QGIS_SERVER_LOG_LEVEL": "2"}
    with subprocess.Popen(
        [PYTHON, str(script), str(port), str(path), str(path.parent)], env=environment
    ) as process:
        end = time.monotonic() + 60.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        process.kill()


def averages(pixels):
    """Of 20 x 20 pixels each: QGIS's windows are true to a pixel, not pixel by pixel."""
    _, height, width = (side // 20 * 20 for side in pixels.shape)
    pieces = pixels[:, :height, :width].reshape(len(pixels), height // 20, 20, width // 20, 20)
    return pieces.mean(axis=(2, 4))


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_wms_on_the_rasters_own_grid(url, fast, whole, version):
    service = open_service(f"{url}?SERVICE=WMS&VERSION={version}&layers=photos", whole, fast)
    with closing(service.raster) as raster:
        found = raster.read()
        assert raster.read_mask().all()
    assert np.abs(averages(found) - averages(scene_once()[0])).max() < 3.0
    assert (found == scene_once()[0]).mean() > 0.5


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
@pytest.mark.parametrize("code", [4326, 25832, 31466])
def test_wms_in_both_orders_of_axes(url, path, fast, version, code):
    """EPSG:4326 and EPSG:31466 (Gauss-Krueger) have north first in 1.3.0."""
    with rasterio.open(path) as dataset:
        box = transform_bounds(dataset.crs, f"EPSG:{code}", *dataset.bounds)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        step = CELL / 111_320.0 if code == 4326 else CELL
        asked = Gridding(
            extent=(x - 200 * step, y - 100 * step, x + 200 * step, y + 100 * step),
            crs=CRS.from_epsg(code),
            cell_size=(step, step),
        )
        source = f"{url}?SERVICE=WMS&VERSION={version}&LAYERS=photos"
        service = open_service(source, asked, fast)
        assert "warped" not in service.notes[0]
        with closing(service.raster) as raster:
            found = raster.read()
            transform = rasterio.Affine(*(getattr(raster.transform, name) for name in "abcdef"))
            expected = np.zeros_like(found)
            reproject(
                dataset.read(),
                expected,
                src_transform=dataset.transform,
                src_crs=dataset.crs,
                dst_transform=transform,
                dst_crs=f"EPSG:{code}",
                resampling=Resampling.nearest,
            )
    assert np.abs(averages(found) - averages(expected)).max() < 3.0


def test_a_system_that_is_not_offered_is_warped(url, fast, whole):
    asked = Gridding(
        extent=whole.extent,
        extent_crs=CRS.from_epsg(3857),
        crs=CRS.from_epsg(32632),
        cell_size=(12.0, 12.0),
    )
    service = open_service(f"{url}?SERVICE=WMS&LAYERS=photos", asked, fast)
    assert "warped from WGS 84 / Pseudo-Mercator" in service.notes[0]
    with closing(service.raster) as raster:
        assert raster.crs.to_epsg() == 32632
        assert raster.read_mask().mean() > 200


def test_layers_are_named_by_errors(url, fast, whole):
    with pytest.raises(ArgumentError, match=r"no layer 'other'; it has: .*photos"):
        open_service(f"{url}?SERVICE=WMS&LAYERS=other", whole, fast)
    source = f"WMS:{url}?VERSION=1.3.0&CRS=EPSG:3857&FORMAT=image/png&LAYERS=other"
    with pytest.raises(SourceError, match="other"):
        open_service(source, whole, fast)


def test_wmts_of_qgis(url, fast, whole):
    """QGIS publishes no tiles unless a project says so; the answer is told as what it is."""
    with pytest.raises((ArgumentError, SourceError), match=r"127\.0\.0\.1"):
        open_service(f"{url}?SERVICE=WMTS", whole, fast)
