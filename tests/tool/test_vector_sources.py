"""Photo jobs over shapefiles, GeoJSON, FlatGeobuf and GeoParquet, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from PIL import Image

from attachtrans.errors import ArgumentError, SinkError
from attachtrans.tool.extract import extract_photos
from attachtrans.tool.footprints import plan_footprints
from attachtrans.tool.translate import translate_pixels
from tests.models.nets import bicubic_x2
from tests.stores.appending import rows

from .survey import EAST, NORTH, SIZE, STEP_M, picture

ENDINGS = (".shp", ".geojson", ".fgb", ".parquet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bicubic_x2(tmp_path_factory.mktemp("model") / "bicubic.emd")


def shots(path: Path, **columns: object) -> Path:
    """Two photos with the poses of `survey`, beside the file that names them."""
    for number in (0, 1):
        (path.parent / f"{number}.jpg").write_bytes(picture(number))
    values = {
        "photo": ["0.jpg", "1.jpg"],
        "CamHeading": [0.0, 0.0],
        "CamPitch": [0.0, 0.0],
        "AvgHtAG": [100.0, 100.0],
        "HFOV": [53.13, 53.13],
    } | columns
    points = [shapely.Point(EAST + STEP_M * number, NORTH) for number in (0, 1)]
    frame = geopandas.GeoDataFrame(values, geometry=points, crs=25832)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_crs(4326 if path.suffix == ".geojson" else 25832).to_file(path, engine="fiona")
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_results_are_appended_once(tmp_path: Path, model: Path, ending: str) -> None:
    source, output = shots(tmp_path / f"shots{ending}"), tmp_path / "out.gpkg"
    first = translate_pixels(source, model, output)
    assert first.ok
    assert first.counts["translated"] == 2
    assert translate_pixels(source, model, output).counts["already"] == 2
    found = rows(output, "SELECT SRC_FILE, SRC_LAYER, SRC_photo FROM shots ORDER BY 3")
    assert found == [(source.name, "shots", f"{n}.jpg") for n in (0, 1)]
    assert rows(output, "SELECT SRC_FID FROM shots ORDER BY 1") == [(0,), (1,)]
    assert rows(output, "SELECT count(*) FROM shots__ATTACH") == [(2,)]


@pytest.mark.parametrize("ending", [".shp", ".parquet"])
def test_photos_are_replaced_and_the_file_is_not(tmp_path: Path, model: Path, ending: str) -> None:
    source = shots(tmp_path / f"shots{ending}")
    before = {path: path.read_bytes() for path in tmp_path.glob("shots.*")}
    assert translate_pixels(source, model, overwrite_attachments=True).counts["translated"] == 2
    results = [(tmp_path / f"{n}.jpg").read_bytes() for n in (0, 1)]
    assert picture(0) not in results
    assert translate_pixels(source, model, overwrite_attachments=True).counts["already"] == 2
    assert [(tmp_path / f"{n}.jpg").read_bytes() for n in (0, 1)] == results
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / f"shots{ending}.attachtrans").exists()
    assert (tmp_path / "shots.bak/0.jpg").read_bytes() == picture(0)
    again = translate_pixels(source, model, overwrite_attachments=True, restart=True)
    assert again.counts["translated"] == 2
    with Image.open(tmp_path / "0.jpg") as result:
        assert result.size == (2 * SIZE[0], 2 * SIZE[1])


def test_photos_in_the_file_itself_are_not_replaced(tmp_path: Path, model: Path) -> None:
    source = shots(tmp_path / "shots.parquet", photo=[picture(0), picture(1)])
    with pytest.raises(SinkError, match=r"shots\.parquet itself"):
        translate_pixels(source, model, overwrite_attachments=True)
    report = translate_pixels(source, model, tmp_path / "out.gpkg")
    assert report.counts["translated"] == 2


def test_footprints_come_from_the_features_poses(tmp_path: Path) -> None:
    output = tmp_path / "out.geojson"
    assert len(list(plan_footprints(shots(tmp_path / "shots.shp"), output))) == 2
    found = geopandas.read_file(output).to_crs(25832)
    assert found["SRC_FILE"].tolist() == ["shots.shp"] * 2
    centres = shapely.get_coordinates(found.centroid)
    np.testing.assert_allclose(centres, [[EAST, NORTH], [EAST + STEP_M, NORTH]], atol=0.5)


def test_the_footprints_class_is_in_the_files_own_system(tmp_path: Path, model: Path) -> None:
    output = tmp_path / "out.gpkg"
    source = shots(tmp_path / "shots.fgb")
    assert translate_pixels(source, model, output, geometry="footprint").ok
    assert rows(output, "SELECT srs_id FROM gpkg_geometry_columns") == [(25832,)]
    assert rows(output, "SELECT HFOV, KIND FROM shots")[0] == (53.13, "ground")


def test_files_are_extracted_with_the_files_attributes(tmp_path: Path) -> None:
    source = shots(tmp_path / "shots.geojson", plot=["a", "b"])
    report = extract_photos(source, tmp_path / "out", name_by="{plot}/{n}")
    assert [file.file for file in report.files] == ["a/1.jpg", "b/1.jpg"]
    index = json.loads((tmp_path / "out/photos.geojson").read_text())
    assert [f["properties"]["fid"] for f in index["features"]] == [0, 1]


def test_there_is_no_geopackage_to_make_smaller(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ArgumentError, match="--vacuum"):
        translate_pixels(
            shots(tmp_path / "shots.shp"), model, overwrite_attachments=True, vacuum=True
        )
