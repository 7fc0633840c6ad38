"""Footprints in vector files: GDAL, pyarrow and sqlite3 as judges; nothing twice, nothing half."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from shapely.geometry import MultiPolygon, Polygon, box

from attachtrans.errors import (
    ArgumentError,
    OutputExistsError,
    SchemaError,
    SinkError,
)
from attachtrans.stores.schema import Field
from attachtrans.stores.vectors import Row, VectorOutput, Written

UTM = CRS(32633)
ENDINGS = [".gpkg", ".geojson", ".fgb", ".parquet", ".shp"]


def row(number: int, geometry: Any = "square", model: str = "", **more: Any) -> Row:
    x = 400_000.0 + 100.0 * number
    shape = box(x, 5_200_000.0, x + 50.0, 5_200_030.0) if geometry == "square" else geometry
    attributes = {
        "SRC_FILE": "photos",
        "SRC_LAYER": "",
        "SRC_ATT": f"DCIM/é{number}.jpg",
        "MODEL_FP": model,
        "KIND": "ground",
        "GSD_M": 0.25 + number,
        "CAM_Z": None,
        **more,
    }
    return Row(attributes=attributes, geometry=shape)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_gdal_reads_what_was_written(tmp_path: Path, ending: str) -> None:
    out = VectorOutput(path=tmp_path / f"foot prints{ending}", crs=UTM)
    rows = [row(0), row(1, None, PROBLEM="only sky"), row(2)]
    assert out.write(rows) == Written(3, 0)
    read = geopandas.read_parquet if ending == ".parquet" else geopandas.read_file
    table = read(out.path)
    assert list(table["SRC_ATT"]) == [r.attributes["SRC_ATT"] for r in rows]
    assert list(table["GSD_M"]) == [0.25, 1.25, 2.25]
    assert table["CAM_Z"].isna().all()
    assert table["PROBLEM"][1] == "only sky"
    assert table.crs == (CRS(4326) if ending == ".geojson" else UTM)
    moved = table.geometry.to_crs(UTM)
    assert moved[1] is None
    for number in (0, 2):
        shape = rows[number].geometry
        assert shape is not None
        assert moved[number].symmetric_difference(shape).area < 1e-2
    assert not [name for name in names(tmp_path) if "tmp" in name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_again_adds_nothing(tmp_path: Path, ending: str) -> None:
    out = VectorOutput(path=tmp_path / f"a{ending}", crs=UTM)
    out.write([row(0), row(1)])
    before = names(tmp_path)
    assert out.write([row(0), row(1)]) == Written(0, 2)
    read = geopandas.read_parquet if ending == ".parquet" else geopandas.read_file
    assert len(read(out.path)) == 2
    assert names(tmp_path) == before


def test_a_geopackage_is_appended_to_and_rows_are_renewed(tmp_path: Path) -> None:
    out = VectorOutput(path=tmp_path / "a.gpkg", crs=UTM, layer="mine")
    out.write([row(0), row(1)])
    assert out.write([row(1, GSD_M=9.0), row(2)]) == Written(1, 1)
    assert out.write([row(1, model="x")]) == Written(1, 0)
    table = geopandas.read_file(out.path, layer="mine")
    assert sorted(table["GSD_M"]) == [0.25, 1.25, 2.25, 9.0]
    assert geopandas.list_layers(out.path)["geometry_type"].tolist() == ["MultiPolygon"]
    with closing(sqlite3.connect(out.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        bounds = connection.execute("SELECT min_x, max_x FROM gpkg_contents").fetchall()
        assert bounds == [(400_000.0, 400_250.0)]
        assert connection.execute("SELECT count(*) FROM rtree_mine_geom").fetchall() == [(4,)]


def test_extra_columns_go_along(tmp_path: Path) -> None:
    extra = (Field(name="plot", declared="INTEGER"),)
    for ending in (".gpkg", ".fgb"):
        out = VectorOutput(path=tmp_path / f"a{ending}", crs=UTM, extra=extra)
        out.write([row(0, plot=7), row(1)])
        table = geopandas.read_file(out.path).sort_values("SRC_ATT")
        plots = table["plot"].to_numpy(dtype=float)
        assert plots[0] == 7
        assert np.isnan(plots[1])


def test_geojson_keeps_to_rfc_7946(tmp_path: Path) -> None:
    frame = CRS(3832)  # a Mercator projection about the antimeridian
    to = Transformer.from_crs(4326, frame, always_xy=True)
    x, y = to.transform([179.9, 179.9, -179.9, -179.9], [-17.0, -17.1, -17.1, -17.0])
    clockwise = Polygon(list(zip(x, y, strict=True))[::-1])
    out = VectorOutput(path=tmp_path / "a.geojson", crs=frame)
    out.write([row(0, clockwise, GSD_M=float("nan"))])
    found = json.loads(out.path.read_text())
    (feature,) = found["features"]
    shape = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert isinstance(shape, MultiPolygon)
    assert shape.is_valid
    assert shape.area == pytest.approx(0.02, rel=1e-6)
    assert all(part.exterior.is_ccw for part in shape.geoms)
    assert shape.bounds == pytest.approx((-180.0, -17.1, 180.0, -17.0))
    assert feature["properties"]["GSD_M"] is None


@pytest.mark.parametrize("ending", [".geojson", ".fgb", ".parquet", ".shp"])
def test_files_of_others_stay(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    theirs = geopandas.GeoDataFrame({"name": ["x"]}, geometry=[box(0, 0, 1, 1)], crs=UTM)
    if ending == ".parquet":
        theirs.to_parquet(path)
    elif ending == ".geojson":
        path.write_text(theirs.to_crs(4326).to_json())
    else:
        theirs.to_file(path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="no file of footprints"):
        VectorOutput(path=path, crs=UTM).write([row(0)])
    path.write_bytes(b"damaged")
    with pytest.raises(OutputExistsError):
        VectorOutput(path=path, crs=UTM).check()
    assert before


def test_a_layer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    VectorOutput(path=path, crs=UTM).write([row(0)])
    with pytest.raises(SchemaError, match=r"is in .*32633"):
        VectorOutput(path=path, crs=CRS(4326)).write([row(0, None)])
    theirs = geopandas.GeoDataFrame({"name": ["x"]}, geometry=[box(0, 0, 1, 1)], crs=UTM)
    theirs.to_file(path, layer="theirs")
    with pytest.raises(SchemaError, match="theirs"):
        VectorOutput(path=path, crs=UTM, layer="theirs").write([row(0)])


def test_what_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"one of \.gpkg"):
        VectorOutput(path=tmp_path / "a.kml", crs=UTM).check()
    with pytest.raises(ArgumentError, match="name of a layer"):
        VectorOutput(path=tmp_path / "a.gpkg", crs=UTM, layer="gpkg_x").check()
    with pytest.raises(SinkError, match="no folder"):
        VectorOutput(path=tmp_path / "none/a.fgb", crs=UTM).check()


@pytest.mark.parametrize("ending", [".geojson", ".fgb", ".parquet", ".shp"])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = VectorOutput(path=tmp_path / f"a{ending}", crs=UTM)
    out.write([row(0)])
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SinkError, match="No space"):
        out.write([row(0), row(1)])
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_failure_half_way_leaves_the_layer_as_it_was(tmp_path: Path) -> None:
    out = VectorOutput(path=tmp_path / "a.gpkg", crs=UTM)
    out.write([row(0)])
    broken = Row(attributes={"SRC_ATT": "b", "KIND": object()}, geometry=None)  # type: ignore[dict-item]
    with pytest.raises(SinkError, match="not supported"):
        out.write([row(1), broken])
    assert len(geopandas.read_file(out.path)) == 1
