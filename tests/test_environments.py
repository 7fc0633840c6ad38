"""Environments for rasters: what each value becomes; the photos' rules are in test_ia."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import CRS

from attachtrans.environments import Environment, device_of, raster_environment
from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.tool.rasters.choice import RasterChoice
from tests.stores.raster.making import TRANSFORM, UTM, make_file

BOX = (400_000.0, 5_199_950.0, 400_060.0, 5_200_000.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("environments")
    make_file(place / "a.tif", np.ones((1, 100, 120), np.uint8))
    turned = PixelToMap(a=0.4, b=0.3, c=4e5, d=0.3, e=-0.4, f=5.2e6)
    make_file(place / "turned.tif", np.ones((1, 10, 10), np.uint8), transform=turned)
    shapes = geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.box(*BOX)], crs=UTM)
    shapes.to_file(place / "p.gpkg", layer="parks")
    shapes.to_crs(4326).to_file(place / "p.gpkg", layer="lakes")
    shapes[["geometry"]].to_file(place / "d.gdb", layer="parks", driver="OpenFileGDB")
    shapes.to_file(place / "b.shp")
    return place


def read(crs=UTM, **values):
    settings = Environment()
    for name, value in values.items():
        setattr(settings, name, value)
    return raster_environment(settings, lambda: crs)


@pytest.mark.parametrize("value", [None, "", "#"])
def test_nothing_is_set(value):
    names = ("cellSize", "extent", "mask", "snapRaster", "outputCoordinateSystem")
    found = read(**dict.fromkeys(names, value))
    assert found == RasterChoice()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0.5, (0.5, 0.5)),
        ("0.25", (0.25, 0.25)),
        ("0.5 0.25", (0.5, 0.25)),
        ((0.5, 0.25), (0.5, 0.25)),
        ("MAXOF", None),
        ("minof", None),
    ],
)
def test_cell_sizes(value, cell):
    assert read(cellSize=value).cell_size == cell


def test_the_cells_of_a_raster(folder: Path):
    assert read(cellSize=folder / "a.tif").cell_size == (0.5, 0.5)
    across, down = read(CRS(4326), cellSize=str(folder / "a.tif")).cell_size
    assert across == down
    assert 0.5 / 111_320 < across < 0.5 / 70_000
    with pytest.raises(SourceError, match="nothing"):
        read(cellSize="nothing.tif")
    with pytest.raises(ArgumentError, match="cell size"):
        read(cellSize=-1).gridding()
    with pytest.raises(ArgumentError, match="outputCoordinateSystem"):
        read(None, cellSize=folder / "a.tif")


@pytest.mark.parametrize(
    ("value", "extent", "crs"),
    [
        ("1 2 3 4", (1, 2, 3, 4), None),
        ([1, "2", 3, 4], (1, 2, 3, 4), None),
        ("1 2 3 4 EPSG:4326", (1, 2, 3, 4), CRS(4326)),
        (f"1 2 3 4 {CRS(25832).to_wkt('WKT1_ESRI')}", (1, 2, 3, 4), CRS(25832)),
        (SimpleNamespace(XMin=1, YMin=2, XMax=3, YMax=4), (1, 2, 3, 4), None),
        (
            SimpleNamespace(
                XMin=1, YMin=2, XMax=3, YMax=4, spatialReference=SimpleNamespace(factoryCode=3035)
            ),
            (1, 2, 3, 4),
            CRS(3035),
        ),
        ("MAXOF", None, None),
        ("MINOF", None, None),
        ("DEFAULT", None, None),
    ],
)
def test_extents(value, extent, crs):
    found = read(extent=value).gridding()
    assert found.extent == extent
    assert (found.extent_crs is None) == (crs is None)
    assert (
        crs is None
        or found.extent_crs.equals(crs, ignore_axis_order=True)
        or (found.extent_crs.to_epsg(min_confidence=60) == crs.to_epsg())
    )


@pytest.mark.parametrize(
    "name", ["a.tif", "b.shp", "p.gpkg:parks", "p.gpkg/main.parks", "d.gdb/parks"]
)
def test_the_extent_of_a_file(folder: Path, name):
    found = read(extent=f"{folder}/{name}").gridding()
    assert found.extent == BOX
    assert found.extent_crs == UTM


@pytest.mark.parametrize(
    ("value", "words"),
    [("DISPLAY", "no map"), ("1 2 3", "env.extent"), ((1, 2), "env.extent"), (7, "env.extent")],
)
def test_extents_that_are_none(value, words):
    with pytest.raises(ArgumentError, match=words):
        read(extent=value)


def test_a_layer_has_to_be_named(folder: Path):
    with pytest.raises(ArgumentError, match=r"several layers; name one, like .*p.gpkg:parks"):
        read(extent=str(folder / "p.gpkg"))
    with pytest.raises(SourceError, match="no such file"):
        read(extent="nothing.shp")


def test_a_snap_raster(folder: Path):
    snap = read(snapRaster=folder / "a.tif").gridding().snap
    assert (snap.transform, snap.crs) == (TRANSFORM, UTM)
    with pytest.raises(ArgumentError, match="turned"):
        read(snapRaster=folder / "turned.tif").gridding()


@pytest.mark.parametrize("value", ["EPSG:3035", 3035, "3035", SimpleNamespace(factoryCode=3035)])
def test_systems(value):
    assert read(outputCoordinateSystem=value).gridding().crs == CRS(3035)


def test_systems_of_files(folder: Path):
    for name in ("a.tif", "b.shp", "b.prj", "p.gpkg/parks", "d.gdb/parks"):
        crs = read(outputCoordinateSystem=f"{folder}/{name}").gridding().crs
        assert crs.to_epsg(min_confidence=60) == 32633, name
    wkt = SimpleNamespace(factoryCode=0, exportToString=lambda: CRS(3035).to_wkt())
    assert read(outputCoordinateSystem=wkt).gridding().crs == CRS(3035)
    with pytest.raises(ArgumentError, match="no such coordinate system"):
        read(outputCoordinateSystem="nonsense")
    (folder / "empty.prj").write_text("")
    with pytest.raises(CrsError, match="no coordinate system"):
        read(outputCoordinateSystem=folder / "empty.prj")


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("m.tif", "m.tif"),
        (Path("m.tif"), "m.tif"),
        ("a/p.gpkg/main.parks", "a/p.gpkg:parks"),
        ("p.gpkg\\parks", "p.gpkg:parks"),
        ("p.gpkg:parks", "p.gpkg:parks"),
        (SimpleNamespace(catalogPath="p.gpkg/parks"), "p.gpkg:parks"),
    ],
)
def test_masks(value, mask):
    assert read(mask=value).mask == mask


def test_a_mask_that_is_no_path():
    with pytest.raises(ArgumentError, match=r"env\.mask"):
        read(mask=5)


@pytest.mark.parametrize(
    ("value", "device"),
    [
        (1, "cuda:1"),
        ("0;1", "cuda:0,1"),
        ("0, 1", "cuda:0,1"),
        ([1, "0", 1], "cuda:1,0"),
        ((2,), "cuda:2"),
    ],
)
def test_several_gpus(value, device):
    settings = Environment(processorType="GPU", gpuId=value)
    assert device_of(settings) == device


@pytest.mark.parametrize("value", ["0;", "a", [-1], [0, None], 1.5])
def test_gpus_that_are_none(value):
    with pytest.raises(ArgumentError, match=r"env\.gpuId"):
        device_of(Environment(gpuId=value))
