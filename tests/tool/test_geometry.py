"""--geometry, --map-space and products, end to end with nets that do next to nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from pyproj import CRS, Transformer
from shapely.geometry import MultiPolygon, Polygon, box

from attachtrans.errors import ArgumentError, SchemaError, SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.report import Report, Status
from attachtrans.stores.poses.camera_json import CameraFile, read_camera, write_camera
from attachtrans.tool.place.options import Placing
from attachtrans.tool.translate import translate_pixels
from attachtrans.types import Size
from tests.models.nets import bicubic_x2
from tests.stores.appending import findings, rows
from tests.stores.gpkg import PDF

from .survey import (
    EAST,
    HEIGHT_M,
    NORTH,
    SIZE,
    STEP_M,
    add,
    elevations,
    picture,
    survey,
)

NADIR = box(-50, -100 / 3, 50, 100 / 3)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bicubic_x2(tmp_path_factory.mktemp("model") / "bicubic.emd")


def run(source: Path, model: Path, output: Path | str | None, **options: Any) -> Report:
    if output is None:
        options["overwrite_attachments"] = True
    return translate_pixels(source, model, output, device="cpu", **options)


def shapes(path: Path, layer: str) -> dict[str, Polygon | MultiPolygon | None]:
    """Footprints by SRC_ATT."""
    found = rows(path, f'SELECT SRC_ATT, geom FROM "{layer}"')
    return {key: None if blob is None else shapely.from_wkb(blob[40:]) for key, blob in found}


def overlap(one: Any, other: Any) -> float:
    return float(one.intersection(other).area / one.union(other).area)


def expected(number: int) -> Polygon:
    return shapely.affinity.translate(NADIR, EAST + STEP_M * (number - 1), NORTH)


KEY = "shots__ATTACH.DATA/"


def test_a_footprint_per_photo(model: Path, tmp_path: Path) -> None:
    """Two that look down, one that has no pose, one that shows sky alone, and a document."""
    source, output = survey(tmp_path / "in.gpkg", (0.0, 0.0, None, 170.0)), tmp_path / "out.gpkg"
    add(source, "shots", 5, "report.pdf", PDF)
    before = source.read_bytes()
    report = run(source, model, output, geometry="footprint")
    assert report.ok
    assert report.counts == {Status.TRANSLATED: 4, Status.SKIPPED: 1}
    reasons = {one.item.key: one.reason for one in report.outcomes}
    assert [key for key, reason in reasons.items() if not reason] == [f"{KEY}1", f"{KEY}2"]
    assert any("2 photos were translated but not placed" in note for note in report.notes)
    found = shapes(output, "shots")
    for number in (1, 2):
        assert overlap(found[f"{KEY}{number}"], expected(number)) > 0.9999
    query = "SELECT PROBLEM FROM shots WHERE geom ISNULL ORDER BY SRC_ATT"
    no_pose, sky, kept = (problem for (problem,) in rows(output, query))
    assert (no_pose, sky) == (reasons[f"{KEY}3"], reasons[f"{KEY}4"])
    assert kept == "not translated, so not placed"
    # GSD is that of the result, twice as fine: 100 m in 120 pixels.
    assert rows(output, "SELECT GSD_M FROM shots WHERE SRC_FID = 1 AND GSD_M NOTNULL") == [
        (pytest.approx(100 / (2 * SIZE[0]), rel=1e-3),)
    ]
    assert rows(output, "SELECT DISTINCT srs_id FROM gpkg_geometry_columns") == [(25832,)]
    assert findings(output) == []
    assert source.read_bytes() == before
    again = run(source, model, output, geometry="footprint")
    assert again.counts == {Status.ALREADY: 5}
    more = run(source, model, output, geometry="footprint", arguments={"tile_size": 32})
    assert more.counts[Status.TRANSLATED] == 4
    assert rows(output, "SELECT count(*), count(DISTINCT MODEL_FP) FROM shots") == [(10, 2)]


@pytest.mark.parametrize("layout", ["attach", "folder"])
def test_both_in_every_layout(layout: str, model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    options = {"geometry": "both", "output_layout": layout}
    assert run(source, model, f"{output}:sharp", **options).counts == {Status.TRANSLATED: 2}
    assert run(source, model, f"{output}:sharp", **options).counts == {Status.ALREADY: 2}
    assert rows(output, "SELECT count(*) FROM sharp") == [(2,)]
    found = shapes(output, "sharp_footprints")
    assert overlap(found[f"{KEY}2"], expected(2)) > 0.9999
    query = "SELECT f.fid, p.SRC_FID FROM sharp f JOIN sharp_footprints p USING (SRC_GLOBALID)"
    assert sorted(rows(output, query)) == [(1, 1), (2, 2)]
    assert findings(output) == []


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_the_system_of_footprints(crs: str | None, model: Path, tmp_path: Path) -> None:
    """That of --crs, else of the class that is there, else of the layer."""
    source, output = survey(tmp_path / "in.gpkg", (0.0,)), tmp_path / "out.gpkg"
    run(source, model, output, geometry="footprint", placing=Placing(crs=crs))
    wanted = crs or "EPSG:25832"
    ((number,),) = rows(output, "SELECT srs_id FROM gpkg_geometry_columns")
    assert number == int(wanted.split(":")[1])
    to_map = Transformer.from_crs("EPSG:25832", wanted, always_xy=True)
    exact = shapely.transform(expected(1).segmentize(1.0), to_map.transform, interleaved=False)
    assert overlap(shapes(output, "shots")[f"{KEY}1"], exact) > 0.9995
    for layer in ("", ":shots"):
        options = {"geometry": "footprint", "arguments": {"tile_size": 48 + len(layer)}}
        assert run(source, model, f"{output}{layer}", **options).ok
    with pytest.raises(SchemaError, match="leave --crs out"):
        run(source, model, output, geometry="footprint", placing=Placing(crs="EPSG:2154"))


def test_layers_keep_their_systems(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg", (0.0,)), tmp_path / "out.gpkg"
    other = survey(tmp_path / "b.gpkg", (0.0,), layer="b", epsg=4326, at=(9.0, 48.0))
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(f"ATTACH '{other}' AS other")
        for table in ("b", "b__ATTACH"):
            (sql,) = connection.execute(
                "SELECT sql FROM other.sqlite_master WHERE name = ?", (table,)
            ).fetchone()
            connection.execute(sql)
            connection.execute(f"INSERT INTO {table} SELECT * FROM other.{table}")
        for table in ("gpkg_contents", "gpkg_geometry_columns"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM other.{table}")
        connection.commit()
    assert run(source, model, output, geometry="footprint").counts == {Status.TRANSLATED: 2}
    query = "SELECT table_name, srs_id FROM gpkg_geometry_columns ORDER BY 1"
    assert rows(output, query) == [("b", 4326), ("shots", 25832)]
    (in_degrees,) = shapes(output, "b").values()
    assert box(8.99, 47.99, 9.01, 48.01).contains(in_degrees)


def test_the_antimeridian_cuts_footprints(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0, 0.0), epsg=4326, at=(179.9999, 10.0), step=5e-4)
    output = tmp_path / "out.gpkg"
    run(source, model, output, geometry="footprint")
    first, second = shapes(output, "shots").values()
    assert first is not None
    assert second is not None
    assert len(first.geoms) == 2
    assert first.bounds[0] == -180.0
    assert first.bounds[2] == 180.0
    assert second.bounds[2] < 0 or len(second.geoms) == 2
    assert findings(output) == []


def test_where_limit_and_bbox_choose(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg", (0.0,) * 4), tmp_path / "out.gpkg"
    options = {"geometry": "footprint"}
    run(source, model, output, where="fid = 3", **options)
    run(source, model, output, bbox=(EAST - 1, NORTH - 1, EAST + 1, NORTH + 1), **options)
    run(source, model, output, limit=2, **options)
    assert sorted(shapes(output, "shots")) == [f"{KEY}{n}" for n in (1, 2, 3)]
    assert run(source, model, output, **options).counts == {
        Status.TRANSLATED: 1,
        Status.ALREADY: 3,
    }


def test_what_was_lacking_is_given_later(model: Path, tmp_path: Path) -> None:
    """The same photos with another ground: footprints are made anew, none is added."""
    folder, output = tmp_path / "photos", tmp_path / "out.gpkg"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture(1))
    poses = tmp_path / "poses.csv"
    poses.write_text(f"image,x,y,z,omega,phi,kappa\na.jpg,{EAST},{NORTH},{HEIGHT_M},0,0,0\n")
    wish = {"poses": poses, "poses_crs": "EPSG:25832"}
    report = run(folder, model, output, placing=Placing(**wish))
    assert report.counts == {Status.TRANSLATED: 1}
    assert shapes(output, "photos") == {"a.jpg": None}
    planned = run(folder, model, output, placing=Placing(**wish, ground_m=0.0), dry_run=True)
    assert planned.counts == {Status.PLANNED: 1}
    for status in (Status.TRANSLATED, Status.ALREADY):
        report = run(folder, model, output, placing=Placing(**wish, ground_m=0.0))
        assert report.counts == {status: 1}
    assert rows(output, "SELECT count(*), count(geom), count(PROBLEM) FROM photos") == [(1, 1, 0)]
    assert rows(output, "SELECT count(*) FROM photos__ATTACH") == [(1,)]


def test_a_dry_run_writes_nothing(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0, None))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    wish = Placing(ortho=tmp_path / "orthos", rpc=tmp_path / "rpc", cameras=tmp_path / "cameras")
    for geometry in ("footprint", "both", "source"):
        options = {"geometry": geometry, "placing": wish, "dry_run": True}
        report = run(source, model, tmp_path / "out.gpkg", **options)
        assert report.counts == {Status.PLANNED: 2}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_dry_run_knows_which_footprints_are_lacking(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"

    def planned(geometry: str, **wish: Any) -> dict[Status, int]:
        options = {"geometry": geometry, "placing": Placing(**wish), "dry_run": True}
        return run(source, model, output, **options).counts

    run(source, model, output)
    assert planned("source") == {Status.ALREADY: 2}
    assert planned("both") == {Status.PLANNED: 2}
    run(source, model, output, geometry="both")
    assert planned("both") == {Status.ALREADY: 2}
    assert planned("both", ground_m=5.0) == {Status.PLANNED: 2}


# --- products ---------------------------------------------------------------------------------


def test_products_of_each_photo(model: Path, tmp_path: Path) -> None:
    source, dem = survey(tmp_path / "in.gpkg", (0.0, 30.0)), elevations(tmp_path / "dem.tif")
    wish = Placing(
        dem=dem,
        ortho=tmp_path / "o" / "orthos",
        rpc=tmp_path / "rpc",
        cameras=tmp_path / "cameras",
        resolution=0.5,
        cog=True,
    )
    report = run(source, model, tmp_path / "out.gpkg", geometry="footprint", placing=wish)
    assert report.counts == {Status.TRANSLATED: 2}
    assert not any("not placed" in note for note in report.notes)
    folder = "shots__ATTACH.DATA"
    for number in (1, 2):
        with rasterio.open(tmp_path / "o" / "orthos" / folder / f"{number}.tif") as ortho:
            assert ortho.crs == CRS.from_epsg(25832)
            assert ortho.res == (0.5, 0.5)
            assert ortho.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            covered = ortho.read(4) > 0
            pixel = abs(ortho.transform.a * ortho.transform.e)
            footprint = shapes(tmp_path / "out.gpkg", "shots")[f"{KEY}{number}"]
            assert footprint is not None
            assert covered.sum() * pixel == pytest.approx(footprint.area, rel=0.02)
        with rasterio.open(tmp_path / "rpc" / folder / f"{number}.tif") as copy:
            assert copy.tags(ns="RPC")
            assert (copy.width, copy.height) == (2 * SIZE[0], 2 * SIZE[1])
        assert (tmp_path / "cameras" / folder / f"{number}.camera.json").is_file()
    again = run(source, model, tmp_path / "out.gpkg", geometry="footprint", placing=wish)
    assert any("nothing was written beside 2 photos" in note for note in again.notes)


def test_photos_that_differ_by_their_endings_have_products_of_their_own(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture(1))
    (folder / "a.png").write_bytes(picture(2, kind="PNG"))
    poses = tmp_path / "poses.csv"
    poses.write_text(
        "image,x,y,z,omega,phi,kappa\n"
        + "".join(f"a.{end},{EAST},{NORTH},100,0,0,0\n" for end in ("jpg", "png"))
    )
    wish = Placing(poses=poses, poses_crs="EPSG:25832", ground_m=0.0, ortho=tmp_path / "orthos")
    run(folder, model, tmp_path / "out", placing=wish)
    assert {path.name for path in (tmp_path / "orthos").iterdir()} == {"a.jpg.tif", "a.png.tif"}
    assert {path.name for path in (tmp_path / "out").glob("a.*")} == {"a.jpg", "a.png"}


def test_a_photo_that_shows_no_ground_is_translated_and_told(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (170.0, 0.0))
    wish = Placing(ortho=tmp_path / "orthos")
    report = run(source, model, tmp_path / "out.gpkg", placing=wish)
    assert report.counts == {Status.TRANSLATED: 2}
    assert "shows no ground" in report.outcomes[0].reason
    assert any("1 photos were translated but not placed" in note for note in report.notes)
    assert len(list((tmp_path / "orthos").rglob("*.tif"))) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"placing": Placing(ground_m=1.0)}, "have no effect here"),
        ({"placing": Placing(crs="EPSG:25832")}, "have no effect here"),
        ({"space": "map", "placing": Placing(ortho=Path("o"))}, "go with --pixel-space"),
        ({"geometry": "both", "placing": Placing(undistort=True)}, "go with --rpc only"),
        ({"geometry": "both", "placing": Placing(resolution=1.0)}, "--ortho or --map-space only"),
        ({"geometry": "both", "placing": Placing(cog=True)}, "--cog goes with --ortho only"),
        ({"geometry": "sideways"}, "--geometry sideways: one of"),
    ],
)
def test_options_without_effect_are_refused(
    options: dict[str, Any], said: str, model: Path, tmp_path: Path
) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0,))
    with pytest.raises(ArgumentError, match=said):
        run(source, model, tmp_path / "out.gpkg", **options)
    assert not (tmp_path / "out.gpkg").exists()


def test_what_cannot_be_placed_with_stops_before_anything_is_written(
    model: Path, tmp_path: Path
) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0,))
    orthos = tmp_path / "orthos"
    for wish, kind in (
        (Placing(crs="EPSG:999999", ortho=orthos), ArgumentError),
        (Placing(dem=tmp_path / "none.tif", ortho=orthos), SourceError),
        (Placing(poses=tmp_path / "none.csv", ortho=orthos), SourceError),
        (Placing(columns={"heading": "nowhere"}, ortho=orthos), ArgumentError),
    ):
        with pytest.raises(kind):
            run(source, model, tmp_path / "out.gpkg", geometry="footprint", placing=wish)
    with pytest.raises(ArgumentError, match="goes with --output OUT"):
        run(source, model, None, geometry="footprint")
    assert {path.name for path in tmp_path.iterdir()} == {"in.gpkg"}


def test_a_damaged_sidecar_is_a_problem_of_the_place_alone(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture(1))
    (folder / "a.jpg.camera.json").write_text("{")
    report = run(folder, model, tmp_path / "out.gpkg")
    assert report.counts == {Status.TRANSLATED: 1}
    ((problem,),) = rows(tmp_path / "out.gpkg", "SELECT PROBLEM FROM photos")
    assert "a.jpg.camera.json" in problem


def folder_with_cameras(path: Path) -> Path:
    """A photo that looks down, with all that is known of it in a .camera.json beside it."""
    survey(path.parent / "survey.gpkg", (0.0,))
    path.mkdir()
    (path / "1.jpg").write_bytes(picture(1))
    poses = path.parent / "poses.csv"
    poses.write_text(f"image,x,y,z,omega,phi,kappa\n1.jpg,{EAST},{NORTH},100,0,0,0\n")
    lens = PerspectiveCamera(
        size=Size(*SIZE),
        focal_px=(60.0, 60.0),
        centre_px=(29.5, 19.5),
        rotation=np.eye(3),
        position=np.zeros(3),
    )
    (path.parent / "lens.json").write_bytes(write_camera(CameraFile(camera=lens)))
    return path


def test_results_in_a_folder_keep_their_place(model: Path, tmp_path: Path) -> None:
    """What --cameras writes is found beside a photo, goes with its results, and follows them."""
    folder, out = folder_with_cameras(tmp_path / "photos"), tmp_path / "out"
    wish = Placing(
        poses=tmp_path / "poses.csv",
        poses_crs="EPSG:25832",
        camera=tmp_path / "lens.json",
        ground_m=0.0,
        cameras=tmp_path / "cameras",
    )
    run(folder, model, tmp_path / "first", placing=wish)
    (tmp_path / "cameras" / "1.jpg.camera.json").rename(folder / "1.jpg.camera.json")
    run(folder, model, out)
    with Image.open(out / "1.jpg") as result:
        assert result.size == (2 * SIZE[0], 2 * SIZE[1])
    kept = read_camera(json.loads((out / "1.jpg.camera.json").read_text()), "").camera
    assert kept.size == (2 * SIZE[0], 2 * SIZE[1])
    middle = kept.project(np.array([[EAST], [NORTH], [0.0]]))
    assert middle.ravel() == pytest.approx([SIZE[0] - 0.5, SIZE[1] - 0.5], abs=1e-6)
    level = Placing(ground_m=0.0, crs="EPSG:25832")
    for number, source in enumerate((folder, out)):
        output = tmp_path / f"{number}.gpkg"
        run(source, model, output, placing=level)
        assert overlap(shapes(output, source.name)["1.jpg"], expected(1)) > 0.999
    # In the photo's place, a photo of another size keeps its camera too.
    assert run(folder, model, None).counts == {Status.TRANSLATED: 1}
    run(folder, model, tmp_path / "after.gpkg", placing=level)
    assert overlap(shapes(tmp_path / "after.gpkg", "photos")["1.jpg"], expected(1)) > 0.999


def test_orthos_in_a_folder_have_no_sidecars_of_the_photo(model: Path, tmp_path: Path) -> None:
    folder, out = folder_with_cameras(tmp_path / "photos"), tmp_path / "out"
    (folder / "1.jgw").write_text("1\n0\n0\n-1\n0\n0\n")
    wish = Placing(
        poses=tmp_path / "poses.csv",
        poses_crs="EPSG:25832",
        camera=tmp_path / "lens.json",
        ground_m=0.0,
        resolution=1.0,
    )
    run(folder, model, out, space="map", placing=wish)
    assert {path.name for path in out.iterdir()} == {"1.tif", "results.attachtrans"}
    with rasterio.open(out / "1.tif") as ortho:
        assert ortho.crs.to_epsg() == 25832
        assert ortho.bounds.left == pytest.approx(expected(1).bounds[0], abs=1)
    assert run(folder, model, out, space="map", placing=wish).counts == {Status.ALREADY: 1}


def test_places_that_are_none_are_problems_of_the_place_alone(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0,), epsg=4326, at=(500.0, 95.0))
    report = run(source, model, tmp_path / "out.gpkg", geometry="footprint")
    assert report.counts == {Status.TRANSLATED: 1}
    assert report.outcomes[0].reason


# --- map space --------------------------------------------------------------------------------


def test_map_space_rectifies_first(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg", (0.0, None, 30.0)), tmp_path / "out.gpkg"
    wish = Placing(resolution=1.0)
    report = run(source, model, output, geometry="footprint", space="map", placing=wish)
    assert report.counts == {Status.TRANSLATED: 3}
    query = "SELECT ATT_NAME, CONTENT_TYPE, DATA FROM shots__ATTACH ORDER BY SRC_ATT"
    first, second, third = rows(output, query)
    assert [row[:2] for row in (first, second, third)] == [
        ("1.tif", "image/tiff"),
        ("2.jpg", "image/jpeg"),
        ("3.tif", "image/tiff"),
    ]
    path = tmp_path / "1.tif"
    path.write_bytes(first[2])
    with rasterio.open(path) as ortho:
        assert ortho.crs == CRS.from_epsg(25832)
        assert ortho.res == (0.5, 0.5)  # a metre, twice as fine
        left, bottom, right, top = expected(1).bounds
        assert ortho.bounds.left == pytest.approx(left, abs=1)
        assert ortho.bounds.top == pytest.approx(top, abs=1)
        assert (ortho.bounds.right - right, bottom - ortho.bounds.bottom) < (1.1, 1.1)
        assert ortho.colorinterp[-1].name == "alpha"
        assert "POSE_SOURCE" in ortho.tags()
    assert rows(output, "SELECT GSD_M FROM shots WHERE SRC_FID = 1") == [
        (pytest.approx(100 / (2 * SIZE[0]), rel=2e-2),)
    ]
    assert overlap(shapes(output, "shots")[f"{KEY}1"], expected(1)) > 0.9995
    assert findings(output) == []
    again = run(source, model, output, geometry="footprint", space="map", placing=wish)
    assert again.counts == {Status.ALREADY: 3}


def test_map_space_and_pixel_space_are_two_jobs(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg", (0.0,)), tmp_path / "out.gpkg"
    run(source, model, output, geometry="footprint")
    report = run(source, model, output, geometry="footprint", space="map")
    assert report.counts == {Status.TRANSLATED: 1}
    finer = run(
        source, model, output, geometry="footprint", space="map", placing=Placing(resolution=0.5)
    )
    assert finer.counts == {Status.TRANSLATED: 1}
    query = "SELECT count(*), count(DISTINCT MODEL_FP) FROM shots"
    assert rows(output, query) == [(3, 3)]


def test_map_space_refuses_to_replace_a_photo_with_a_camera(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0, None))
    query = "SELECT DATA FROM shots__ATTACH ORDER BY 1"
    before = rows(source, query)
    report = run(source, model, None, space="map")
    assert report.counts == {Status.REFUSED: 1, Status.TRANSLATED: 1}
    assert "PIXELSPACE" in report.outcomes[0].reason
    assert len(set(before) & set(rows(source, query))) == 1


def test_a_photo_whose_ortho_would_be_too_large_stays_on_its_own_grid(
    model: Path, tmp_path: Path
) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0,))
    wish = Placing(resolution=1e-4)
    report = run(source, model, tmp_path / "out.gpkg", space="map", placing=wish)
    assert report.counts == {Status.TRANSLATED: 1}
    assert report.outcomes[0].size_out == (2 * SIZE[0], 2 * SIZE[1])
    assert "resolution" in report.outcomes[0].reason
    wish = Placing(resolution=1.0)
    fine = run(source, model, tmp_path / "b.gpkg", space="map", placing=wish, max_pixels=3000)
    assert "--max-pixels 3000" in fine.outcomes[0].reason


def test_transparent_photos_stay_so_in_map_space(model: Path, tmp_path: Path) -> None:
    source, output = survey(tmp_path / "in.gpkg", (0.0,)), tmp_path / "out.gpkg"
    pixels = np.full((SIZE[1], SIZE[0], 4), 200, np.uint8)
    pixels[: SIZE[1] // 2, :, 0] = 20
    pixels[:, : SIZE[0] // 2, 3] = 0
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE shots__ATTACH SET DATA = ?", (buffer.getvalue(),))
        connection.commit()
    run(source, model, output, space="map", placing=Placing(resolution=1.0))
    path = tmp_path / "ortho.tif"
    path.write_bytes(rows(output, "SELECT DATA FROM shots__ATTACH")[0][0])
    with rasterio.open(path) as ortho:
        red, alpha = ortho.read(1), ortho.read(4)
        at = {  # the top of the photo is north
            (x, y): ortho.index(EAST + x, NORTH + y) for x in (-25, 25) for y in (-15, 15)
        }
    assert {place: alpha[index] for place, index in at.items()} == {
        (-25, -15): 0,
        (-25, 15): 0,
        (25, -15): 200,
        (25, 15): 200,
    }
    assert (red[at[25, 15]], red[at[25, -15]]) == (20, 200)


@pytest.mark.parametrize("space", ["pixel", "map"])
def test_photos_that_lie_on_their_side_are_where_they_would_be_upright(
    space: str, model: Path, tmp_path: Path
) -> None:
    """A compass speaks of the upright picture, whatever the file's rows and columns are."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)
    pixels[: SIZE[1] // 2] = 20
    tag = Image.Exif()
    tag[0x112] = 6  # shown turned clockwise
    source, output = survey(tmp_path / "in.gpkg", (0.0,)), tmp_path / "out.gpkg"
    buffer = BytesIO()
    Image.fromarray(np.rot90(pixels)).save(buffer, "PNG", exif=tag)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE shots__ATTACH SET DATA = ?", (buffer.getvalue(),))
        connection.commit()
    options: dict[str, Any] = {"geometry": "footprint"}
    orthos = tmp_path / "orthos"
    options["placing"] = Placing(resolution=1.0, ortho=None if space == "map" else orthos)
    report = run(source, model, output, space=space, **options)
    assert report.counts == {Status.TRANSLATED: 1}
    assert overlap(shapes(output, "shots")[f"{KEY}1"], expected(1)) > 0.9995
    path = next(iter(orthos.rglob("*.tif")), tmp_path / "ortho.tif")
    if space == "map":
        path.write_bytes(rows(output, "SELECT DATA FROM shots__ATTACH")[0][0])
    with rasterio.open(path) as ortho:
        north, south = (ortho.read(1)[ortho.index(EAST + 5, NORTH + y)] for y in (20, -20))
    assert (north, south) == (20, 200)


# --- interrupted -----------------------------------------------------------------

RUN = """
import sys
import torch
torch.set_num_threads(1)
from attachtrans.cli import main
sys.argv = ["attachtrans", *sys.argv[1:]]
main()
"""


def start(arguments: Sequence[object]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "translate", *map(str, arguments), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.slow
def test_an_interrupted_run_goes_on(model: Path, tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg", (0.0, None) * 20)
    calm, output = tmp_path / "calm.gpkg", tmp_path / "out.gpkg"
    run(source, model, calm, geometry="footprint")
    arguments = [source, "-m", model, "-o", output, "--geometry", "footprint"]
    process = start(arguments)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if output.exists() and rows(output, "SELECT count(*) FROM shots")[0][0] > 3:
                break
        except sqlite3.OperationalError:
            pass
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:  # it was faster
        assert process.returncode == 130, said
        assert "Run the same command again to go on" in said
    assert run(source, model, output, geometry="footprint").ok
    query = "SELECT SRC_ATT, SRC_FID, geom, PROBLEM FROM shots ORDER BY 1"
    assert rows(output, query) == rows(calm, query)
