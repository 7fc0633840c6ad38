"""Trap 13: RFC 7946 wants polygons cut at the antimeridian; poles have none to cut."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod

from attachtrans.errors import CrsError
from attachtrans.geo.antimeridian import to_lonlat
from attachtrans.geo.frame import LocalFrame

GEOD = Geod(ellps="WGS84")


def around(lonlat, radius_m=500.0):
    frame = LocalFrame.at("EPSG:4326", lonlat)
    return frame.crs, shapely.Point(0, 0).buffer(radius_m, quad_segs=64)


def area(shape):
    return sum(abs(GEOD.geometry_area_perimeter(part)[0]) for part in shapely.get_parts(shape))


@pytest.mark.parametrize("longitude", [0.0, 8.5, -179.0, 179.0])
def test_far_from_the_seam_a_polygon_stays_one(longitude):
    crs, disc = around((longitude, 46.0))
    shape = to_lonlat(disc, crs)
    assert shape.geom_type == "Polygon"
    assert shape.is_valid
    assert area(shape) == pytest.approx(disc.area, rel=1e-4)


@pytest.mark.parametrize("longitude", [179.9999, -179.9999, 180.0])
def test_across_the_antimeridian_it_is_cut_in_two(longitude):
    crs, disc = around((longitude, -17.0))
    shape = to_lonlat(disc, crs)
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    assert sorted(part.bounds[0] < 0 for part in shape.geoms) == [False, True]
    assert max(part.bounds[2] - part.bounds[0] for part in shape.geoms) < 0.02
    assert area(shape) == pytest.approx(disc.area, rel=1e-4)


@pytest.mark.parametrize("latitude", [90.0, 89.999, -90.0])
def test_about_a_pole_it_reaches_up_to_it(latitude):
    crs, disc = around((30.0, latitude))
    shape = to_lonlat(disc.segmentize(10.0), crs)
    assert shape.is_valid
    west, south, east, north = shape.bounds
    assert (west, east) == (-180.0, 180.0)
    assert (north if latitude > 0 else south) == np.copysign(90.0, latitude)
    assert area(shape) == pytest.approx(disc.area, rel=1e-3)


def test_holes_stay_holes_on_both_sides():
    crs, disc = around((179.9999, 10.0))
    ring = disc.difference(shapely.Point(0, 0).buffer(300.0))
    shape = to_lonlat(ring, crs)
    assert shape.is_valid
    assert area(shape) == pytest.approx(ring.area, rel=1e-3)


def test_several_parts_are_taken_each():
    crs, disc = around((179.9999, 10.0))
    other = shapely.Point(5000, 0).buffer(100.0)
    shape = to_lonlat(shapely.union_all([disc, other]), crs)
    assert len(shape.geoms) == 3


def test_what_cannot_be_shown_is_refused():
    crs, disc = around((30.0, 90.0))
    ring = disc.difference(shapely.Point(0, 0).buffer(300.0))
    with pytest.raises(CrsError, match="hole about a pole"):
        to_lonlat(ring, crs)
    with pytest.raises(CrsError, match="not geographic"):
        to_lonlat(disc, crs, "EPSG:3857")
    with pytest.raises(CrsError, match="beyond the places"):
        to_lonlat(shapely.box(0, 0, 1e9, 1e9), "EPSG:32632")
