"""Measures are no matter to who reads names and extents."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import geopandas
import pyogrio
import pytest
from shapely import Point

from attachtrans.stores.mosaics.footprints import path_column_of
from attachtrans.stores.raster.extents import extent_of_file, vector_layers


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A layer that says that its geometries have measures."""
    path = tmp_path / "measured.gpkg"
    layer = {"location": ["a.tif"], "geometry": [Point(5, 52).buffer(0.1)]}
    geopandas.GeoDataFrame(layer, crs="EPSG:4326").to_file(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gpkg_geometry_columns SET m = 1")
    with pytest.warns(UserWarning, match="Measured"):
        pyogrio.list_layers(path)
    return path


def test_measures_are_no_warning_where_they_do_not_matter(measured: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert path_column_of(measured) == "location"
        assert list(vector_layers(measured)) == ["measured"]
        assert extent_of_file(measured)[0] == pytest.approx((4.9, 51.9, 5.1, 52.1))
