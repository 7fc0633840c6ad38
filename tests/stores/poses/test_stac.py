from __future__ import annotations

import json

import numpy as np
import pytest

from attachtrans.geo.pose import height_m
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.stac import interior_camera
from attachtrans.types import Size
from tests.stores.poses.frames import stood

DANISH = "skraafoto_stac/src/stac_fastapi/sqlalchemy/tests/data/test_item.json"
EXAMPLE = "stac_perspective/examples/item.json"


@pytest.fixture
def geo(shared):
    return shared / "data" / "geo"


def collinear(item, point):
    """(mm right, mm up) on the image by the collinearity equations of the item's matrix."""
    properties = item["properties"]
    rotation = np.reshape(properties["pers:rotation_matrix"], (3, 3))
    q = rotation @ (np.array(point) - properties["pers:perspective_center"])
    interior = properties["pers:interior_orientation"]
    x, y = -interior["focal_length"] * q[:2] / q[2]
    x0, y0 = interior["principal_point_offset"]
    return x + x0, y + y0


@pytest.mark.parametrize(
    ("name", "pitch", "size", "assumed"),
    [
        (EXAMPLE, 0.0052, (7788, 10336), ()),
        (DANISH, 0.0052, (10300, 7700), ("pixel spacing in metres, sensor size in millimetres",)),
    ],
)
def test_an_item_projects_by_the_collinearity_equations(geo, name, pitch, size, assumed):
    item = json.loads((geo / name).read_text())
    pose = read_poses(geo / name).find(f"{item['id']}.tif")
    assert pose.assumed == assumed
    assert pose.crs.name == "ETRS89 / UTM zone 32N + DVR90 height"
    camera = stood(pose, size)
    assert camera.size == Size(*size)
    centre = np.array(item["properties"]["pers:perspective_center"])
    assert height_m(pose) == centre[2]
    corners = np.array([[0.0, size[0] - 1.0, 900.0], [0.0, size[1] - 1.0, 4000.0]])
    ground = camera.position[:, None] + 1500.0 * camera.rays(corners)
    for point, (col, row) in zip(ground.T, corners.T, strict=True):
        x, y = collinear(item, point)
        # The image's middle is the film's zero; columns run right, rows down.
        assert x / pitch + (size[0] - 1) / 2 == pytest.approx(col, abs=1e-5)
        assert (size[1] - 1) / 2 - y / pitch == pytest.approx(row, abs=1e-5)


def test_the_danish_camera_looks_where_its_record_says(geo):
    item = json.loads((geo / DANISH).read_text())
    direction = read_poses(geo / DANISH).poses[0].rotation[:, 2]
    azimuth = np.rad2deg(np.arctan2(direction[0], direction[1]))
    assert azimuth == pytest.approx(item["properties"]["view:azimuth"], abs=1.0)
    off_nadir = np.rad2deg(np.arccos(-direction[2]))
    assert off_nadir == pytest.approx(item["properties"]["view:off_nadir"], abs=0.5)


def test_collections_of_items_and_folders(geo, tmp_path):
    items = [json.loads((geo / name).read_text()) for name in (EXAMPLE, DANISH)]
    together = tmp_path / "items.json"
    together.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert len(read_poses(together).poses) == 2
    folder = tmp_path / "folder"
    folder.mkdir()
    for count, item in enumerate(items):
        (folder / f"{count}.json").write_text(json.dumps(item))
    (folder / "broken.json").write_text("{")
    assert {pose.name for pose in read_poses(folder).poses} == {item["id"] for item in items}


def test_a_matrix_that_is_not_of_its_angles_is_refused(geo, tmp_path):
    item = json.loads((geo / EXAMPLE).read_text())
    item["properties"]["pers:kappa"] += 1.0
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    found = read_poses(path)
    assert not found.poses
    assert "different attitudes" in found.notes[0]


def test_angles_alone_and_a_lens_of_the_user(geo, tmp_path):
    item = json.loads((geo / EXAMPLE).read_text())
    for name in ("pers:rotation_matrix", "pers:interior_orientation", "pers:vertical_crs"):
        del item["properties"][name]
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    lens = read_poses(geo / EXAMPLE).poses[0].lens
    pose = read_poses(path, options=PoseOptions(cameras={"": lens})).poses[0]
    assert np.array_equal(pose.rotation, pose_matrix("opk", (-0.0721, -34.9835, -90.0566)))
    assert pose.lens is lens
    assert pose.crs.to_epsg() == 25832


@pytest.mark.parametrize(
    ("spacing", "sensor"),
    [
        ([0.0052, 0.0052], [10300, 7700]),
        ([5.2e-6, 5.2e-6], [10300, 7700]),
        ([0.0052, 0.0052], [53.56, 40.04]),
        ([5.2e-6, 5.2e-6], [53.56, 40.04]),
    ],
)
def test_units_are_found_by_the_field_of_view(spacing, sensor):
    interior = {"focal_length": 123, "pixel_spacing": spacing, "sensor_array_dimensions": sensor}
    camera, _ = interior_camera(interior)
    assert camera.size == (10300, 7700)
    assert camera.focal_px == pytest.approx((123 / 0.0052,) * 2)


def test_units_that_are_none(geo, tmp_path):
    item = json.loads((geo / EXAMPLE).read_text())
    item["properties"]["pers:interior_orientation"]["pixel_spacing"] = [52.0, 52.0]
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    assert "--camera" in read_poses(path).notes[0]


def test_radial_terms_are_of_millimetres():
    interior = {
        "focal_length": 100,
        "pixel_spacing": [0.01, 0.01],
        "sensor_array_dimensions": [6000, 4000],
        "radial_distortion": [1e-3, 1e-6, 2e-9, 0.0],
    }
    camera, _ = interior_camera(interior)
    radius = 20.0
    moved = radius * (1 + 1e-3 + 1e-6 * radius**2 + 2e-9 * radius**4)
    col = camera.project(np.array([[radius / 100], [0.0], [1.0]]))[0, 0]
    assert col == pytest.approx(2999.5 + moved / 0.01, abs=1e-9)
