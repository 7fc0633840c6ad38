"""ArcGIS image and map services, against a double written after Esri's documentation."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.warp import transform_bounds

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import Access, ServiceKind, items, open_service
from attachtrans.stores.services.arcgis import crs_of_esri, esri_reference
from attachtrans.types import Window
from tests.stores.services.arcgis_double import ArcGis
from tests.stores.services.loopback import CELL, ZOOM, bounds, scene_once, write_scene

# The double reads rasters in threads of this process.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

IMAGE, MAP = "/rest/services/photos/ImageServer", "/rest/services/photos/MapServer"


def write_measured(path, *, left=400_000.0, dtype="int16", seed=1, nodata=-9999):
    """Four bands of a type that is no byte, in UTM, with a hole."""
    pixels = np.random.default_rng(seed).integers(-200, 3000, (4, 300, 250)).astype(dtype)
    pixels[:, 40:60, 30:50] = nodata
    transform = rasterio.Affine(2.0, 0, left, 0, -2.0, 5_600_000.0)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=4,
        dtype=dtype,
        width=250,
        height=300,
        crs="EPSG:25832",
        transform=transform,
        nodata=nodata,
    ) as dataset:
        dataset.write(pixels)
    return path, pixels


@pytest.fixture
def measured(tmp_path):
    return write_measured(tmp_path / "measured.tif")


EXTENT = (400_000.0, 5_600_000.0 - 600.0, 400_500.0, 5_600_000.0)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_an_image_service_gives_its_pixels_as_they_are(serve, fast, tmp_path, dtype):
    path, pixels = write_measured(tmp_path / "measured.tif", dtype=dtype)
    server = serve(ArcGis([path]))
    service = open_service(f"{server.url}{IMAGE}", Gridding(extent=EXTENT), fast)
    assert service.kind is ServiceKind.ARCGIS_IMAGE
    with closing(service.raster) as raster:
        assert (raster.size, raster.bands, raster.dtype) == ((250, 300), 4, dtype)
        assert raster.nodata == -9999
        assert raster.tags == {"TIFFTAG_COPYRIGHT": "Somebody"}
        assert raster.transform.a == 2.0
        np.testing.assert_array_equal(raster.read(), pixels)
        np.testing.assert_array_equal(raster.read_mask() == 0, pixels[0] == -9999)
        window = Window(col=20, row=30, width=50, height=60)
        np.testing.assert_array_equal(
            raster.read(window, bands=[4, 2]), pixels[[3, 1]][(..., *window.slices)]
        )


def test_windows_keep_to_what_the_server_draws(serve, fast, measured):
    path, pixels = measured
    server = serve(ArcGis([path], biggest=(70, 110)))
    with closing(
        open_service(f"{server.url}{IMAGE}", Gridding(extent=EXTENT), fast).raster
    ) as raster:
        np.testing.assert_array_equal(raster.read(), pixels)
        raster.read_mask()
    sizes = [one.query["size"] for one in server.requests if "size" in one.query]
    assert len(sizes) == 3 * 5
    assert set(sizes) == {"110,70", "30,70", "110,20", "30,20"}


def test_another_system_and_cell_size_are_drawn_by_the_server(serve, fast, measured):
    path, _ = measured
    server = serve(ArcGis([path]))
    box = transform_bounds("EPSG:25832", "EPSG:3857", *EXTENT)
    asked = Gridding(
        extent=box, crs=CRS.from_epsg(3857), cell_size=(5.0, 4.0), resampling="nearest"
    )
    service = open_service(f"{server.url}{IMAGE}", asked, fast)
    with closing(service.raster) as raster:
        raster.read()
        assert raster.crs.to_epsg() == 3857
        assert (raster.transform.a, raster.transform.e) == (5.0, -4.0)
    drawn = [one.query for one in server.requests if "size" in one.query]
    assert {query["imagesr"] for query in drawn} == {"3857"}
    assert {query["interpolation"] for query in drawn} == {"RSP_NearestNeighbor"}
    assert "warped" not in service.notes[0]


def test_a_service_without_nodata_is_masked_by_what_comes(serve, fast, tmp_path, whole):
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")]))
    left, bottom, right, top = whole.extent
    asked = replace(whole, extent=(left - 100 * CELL, bottom, right, top))
    with closing(open_service(f"{server.url}{IMAGE}", asked, fast).raster) as raster:
        assert raster.colours == ("red", "green", "blue")
        assert raster.nodata is None
        np.testing.assert_array_equal(raster.read()[:, :, -1024:], scene_once()[0])
        mask = raster.read_mask()
        assert mask[:, -1024:].all()
        assert not mask[:, :-1024].any()


def test_rasters_of_a_catalog_one_by_one(serve, fast, tmp_path):
    written = [
        write_measured(
            tmp_path / f"flight{number}.tif", left=400_000.0 + 400.0 * number, seed=number
        )
        for number in range(3)
    ]
    server = serve(ArcGis([path for path, _ in written]))
    source = f"{server.url}{IMAGE}"
    found = items(source, Gridding(), fast)
    assert [(one.number, one.name, one.cell) for one in found] == [
        (1, "flight0", 2.0),
        (2, "flight1", 2.0),
        (3, "flight2", 2.0),
    ]
    for one, (_, pixels) in zip(found, written, strict=True):
        with closing(open_service(source, Gridding(), fast, item=one).raster) as raster:
            np.testing.assert_array_equal(raster.read(), pixels)
            assert raster.name.endswith(one.name)
    # The overlap of the first two shows the item that is asked for, cut to the extent.
    part = Gridding(extent=(400_420.0, EXTENT[1], 400_500.0, EXTENT[3]))
    assert [one.number for one in items(source, part, fast)] == [1, 2]
    with closing(open_service(source, part, fast, item=found[0]).raster) as raster:
        np.testing.assert_array_equal(raster.read(), written[0][1][:, :, 210:250])
    lonlat = Gridding(
        extent=transform_bounds(
            "EPSG:25832", "EPSG:4326", 401_250.0, EXTENT[1], 401_290.0, EXTENT[3]
        ),
        extent_crs=CRS.from_epsg(4326),
    )
    assert [one.number for one in items(source, lonlat, fast)] == [3]


def test_only_image_services_with_a_catalog_have_items(serve, fast, measured):
    server = serve(ArcGis([measured[0]], changes={"capabilities": "Image"}))
    with pytest.raises(ArgumentError, match="no catalog"):
        items(f"{server.url}{IMAGE}", Gridding(), fast)
    with pytest.raises(ArgumentError, match="no ArcGIS image service"):
        items(f"{server.url}{MAP}", Gridding(), fast)


def test_cached_maps_come_as_tiles(serve, fast, tmp_path, whole):
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")]))
    service = open_service(f"{server.url}{MAP}", replace(whole, cell_size=None), fast)
    assert f"level {ZOOM} is read" in service.notes[0]  # the finest that is within maxScale
    with closing(service.raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])
    assert all("/tile/" in path for path in server.paths()[1:])
    assert {one.query["blanktile"] for one in server.requests[1:]} == {"false"}


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["", "/0", "/3"])
def test_maps_without_tiles_and_single_layers_are_exported(serve, fast, tmp_path, whole, layer):
    changes = {} if layer else {"singleFusedMapCache": False}
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")], changes=changes))
    service = open_service(f"{server.url}{MAP}{layer}", whole, fast)
    assert service.kind is ServiceKind.ARCGIS_MAP
    pixels = scene_once()[0]
    with closing(service.raster) as raster:
        np.testing.assert_array_equal(raster.read(), 255 - pixels if layer == "/3" else pixels)
        assert raster.read_mask().all()


def test_cells_that_are_not_square_are_warped_from_a_map(serve, fast, tmp_path, whole):
    changes = {"singleFusedMapCache": False}
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")], changes=changes))
    asked = replace(whole, cell_size=(CELL, CELL * 2))
    service = open_service(f"{server.url}{MAP}", asked, fast)
    with closing(service.raster) as raster:
        assert raster.size == (1024, 384)
    assert "warped" in service.notes[0]


def test_a_map_layer_that_is_not_there_and_a_cell_size_that_is_not_named(
    serve, fast, tmp_path, whole
):
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")]))
    with pytest.raises(ArgumentError, match=r"no layer 7; it has: 0 \(Photos\), 3 \(Inverted\)"):
        open_service(f"{server.url}{MAP}/7", whole, fast)
    with pytest.raises(ArgumentError, match="--cell-size"):
        open_service(f"{server.url}{MAP}/3", replace(whole, cell_size=None), fast)


def test_tokens_open_a_service_and_are_never_shown(serve, tmp_path, whole):
    server = serve(ArcGis([write_scene(tmp_path / "scene.tif")], token="geheim"))
    source = f"{server.url}{IMAGE}"
    with pytest.raises(SourceError, match="499 Token Required; set ATTACHTRANS_TOKEN"):
        open_service(source, whole, Access(rate=None))
    with pytest.raises(SourceError, match="498") as caught:
        open_service(source, whole, Access(rate=None, token="falsch"))
    assert "falsch" not in str(caught.value)
    service = open_service(source, whole, Access(rate=None, token="geheim", cache=tmp_path / "c"))
    with closing(service.raster) as raster:
        assert raster.read_mask().all()
        assert "geheim" not in raster.name + "".join(service.notes)
    kept = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"geheim" in path.read_bytes() for path in kept)


def test_an_extent_is_needed_and_must_touch_the_service(serve, fast, measured):
    source = f"{serve(ArcGis([measured[0]])).url}{IMAGE}"
    with pytest.raises(ArgumentError, match="--extent"):
        open_service(source, Gridding(), fast)
    beside = Gridding(extent=(0.0, 0.0, 100.0, 100.0), cell_size=(2.0, 2.0))
    with pytest.raises(ArgumentError, match="beside"):
        open_service(source, beside, fast)


@pytest.mark.parametrize(
    ("reference", "epsg"),
    [
        ({"wkid": 102100, "latestWkid": 3857}, 3857),
        ({"wkid": 102100}, 3857),
        ({"wkid": 25832}, 25832),
        ({"wkt": CRS.from_epsg(31468).to_wkt("WKT1_ESRI")}, 31468),
    ],
)
def test_coordinate_systems_as_esri_writes_them(reference, epsg):
    found = crs_of_esri(reference, "x")
    assert found.equals(CRS.from_epsg(epsg), ignore_axis_order=True) or found.to_epsg() == epsg


def test_coordinate_systems_are_sent_as_numbers_or_wkt():
    assert esri_reference(CRS.from_epsg(25832)) == "25832"
    assert esri_reference(CRS.from_user_input("ESRI:54030")) == "54030"
    assert esri_reference(CRS.from_user_input("OGC:CRS84")) == "4326"
    own = CRS.from_user_input("+proj=tmerc +lon_0=7.123 +datum=WGS84")
    assert esri_reference(own).startswith('{"wkt": "PROJCS[')
    with pytest.raises(SourceError, match="coordinate system"):
        crs_of_esri({"wkid": 1}, "x")


def test_the_scene_is_where_the_services_say(tmp_path):
    path = write_scene(tmp_path / "scene.tif")
    with rasterio.open(path) as dataset:
        assert tuple(dataset.bounds) == pytest.approx(bounds(dataset.transform, 1024, 768))
