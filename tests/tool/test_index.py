"""Folders with an index as the output of whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from attachtrans.tool.translate import plan_translation, translate_pixels
from tests.models.nets import bicubic_x2

from .survey import EAST, NORTH, SIZE, STEP_M, picture, survey


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bicubic_x2(tmp_path_factory.mktemp("model") / "bicubic.emd")


def index_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.geojson").read_text(encoding="utf-8"))["features"]


def test_photos_of_a_feature_class_become_files(model: Path, tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    first = translate_pixels(source, model, out)
    assert first.counts["translated"] == 2
    assert any("results.geojson lists the photos" in note for note in first.notes)
    features = index_of(out)
    assert [f["properties"]["SRC_FID"] for f in features] == [1, 2]
    assert features[0]["properties"]["CameraHeight"] == 100.0
    with Image.open(out / features[0]["properties"]["path"]) as result:
        assert result.size == (2 * SIZE[0], 2 * SIZE[1])
    preview = list(plan_translation(source, model, out, dry_run=True))
    assert [outcome.status for outcome in preview] == ["already"] * 2
    names = sorted(path.name for path in out.iterdir())
    assert translate_pixels(source, model, out).counts["already"] == 2
    assert sorted(path.name for path in out.iterdir()) == names
    assert not (out / "results.attachtrans").exists()


def test_footprints_lie_in_the_layers_own_system(model: Path, tmp_path: Path) -> None:
    import geopandas

    out = tmp_path / "out"
    source = survey(tmp_path / "in.gpkg")
    report = translate_pixels(source, model, out, geometry="footprint", index="geoparquet")
    assert report.ok
    frame = geopandas.read_parquet(out / "results.parquet")
    assert frame.crs.to_epsg() == 25832
    centres = shapely.get_coordinates(frame.centroid)
    np.testing.assert_allclose(centres, [[EAST, NORTH], [EAST + STEP_M, NORTH]], atol=0.5)
    assert set(frame["KIND"]) == {"ground"}


def test_photos_of_a_folder_get_an_index_on_request(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "DCIM").mkdir(parents=True)
    (source / "DCIM/a.jpg").write_bytes(picture(1))
    for status in ("translated", "already"):
        report = translate_pixels(source, model, out, index="geojson")
        assert report.counts[status] == 1
        (feature,) = index_of(out)
        assert feature["properties"]["path"] == "DCIM/a.jpg"
        assert feature["geometry"] is None
        assert "no position" in feature["properties"]["PROBLEM"]


def test_a_layer_of_a_project_is_a_source(model: Path, tmp_path: Path) -> None:
    survey(tmp_path / "in.gpkg")
    project = tmp_path / "project.qgs"
    project.write_text(
        "<qgis><projectlayers><maplayer><id>a</id><layername>Shots</layername><provider>ogr"
        "</provider><datasource>./in.gpkg|layername=shots|subset=fid = 2</datasource></maplayer>"
        "</projectlayers></qgis>"
    )
    report = translate_pixels(f"{project}:Shots", model, tmp_path / "out")
    assert report.counts["translated"] == 1
    assert [f["properties"]["SRC_FID"] for f in index_of(tmp_path / "out")] == [2]
