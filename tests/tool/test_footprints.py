"""Footprints without a model: the truth of real frames, every source, every format."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import sqlite3
import weakref
from contextlib import closing

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import CRS
from shapely.geometry import shape as shape_of

from attachtrans.errors import (
    ArgumentError,
    LayoutError,
    OutputExistsError,
    SchemaError,
    SinkError,
    SourceError,
)
from attachtrans.geo.footprint import footprint
from attachtrans.tool import footprints as module
from attachtrans.tool.footprints import plan_footprints
from attachtrans.tool.place.options import Placing
from attachtrans.tool.sources import Choice
from tests.stores.poses.photos import gps, jpeg, packet
from tests.tool import survey as surveys
from tests.tool.place import world


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def truth(path):
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return {
        feature["properties"]["filename"]: shape_of(feature["geometry"]).buffer(0)
        for feature in features
        if feature["properties"]["kind"] == "truth_edges"
    }


def placed(run):
    return {one.key: one for one in run}


@pytest.fixture
def survey(tmp_path):
    return world.survey(tmp_path)


@pytest.mark.slow
def test_a_folder_over_an_elevation_model(survey, tmp_path):
    photos, placing, views = survey
    run = plan_footprints(
        photos, tmp_path / "out.gpkg", placing=Placing(**placing, crs="EPSG:32633")
    )
    found = placed(run)
    assert list(found) == ["0.png", "1.png"]
    assert run.written
    rows = geopandas.read_file(tmp_path / "out.gpkg").set_index("NAME")
    for name, view in zip(found, views, strict=True):
        wanted = footprint(view, far_m=found[name].footprint.far_m)
        assert iou(found[name].footprint.geometry, wanted.geometry) > 0.99999
        assert rows.geometry[name].equals_exact(
            shapely.MultiPolygon([found[name].footprint.geometry]), 1e-9
        )
        assert rows.CAM_Z[name] == pytest.approx(300.0)
        assert rows.PITCH[name] == pytest.approx(35.0)
        assert rows.POSE_SRC[name].startswith("lens of camera.json + table")
        assert rows.SRC_ATT[name] == name


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".gpkg", ".geojson", ".fgb", ".parquet", ".shp"])
def test_every_format_twice(ending, survey, tmp_path):
    """The second time nothing is added; coordinates are those of the run."""
    photos, placing, _ = survey
    out = tmp_path / f"out{ending}"
    for _ in range(2):
        found = placed(plan_footprints(photos, out, placing=Placing(**placing)))
    rows = geopandas.read_parquet(out) if ending == ".parquet" else geopandas.read_file(out)
    assert len(rows) == 2
    assert rows.crs.to_epsg() == 4326
    for name, shape in zip(rows.NAME, rows.geometry, strict=True):
        assert iou(shape, found[name].footprint.geometry) > 0.99999


@pytest.mark.parametrize("frames", ["ngi", "odm"])
def test_real_frames_against_their_truth(frames, shared, tmp_path):
    data, known = shared / "data/geo/orthority/tests/data", shared / "data/geo/truth"
    if frames == "ngi":
        source, choice = data / "ngi", Choice(patterns=("3324*",))
        placing = Placing(
            poses=data / "io/ngi_xyz_opk.csv",
            camera=data / "io/ngi_int_param.yaml",
            dem=data / "ngi/dem.tif",
            crs=(data / "io/ngi_xyz_opk.prj").read_text(encoding="utf-8"),
        )
    else:
        source, choice = data / "odm/images", Choice()
        placing = Placing(
            poses=data / "odm/opensfm/reconstruction.json",
            dem=data / "odm/odm_dem/dsm.tif",
            crs="EPSG:32651",
        )
    found = placed(plan_footprints(source, tmp_path / "a.gpkg", choice=choice, placing=placing))
    wanted = truth(known / f"{frames}_footprints_projected.geojson")
    assert set(found) == set(wanted)
    for name, one in found.items():
        assert iou(one.footprint.geometry, wanted[name]) > 0.999, name
    if frames == "odm":
        assert found["100_0005_0018.tif"].attributes["OFF_SHARE"] > 0.02
        assert found["100_0005_0142.tif"].attributes["OFF_SHARE"] == 0.0


def test_what_other_ground_hides_is_left_out_on_request(shared):
    """Cells of a real surface that surely are hidden, and such that surely are not."""
    import rasterio

    data = shared / "data/geo/orthority/tests/data/odm"
    known = {"poses": data / "opensfm/reconstruction.json", "dem": data / "odm_dem/dsm.tif"}
    whole, seen = (
        next(
            iter(
                plan_footprints(
                    data / "images",
                    placing=Placing(**known, crs="EPSG:32651", visible=visible),
                    choice=Choice(patterns=("*0018*",)),
                )
            )
        )
        for visible in (False, True)
    )
    assert (whole.attributes["KIND"], seen.attributes["KIND"]) == ("ground", "visible")
    with rasterio.open(shared / "data/geo/truth/odm_100_0005_0018_los_clearance.tif") as file:
        clearance, grid = file.read(1), file.transform
    rows, cols = np.nonzero(np.abs(clearance) > 0.5)
    rows, cols = rows[::5], cols[::5]
    places = grid.c + (cols + 0.5) * grid.a, grid.f + (rows + 0.5) * grid.e
    inside, visible = (
        shapely.contains_xy(one.footprint.geometry, *places) for one in (whole, seen)
    )
    assert (visible == (clearance[rows, cols] > 0.5))[inside].mean() > 0.999
    assert inside.sum() > 5000


def test_duck_cameras_from_esris_table_against_their_truth(shared, tmp_path):
    """CameraOrientation strings; the horizon is in view, and no ground beyond the far distance."""
    cameras = json.loads((shared / "data/geo/cirn_duck/cameras_c1_c3.json").read_text())
    path = tmp_path / "oriented.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Name", "X", "Y", "Z", "SRS", "CameraOrientation"])
        for name, camera in cameras.items():
            k1, k2, p1, p2, k3 = camera["dist_k1k2p1p2k3"]
            # Esri's importer puts the middle of the picture into A0 and B0: pixel centres.
            middle = (0.5 * (camera["width"] - 1), 0.5 * (camera["height"] - 1))
            down = -camera["fy"] / camera["fx"]
            principal = (camera["cx"] - middle[0], (camera["cy"] - middle[1]) / down)
            film = [middle[0], 1, 0, middle[1], 0, down, camera["fx"], *principal]
            angles = [camera[f"{angle}_deg"] for angle in ("heading", "pitch", "roll")]
            words = [1, 32119, 5703, *camera["C"], *angles, *film, k1, k2, k3, p1, p2]
            rows.writerow([name, *camera["C"], 32119, "|".join(map(repr, words))])
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in cameras:
        folder = shared / "data/geo/cirn_duck/X_FixedMultCamDemoData/collectionData" / name
        shutil.copy(next(folder.glob("*.jpg")), photos / f"{name}.jpg")
    placing = Placing(
        poses=path, ground_m=-0.248, radius_unit="focal", crs="EPSG:32119", far_m=900.0
    )
    for key, one in placed(plan_footprints(photos, placing=placing)).items():
        name = key.removesuffix(".jpg")
        with (shared / f"data/geo/truth/cirn_{name}_points.csv").open() as file:
            points = list(csv.DictReader(file))
        sky = np.mean([row["above_horizon"] == "1" for row in points])
        assert one.attributes["SKY_SHARE"] == pytest.approx(sky, abs=0.02)
        for row in points:
            if row["x"] and float(row["ground_range_m"]) < 899.0:
                place = shapely.Point(float(row["x"]), float(row["y"]))
                assert one.footprint.geometry.distance(place) < 0.01, row


def test_brightons_frames_stand_on_their_surface(shared):
    """The drone's own altitude is 3 m off; the model does not cover the ground under it."""
    data = shared / "data/geo/brighton_beach"
    placing = Placing(dem=data / "derived/dsm_025m.tif")
    found = placed(plan_footprints(data / "images", placing=placing))
    for one in found.values():
        assert one.attributes["CAM_Z"] == pytest.approx(201.7, abs=1.5)
        assert (
            "as high as in the middle of what the elevation model has" in one.attributes["ASSUMED"]
        )
        assert one.attributes["OFF_SHARE"] > 0.5


def test_field_photos_look_a_street_far(shared):
    photo = shared / "data/geo/exif_samples/mergin_photo_ricoh_dir357T.jpg"
    (one,) = plan_footprints(photo, placing=Placing(crs="EPSG:32632"))
    assert one.footprint.far_m == 50.0
    assert one.attributes["HEADING"] == pytest.approx(357.0)
    assert one.attributes["SKY_SHARE"] == pytest.approx(0.5, abs=0.01)
    bounds = one.footprint.geometry.bounds
    assert 40.0 < bounds[3] - bounds[1] < 50.0
    for words in ("level camera", "camera 1.8 m above the ground"):
        assert words in one.attributes["ASSUMED"]


def test_tables_without_photos(survey, tmp_path):
    """The same as with them, when the camera has the photos' size."""
    photos, placing, _ = survey
    with_photos = placed(plan_footprints(photos, placing=Placing(**placing)))
    table = placing.pop("poses")
    alone = placed(plan_footprints(table, tmp_path / "a.gpkg", placing=Placing(**placing)))
    assert list(alone) == list(with_photos)
    for key, one in alone.items():
        assert iou(one.footprint.geometry, with_photos[key].footprint.geometry) > 0.999999


def test_rows_of_one_name_and_of_none_stay_apart(survey, tmp_path):
    _, placing, _ = survey
    table = placing.pop("poses")
    head, first, _ = table.read_text().splitlines()
    nameless = first.replace("0.png", "")
    table.write_text(f"{head}\n{first}\n{first}\n{nameless}\n{first}\n")
    run = plan_footprints(table, tmp_path / "a.gpkg", placing=Placing(**placing))
    assert list(placed(run)) == ["0.png", "0.png (2)", "0.png (3)"]
    assert "row 3 names no photo" in run.notes
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as connection:
        assert connection.execute("SELECT count(*) FROM footprints").fetchone() == (3,)
    assert len(plan_footprints(table, placing=Placing(**placing))) == 3


@pytest.mark.parametrize(
    ("placing", "choice", "words"),
    [
        ({"poses": "t.csv"}, {}, "is a table of poses itself"),
        ({}, {"where": "a = 1"}, "--where chooses photos"),
        ({}, {"patterns": ("*",)}, "--pattern chooses photos"),
        ({}, {"limit": 0}, "--limit 0"),
    ],
)
def test_options_that_a_table_has_no_use_for(placing, choice, words, survey):
    _, known, _ = survey
    table = known.pop("poses")
    with pytest.raises(ArgumentError, match=words):
        plan_footprints(table, placing=Placing(**known, **placing), choice=Choice(**choice))


def test_what_fails_stays_with_its_photo(tmp_path):
    photos = {
        "a.jpg": jpeg(gps=gps(15, 50, 200.0, direction=90)),
        "b.jpg": jpeg(gps=gps(15, 50, 200.0)),
        "c.jpg": b"",
        "d.jpg": b"%PDF-1.7",
        "e.jpg": jpeg(gps=gps(15, 50, 200.0, direction=90)),
        "f.jpg": jpeg(gps=gps(15, 50, 200.0, direction=90), xmp=b"<x:xmpmeta broken"),
        "g.txt": b"no photo",
        "h.jpg": jpeg(xmp=packet({"drone-dji:GimbalPitchDegree": "nan"})),
    }
    for name, data in photos.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "e.jpg.camera.json").write_text("[]")
    found = placed(plan_footprints(tmp_path))
    status = {key: str(one.status) for key, one in found.items()}
    assert status == {
        "a.jpg": "placed",
        "b.jpg": "failed",
        "c.jpg": "skipped",
        "d.jpg": "skipped",
        "e.jpg": "failed",
        "f.jpg": "placed",
        "h.jpg": "failed",
    }
    assert "b.jpg has no direction (EXIF GPS)" in found["b.jpg"].reason
    assert "is no camera file" in found["e.jpg"].reason
    line = found["a.jpg"].to_dict()
    assert json.loads(json.dumps(line))["wkt"].startswith("POLYGON")
    assert found["b.jpg"].to_dict()["reason"]


def test_nothing_is_written_before_the_last_photo_or_on_a_dry_run(survey, tmp_path):
    photos, placing, _ = survey
    run = plan_footprints(photos, tmp_path / "a.gpkg", placing=Placing(**placing))
    for _ in run:
        assert not (tmp_path / "a.gpkg").exists()
        break
    assert not run.written
    dry = plan_footprints(
        photos,
        tmp_path / "a.gpkg",
        placing=Placing(**placing),
        preview=tmp_path / "a.png",
        dry_run=True,
    )
    assert len(placed(dry)) == 2
    assert not list(tmp_path.glob("a.*"))


def test_footprints_of_a_geopackage_go_into_it_in_its_layers_system(tmp_path):
    source = surveys.survey(tmp_path / "a.gpkg", (0.0, 45.0, None), epsg=25832)
    run = plan_footprints(source, f"{source}:views")
    found = placed(run)
    assert [str(one.status) for one in found.values()] == ["placed", "placed", "failed"]
    assert [one.layer for one in found.values()] == ["shots"] * 3
    rows = geopandas.read_file(source, layer="views")
    assert rows.crs.to_epsg() == 25832
    nadir = rows.geometry[0]
    x, y = nadir.centroid.coords[0]
    assert (x, y) == pytest.approx((surveys.EAST, surveys.NORTH), abs=0.05)
    # As wide as high: 100 m by 66.7 m, in the grid of UTM where its scale is 0.9996.
    assert nadir.area == pytest.approx(100.0 * 200.0 / 3.0, rel=2e-3)
    again = plan_footprints(source, f"{source}:views")
    assert len(list(again)) == 3
    assert any("2 took the place of others" in note for note in again.notes)
    assert len(geopandas.read_file(source, layer="views")) == 2


def test_a_layer_that_is_there_says_the_system(survey, tmp_path):
    photos, placing, _ = survey
    out = tmp_path / "a.gpkg"
    list(plan_footprints(photos, out, placing=Placing(**placing, crs="EPSG:3857")))
    later = plan_footprints(photos, out, placing=Placing(**placing))
    list(later)
    assert later.crs == CRS.from_epsg(3857)
    with pytest.raises(SchemaError, match=r"--crs WGS 84: the layer footprints of .* is in"):
        plan_footprints(photos, out, placing=Placing(**placing, crs="EPSG:4326"))
    other = plan_footprints(photos, f"{out}:wgs84", placing=Placing(**placing, crs="EPSG:4326"))
    assert len(list(other)) == 2


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        ("a.kml", ArgumentError, "the ending says the format"),
        ("none/a.gpkg", SinkError, "there is no folder"),
        ("mine.geojson", OutputExistsError, "no file of footprints that attachtrans wrote"),
        ("a.gpkg:gpkg_contents", ArgumentError, "cannot be the name of a layer"),
    ],
)
def test_outputs_that_cannot_be(output, error, words, survey, tmp_path):
    photos, placing, _ = survey
    (tmp_path / "mine.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(error, match=words):
        plan_footprints(photos, tmp_path / output, placing=Placing(**placing))


def test_inputs_that_cannot_be(survey, tmp_path):
    photos, placing, _ = survey
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("one,two\n1,2\n")
    with pytest.raises(LayoutError, match="there are no photos"):
        plan_footprints(tmp_path / "empty")
    with pytest.raises(SourceError, match="has no poses that are known"):
        plan_footprints(tmp_path / "a.csv")
    with pytest.raises(SourceError, match="has no poses that are known"):
        list(plan_footprints(photos, placing=Placing(poses=tmp_path / "a.csv")))
    for flag in ("crs", "poses_crs"):
        with pytest.raises(ArgumentError, match=f"--{flag.replace('_', '-')}: the coordinate"):
            list(plan_footprints(photos, placing=Placing(**{**placing, flag: "nonsense"})))


@pytest.mark.slow
def test_a_preview_shows_footprints_and_cameras(survey, tmp_path):
    photos, placing, _ = survey
    from PIL import Image

    run = plan_footprints(photos, placing=Placing(**placing), preview=tmp_path / "a.png")
    list(run)
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20
    assert f"preview: {tmp_path / 'a.png'}" in run.notes
    for name, words in (("a.jpg", "is a PNG"), ("none/a.png", "there is no folder")):
        with pytest.raises(ArgumentError, match=words):
            plan_footprints(photos, preview=tmp_path / name)


@pytest.mark.slow
def test_a_preview_of_places_without_a_map_in_common_does_not_end_the_run(tmp_path):
    for name, (longitude, latitude) in {"a": (15, 50), "b": (-165, -50)}.items():
        data = jpeg(gps=gps(longitude, latitude, 2.0, direction=90))
        (tmp_path / f"{name}.jpg").write_bytes(data)
    run = plan_footprints(tmp_path, tmp_path / "a.gpkg", preview=tmp_path / "a.png")
    assert len(list(run)) == 2
    assert run.written


def test_what_a_run_keeps_does_not_grow_with_elevation_models(survey, tmp_path, monkeypatch):
    """Of 1000 photos over a fine model each view would hold megabytes of heights."""
    photos, placing, _ = survey
    grounds = []
    original = module.Viewer.view

    def watched(self, pose, size):
        seen = original(self, pose, size)
        ground = seen.view.surface
        copy = type(ground)(ground.array.copy(), ground.grid)
        object.__setattr__(seen.view, "surface", copy)
        object.__setattr__(seen.view, "ground", copy)
        grounds.append(weakref.ref(copy.surface.heights))
        return seen

    monkeypatch.setattr(module.Viewer, "view", watched)
    results = list(
        plan_footprints(
            photos, tmp_path / "a.gpkg", placing=Placing(**placing), preview=tmp_path / "a.png"
        )
    )
    gc.collect()
    assert len(results) == len(grounds) == 2
    assert [ground() for ground in grounds] == [None, None]
