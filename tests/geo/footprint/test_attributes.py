"""The row that goes with a footprint."""

from __future__ import annotations

import numpy as np
import pytest

from attachtrans.geo.footprint import COLUMNS, footprint, footprint_attributes
from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.pose import Accuracy, Pose
from attachtrans.geo.view import Grid
from tests.geo.footprint.scenes import PLACE, flat, pinhole

POSE = Pose(
    source="DJI XMP (gimbal)",
    assumed=("level camera", "focal length: 28 mm of full frame"),
    accuracy=Accuracy(xy_m=2.0),
    time="2024-05-01T10:00:00Z",
)


def test_a_row_says_what_is_known():
    view = flat(pinhole((30.0, 40.0, 5.0)))
    made = footprint(view)
    row = footprint_attributes(made, view, POSE, ground_source="dtm.tif")
    assert list(row) == list(COLUMNS)
    assert all(isinstance(row[name], kind) for name, kind in COLUMNS.items())
    assert (row["CAM_X"], row["CAM_Y"], row["CAM_Z"]) == (*PLACE, 100.0)
    assert (row["HEADING"], row["PITCH"], row["ROLL"]) == pytest.approx((30.0, 40.0, 5.0))
    assert (row["KIND"], row["GSD_M"], row["SIGMA_M"]) == ("ground", made.gsd_m, 2.0)
    assert (row["POSE_SRC"], row["GROUND_SRC"]) == ("DJI XMP (gimbal)", "dtm.tif")
    assert row["ASSUMED"] == "level camera; focal length: 28 mm of full frame"
    assert row["TIME"] == "2024-05-01T10:00:00Z"


def test_headings_are_from_true_north_and_places_in_the_footprints_crs():
    place = (700_000.0, 5_400_000.0)
    view = flat(pinhole((10.0, 40.0, 0.0), xy=place))
    made = footprint(view).to_crs("EPSG:4326")
    row = footprint_attributes(made, view)
    turn = convergence_deg("EPSG:32633", place)
    assert abs(turn) > 1.0
    assert row["HEADING"] == pytest.approx(10.0 + turn)
    assert (row["CAM_X"], row["CAM_Y"]) == pytest.approx((17.7, 48.7), abs=0.1)
    assert row["POSE_SRC"] is None
    assert row["SIGMA_M"] is None


def test_a_raster_has_no_camera():
    grid = Grid((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (10, 10), "EPSG:32633")
    row = footprint_attributes(footprint(grid), grid)
    assert row["KIND"] == "outline"
    assert row["CAM_X"] is None
    assert row["GROUND_SRC"] is None
    assert np.isfinite(row["GSD_M"])
