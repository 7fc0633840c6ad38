"""Footprints in other coordinate systems (traps 6 and 13)."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from attachtrans.errors import CrsError
from attachtrans.geo.footprint import footprint
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.view import CameraView, Grid
from tests.geo.footprint.scenes import flat, iou, panorama, pinhole

GEOD = Geod(ellps="WGS84")
MERCATOR_EDGE = 20_037_508.342789244


def above(lonlat, height=2000.0, hpr=(0.0, 0.0, 0.0), crs="EPSG:4326"):
    return CameraView(pinhole(hpr, height, xy=lonlat), FlatGround(0.0), crs)


def area_m2(shape):
    return sum(abs(GEOD.geometry_area_perimeter(part)[0]) for part in shapely.get_parts(shape))


RECTANGLE_M2 = (400 * 2000 / 350) * (300 * 2000 / 350)


@pytest.mark.parametrize("longitude", [15.0, 179.999, -179.999, 180.0, -180.0])
def test_longitudes_are_cut_at_the_antimeridian(longitude):
    made = footprint(above((longitude, -17.0)))
    shape = made.geometry
    assert shape.is_valid
    assert shape.geom_type == ("Polygon" if longitude == 15.0 else "MultiPolygon")
    assert max(part.bounds[2] - part.bounds[0] for part in shapely.get_parts(shape)) < 0.1
    assert area_m2(shape) == pytest.approx(RECTANGLE_M2, rel=1e-4)


@pytest.mark.parametrize("latitude", [90.0, -89.999, 89.995])
def test_at_the_poles_it_reaches_up_to_them(latitude):
    shape = footprint(above((40.0, latitude))).geometry
    assert shape.is_valid
    assert shape.bounds[0] == -180.0
    assert shape.bounds[2] == 180.0
    assert max(abs(shape.bounds[1]), abs(shape.bounds[3])) == 90.0
    assert area_m2(shape) == pytest.approx(RECTANGLE_M2, rel=1e-3)


@pytest.mark.parametrize("heading", range(0, 360, 60))
def test_a_ring_about_a_pole_and_edges_that_pass_close_to_it(heading):
    whole = footprint(above((40.0, -89.999), hpr=(heading, 20.0, 10.0)))
    ring = footprint(above((40.0, -89.999), hpr=(heading, 20.0, 10.0)), near_m=300.0)
    for made in (whole, ring):
        assert made.geometry.is_valid
        assert area_m2(made.geometry) == pytest.approx(made.shape.area, rel=2e-3)
    assert ring.shape.area < whole.shape.area
    edge = footprint(above((40.0, 90.0 - 300 * 1000 / 350 / 111_694), hpr=(heading, 0.0, 0.0)))
    assert edge.geometry.is_valid


def test_at_the_pole_no_web_mercator():
    with pytest.raises(CrsError, match="beyond"):
        footprint(above((40.0, 89.999))).to_crs("EPSG:3857")


@pytest.mark.parametrize("longitude", [15.0, 179.999, -180.0])
def test_web_mercator_is_cut_likewise(longitude):
    made = footprint(above((longitude, 60.0))).to_crs("EPSG:3857")
    shape = made.geometry
    assert shape.is_valid
    assert made.crs.to_epsg() == 3857
    west, _, east, _ = shape.bounds
    if longitude == 15.0:
        assert shape.geom_type == "Polygon"
    else:
        assert (west, east) == pytest.approx((-MERCATOR_EDGE, MERCATOR_EDGE))
    # Web Mercator metres are twice as many here.
    assert shape.area == pytest.approx(4.0 * RECTANGLE_M2, rel=0.01)
    back = Transformer.from_crs(3857, 4326, always_xy=True)
    lonlat = shapely.transform(shape, lambda xy: np.stack(back.transform(*xy.T), axis=1))
    assert area_m2(lonlat) == pytest.approx(RECTANGLE_M2, rel=1e-4)


def test_a_view_in_web_mercator_is_true_to_scale():
    """Trap 6: 50 m around are 50 m, not 50 units."""
    place = Transformer.from_crs(4326, 3857, always_xy=True).transform(15.0, 60.0)
    camera = panorama().posed(np.eye(3), [*place, 2.0])
    made = footprint(flat(camera, crs="EPSG:3857"), mode="disc")
    across = made.geometry.bounds[2] - made.geometry.bounds[0]
    assert across == pytest.approx(2 * 50.0 / np.cos(np.deg2rad(60.0)), rel=5e-3)
    assert made.to_crs("EPSG:32633").geometry.area == pytest.approx(np.pi * 50**2, rel=5e-3)


def test_long_edges_get_vertices_where_the_target_bends_them():
    made = footprint(above((15.0, 70.0), height=200_000.0, crs="EPSG:4326"))
    assert len(made.shape.exterior.coords) == 5
    assert len(made.geometry.exterior.coords) > 20
    there = Transformer.from_crs(4326, made.frame, always_xy=True)
    dense = shapely.transform(
        made.geometry.segmentize(0.01), lambda xy: np.stack(there.transform(*xy.T), axis=1)
    )
    assert dense.hausdorff_distance(made.shape) < 1e-4 * 300_000.0
    assert iou(dense, made.shape) > 0.9995


def test_there_and_back():
    made = footprint(flat(pinhole()))
    assert made.to_crs("EPSG:4326").to_crs(made.crs).geometry.equals(made.geometry)


def test_a_grid_across_the_antimeridian():
    made = footprint(Grid((0.01, 0.0, 179.0, 0.0, -0.01, 10.0), (200, 100), "EPSG:4326"))
    assert made.geometry.geom_type == "MultiPolygon"
    assert made.geometry.area == pytest.approx(2.0)
    assert made.geometry.bounds == (-180.0, 9.0, 180.0, 10.0)
