"""A real server, TiTiler, over a raster on disk: XYZ, WMTS and WMS against rasterio's reading.

Oracle: the pixels of the raster itself, or what rasterio reads of it on the same grid.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import ServiceKind, open_service
from tests.stores.services.loopback import ZOOM, scene_once, write_scene

# It runs in a process of its own, and takes seconds to load.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("titiler") is None, reason="TiTiler is not installed"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("titiler") / "scene.tif")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Of TiTiler's routes."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    script = Path(__file__).with_name("titiler_app.py")
    with subprocess.Popen([sys.executable, str(script), str(port)]) as process:
        end = time.monotonic() + 60.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/cog"
        process.kill()


def test_xyz_is_the_raster_itself(url, path, fast, whole):
    source = f"{url}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?url={path}"
    with closing(open_service(source, whole, fast).raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])
        assert raster.read_mask().all()


def test_xyz_as_tiff_beyond_the_raster_is_masked(url, path, fast, whole):
    source = f"{url}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.tif?url={path}"
    left, bottom, right, top = whole.extent
    asked = replace(whole, extent=(left - 1000.0, bottom, right, top + 500.0))
    with closing(open_service(source, asked, fast).raster) as raster:
        mask = raster.read_mask()
        pixels = scene_once()[0]
        high, wide = pixels.shape[1:]
        assert mask[-high:, -wide:].all()
        assert mask.sum() == 255 * high * wide
        np.testing.assert_array_equal(raster.read()[:, -high:, -wide:], pixels)


def test_wmts_is_the_raster_itself(url, path, fast, whole):
    """The capabilities list a layer for each tile matrix set that TiTiler knows."""
    capabilities = f"{url}/WMTSCapabilities.xml?url={path}"
    with pytest.raises(ArgumentError, match="name the layer; it has: ") as caught:
        open_service(capabilities, whole, fast)
    listed = str(caught.value).rpartition("it has: ")[2].split(", ")
    layer = next(name for name in listed if "WebMercatorQuad" in name)
    service = open_service(f"WMTS:{capabilities},layer={layer}", whole, fast)
    assert service.kind is ServiceKind.WMTS
    assert f"level {ZOOM} is read" in service.notes[0]
    with closing(service.raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])


def drawn(path, crs, transform, size):
    """What rasterio reads of the raster on a grid; nearest, as TiTiler's default is."""
    out = np.zeros((3, size.height, size.width), np.uint8)
    with rasterio.open(path) as dataset:
        reproject(
            dataset.read(),
            out,
            src_transform=dataset.transform,
            src_crs=dataset.crs,
            dst_transform=rasterio.Affine(*(getattr(transform, name) for name in "abcdef")),
            dst_crs=crs,
            resampling=Resampling.nearest,
        )
    return out


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
@pytest.mark.parametrize("code", [3857, 4326, 25832])
def test_wms_in_both_orders_of_axes(url, path, fast, version, code):
    """4326 is asked for with latitude first in 1.3.0, and with longitude first in 1.1.1."""
    with rasterio.open(path) as dataset:
        box = transform_bounds(dataset.crs, f"EPSG:{code}", *dataset.bounds)
        cell = dataset.res[0]
    middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    step = cell / 111_320.0 if code == 4326 else cell
    asked = Gridding(
        extent=(
            middle[0] - 200 * step,
            middle[1] - 100 * step,
            middle[0] + 200 * step,
            middle[1] + 100 * step,
        ),
        crs=CRS.from_epsg(code),
        cell_size=(step, step),
    )
    name = "SRS" if version == "1.1.1" else "CRS"
    source = (
        f"WMS:{url}/wms?VERSION={version}&LAYERS={path}&STYLES=&{name}=EPSG:{code}"
        "&FORMAT=image/png&TRANSPARENT=TRUE"
    )
    service = open_service(source, asked, fast)
    assert service.kind is ServiceKind.WMS
    with closing(service.raster) as raster:
        assert raster.crs.to_epsg() == code
        found, expected = raster.read(), drawn(path, f"EPSG:{code}", raster.transform, raster.size)
        same = (found == expected).all(axis=0).mean()
        assert same > 0.97  # a hair beside the middle between two pixels either may be nearest
        assert raster.read_mask().all()


def test_wms_that_refuses_says_why_and_where(url, fast, whole):
    source = (
        f"WMS:{url}/wms?VERSION=1.3.0&LAYERS=/nowhere.tif&CRS=EPSG:3857&FORMAT=image/png&key=geheim"
    )
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1.*key=\*\*\*") as caught:
        open_service(source, whole, fast.with_(retries=0))
    assert "geheim" not in str(caught.value)
