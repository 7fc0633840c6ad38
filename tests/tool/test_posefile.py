"""Poses put right from files, and found again by every command."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from attachtrans.errors import (
    ArgumentError,
    GeorefError,
    OutputExistsError,
    SinkError,
    SourceError,
)
from attachtrans.geo.rotation import pose_angles
from attachtrans.tool.footprints import plan_footprints
from attachtrans.tool.place.options import Placing
from attachtrans.tool.posefile import fit_photo
from tests.geo import scene
from tests.tool.place import world


def points_csv(path, view, name="0.png", places=None, heights=True):
    """Control points of the relief, measured exactly; from the outer corner of the first pixel."""
    if places is None:
        cols, rows = np.meshgrid([15.0, 80.0, 145.0], [15.0, 60.0, 105.0])
        places, _ = view.look(np.stack([cols.ravel(), rows.ravel()]))
    pixels = view.see(places)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "x", "y", "z", "col", "row", "image"])
        for number, (place, pixel) in enumerate(zip(places.T, pixels.T, strict=True)):
            z = repr(float(place[2])) if heights else ""
            words = [repr(float(value)) for value in (*place[:2], *pixel)]
            rows.writerow([f"p{number}", *words[:2], z, *words[2:], name])
    return path


@pytest.fixture
def survey(tmp_path):
    """A photo whose table is wrong by some metres and degrees."""
    photos, placing, views = world.survey(tmp_path, 1)
    table = placing["poses"]
    head, line = table.read_text().splitlines()
    name, x, y, z, heading, pitch, roll = line.split(",")
    wrong = [float(x) + 6.0, float(y) - 5.0, float(z) + 4.0, float(heading) + 3.0]
    cells = [name, *map(repr, wrong), repr(float(pitch) - 2.0), roll]
    table.write_text(f"{head}\n{','.join(cells)}\n")
    return photos / "0.png", placing, views[0]


@pytest.mark.slow
def test_a_wrong_pose_is_put_right_and_found_by_the_next_command(survey, tmp_path):
    photo, placing, view = survey
    points = points_csv(tmp_path / "points.csv", view)
    wish = Placing(poses=placing["poses"], poses_crs="EPSG:32633", camera=placing["camera"])
    found = fit_photo(photo, points, points_crs="EPSG:32633", placing=wish)
    assert found.output == photo.with_name("0.png.camera.json")
    assert found.fitted.fit.rms_px < 1e-6
    assert found.fitted.pose.xyz == pytest.approx(tuple(view.eye.position), abs=1e-6)
    before, after = (
        next(iter(plan_footprints(photo, placing=placing))).footprint.geometry
        for placing in (
            Placing(**placing, crs="EPSG:32633"),
            Placing(dem=placing["dem"], crs="EPSG:32633"),
        )
    )
    assert before.equals(after)  # the sidecar goes before the table
    from attachtrans.geo.footprint import footprint

    wanted = footprint(view, far_m=2000.0).geometry
    assert after.intersection(wanted).area > 0.9999 * after.union(wanted).area
    text = json.dumps(found.to_json())
    assert "NaN" not in text
    assert found.to_json()["free"] == ["rotation", "position"]


def test_heights_come_from_the_elevation_model(survey, tmp_path):
    photo, placing, view = survey
    points = points_csv(tmp_path / "points.csv", view, heights=False)
    found = fit_photo(
        photo, points, points_crs="EPSG:32633", placing=Placing(**placing), dry_run=True
    )
    assert found.output is None
    assert not photo.with_name("0.png.camera.json").exists()
    assert found.fitted.pose.xyz == pytest.approx(tuple(view.eye.position), abs=0.02)
    level = {name: value for name, value in placing.items() if name != "dem"}
    flat = fit_photo(
        photo,
        points,
        points_crs="EPSG:32633",
        placing=Placing(**level, ground_m=200.0),
        dry_run=True,
    )
    assert flat.fitted.fit.rms_px > 0.5
    with pytest.raises(GeorefError, match="control point p0 has no height"):
        fit_photo(photo, points, points_crs="EPSG:32633", placing=Placing(**level), dry_run=True)


def test_an_existing_file_is_not_lost(survey, tmp_path):
    photo, placing, view = survey
    points = points_csv(tmp_path / "points.csv", view)
    arguments = {"points_crs": "EPSG:32633", "placing": Placing(**placing)}
    fit_photo(photo, points, **arguments)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        fit_photo(photo, points, **arguments)
    fit_photo(photo, points, **arguments, overwrite=True)
    fit_photo(photo, points, tmp_path / "other.json", **arguments)
    assert (tmp_path / "other.json").exists()
    with pytest.raises(SinkError, match=r"there is no folder .*none; make it first"):
        fit_photo(photo, points, tmp_path / "none" / "other.json", **arguments)


def test_points_of_other_photos_are_left_alone(survey, tmp_path):
    photo, placing, view = survey
    both = points_csv(tmp_path / "a.csv", view, name="0.PNG").read_text()
    other = points_csv(tmp_path / "b.csv", view, name="9.png").read_text().split("\n", 1)[1]
    (tmp_path / "both.csv").write_text(both + other.replace("500", "501"))
    arguments = {"points_crs": "EPSG:32633", "placing": Placing(**placing), "dry_run": True}
    found = fit_photo(photo, tmp_path / "both.csv", **arguments)
    assert len(found.fitted.points) == 9
    with pytest.raises(SourceError, match=r"no control points of 0\.png, but of 9\.png"):
        fit_photo(photo, tmp_path / "b.csv", **arguments)


def test_a_blunder_is_told(survey, tmp_path):
    photo, placing, view = survey
    text = points_csv(tmp_path / "a.csv", view).read_text().splitlines()
    cells = text[5].split(",")
    cells[4] = repr(float(cells[4]) + 25.0)
    text[5] = ",".join(cells)
    (tmp_path / "a.csv").write_text("\n".join(text))
    found = fit_photo(
        photo,
        tmp_path / "a.csv",
        points_crs="EPSG:32633",
        placing=Placing(**placing),
        sigma_px=0.5,
        dry_run=True,
    )
    assert [point.name for point in found.fitted.points if point.suspect] == ["p4"]
    assert "p4 does not agree with the others" in found.fitted.notes[0]


def test_what_cannot_be_fitted(survey, tmp_path):
    photo, placing, view = survey
    points = points_csv(tmp_path / "a.csv", view)
    wish = Placing(**placing)
    shutil.copy(photo, photo.with_name("1.png"))
    with pytest.raises(ArgumentError, match="name one photo"):
        fit_photo(photo.parent, points, placing=wish)
    (tmp_path / "pdf.jpg").write_bytes(b"%PDF-1.7")
    with pytest.raises(SourceError, match="is no image"):
        fit_photo(tmp_path / "pdf.jpg", points, placing=wish)
    with pytest.raises(SourceError):
        fit_photo(photo, tmp_path / "none.csv", placing=wish)
    with pytest.raises(ArgumentError, match="--pose names attribute columns"):
        fit_photo(photo, points, placing=Placing(columns={"heading": "a"}))
    few = "\n".join(points.read_text().splitlines()[:3])
    (tmp_path / "few.csv").write_text(few)
    with pytest.raises(GeorefError):
        fit_photo(photo, tmp_path / "few.csv", points_crs="EPSG:32633", placing=wish)


def test_feet_and_their_datum_are_kept(tmp_path):
    """A state plane in feet: the sidecar is in metres, the result in the points' own feet."""
    from pyproj import CRS, Transformer

    feet = CRS.from_user_input("EPSG:2264+6360")  # North Carolina, US feet, NAVD88 feet
    photos, placing, views = world.survey(tmp_path, 1)
    view = views[0]
    flat = CRS.from_epsg(2264)
    origin = np.array(Transformer.from_crs(4326, flat, always_xy=True).transform(-79.0, 35.5))
    unit = 1200.0 / 3937.0
    cols, rows = np.meshgrid([15.0, 80.0, 145.0], [15.0, 60.0, 105.0])
    pixels = np.stack([cols.ravel(), rows.ravel()])
    places, _ = view.look(pixels)
    away = places[:2] - scene.CENTRE[:, None]
    with (tmp_path / "points.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["name", "x", "y", "z", "col", "row"])
        for number in range(9):
            x, y = (origin + away[:, number] / unit).tolist()
            z = float(places[2, number] / unit)
            lines.writerow([number, x, y, z, *pixels[:, number].tolist()])
    found = fit_photo(
        photos / "0.png",
        tmp_path / "points.csv",
        points_crs=feet.to_wkt(),
        placing=Placing(camera=placing["camera"]),
    )
    assert found.fitted.fit.rms_px < 0.01  # the grid's scale is not quite 1 there
    assert found.fitted.pose.xyz[2] == pytest.approx(view.eye.position[2] / unit, rel=1e-4)
    side = json.loads(found.output.read_text(encoding="utf-8"))
    assert side["position"][2] == pytest.approx(view.eye.position[2], rel=1e-4)
    (one,) = plan_footprints(photos / "0.png", placing=Placing(ground_m=200.0))
    assert one.attributes["CAM_Z"] == pytest.approx(view.eye.position[2], rel=1e-4)


def test_duck_cameras_from_points_of_the_beach_alone(shared, tmp_path):
    """From 9 points and the lens: place and direction as they were published."""
    data = shared / "data/geo"
    cameras = json.loads((data / "cirn_duck/cameras_c1_c3.json").read_text())
    for name, camera in cameras.items():
        folder = data / "cirn_duck/X_FixedMultCamDemoData/collectionData" / name
        photo = tmp_path / f"{name}.jpg"
        shutil.copy(next(folder.glob("*.jpg")), photo)
        with (data / f"truth/cirn_{name}_points.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["x"]]
        rows = [row for row in rows if float(row["ground_range_m"]) < 2000.0]
        with (tmp_path / "points.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["name", "x", "y", "z", "col", "row"])
            for row in rows[:: max(1, len(rows) // 8)]:
                lines.writerow([row[key] for key in ("col", "x", "y", "z", "col", "row")])
        inside = [[camera["fx"], 0, camera["cx"]], [0, camera["fy"], camera["cy"]], [0, 0, 1]]
        value = {
            "image_width": camera["width"],
            "image_height": camera["height"],
            "camera_matrix": inside,
            "distortion_coefficients": camera["dist_k1k2p1p2k3"],
        }
        (tmp_path / "camera.json").write_text(json.dumps(value))
        found = fit_photo(
            photo,
            tmp_path / "points.csv",
            points_crs="EPSG:32119+5703",
            centre=True,
            placing=Placing(camera=tmp_path / "camera.json"),
        )
        assert found.fitted.fit.rms_px < 1e-6
        assert found.fitted.pose.xyz == pytest.approx(camera["C"], abs=1e-4)
        angles = pose_angles("hpr", found.fitted.fit.camera.rotation)
        wanted = [camera[f"{part}_deg"] for part in ("heading", "pitch", "roll")]
        assert angles == pytest.approx(wanted, abs=1e-6)
    # The horizon is in view; 43 m above the sea they count up to 430 m.
    for one in plan_footprints(tmp_path, placing=Placing(ground_m=-0.248), choice=None):
        assert one.footprint.far_m == pytest.approx(430.0, abs=5.0)
        assert one.attributes["SKY_SHARE"] > 0.01
