from __future__ import annotations

import sqlite3

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import Point

from attachtrans.errors import ArgumentError
from attachtrans.geo.pose import height_m
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.base import srs
from attachtrans.types import Size
from tests.stores.poses.film import on_film, opk
from tests.stores.poses.frames import NGI, points, stood, truth

CENTRE = (500_000.0, 5_000_000.0, 1500.0)
ANGLES = (1.5, -2.5, 33.0)
WORLD = np.array(CENTRE)[:, None] + np.array(
    [
        [-300.0, 250.0, 10.0, 400.0],
        [200.0, -280.0, 5.0, 380.0],
        [-1400.0, -1450.0, -1500.0, -1480.0],
    ]
)
FOCAL, PIXEL, SIZE = 100_500.0, 6.0, (10_000, 8_000)
FILMS = {
    1: ((1, 0), (0, 1)),
    2: ((0, -1), (1, 0)),
    3: ((-1, 0), (0, -1)),
    4: ((0, 1), (-1, 0)),
}


def write(tmp_path, camera, frame=(), srs="32633"):
    """Frames.csv and Cameras.csv of one frame."""
    row = {
        "ObjectID": 1,
        "Raster": "a.tif",
        "CameraID": "C1",
        "SRS": srs,
        **dict(zip(("PerspectiveX", "PerspectiveY", "PerspectiveZ"), CENTRE, strict=True)),
        **dict(zip(("Omega", "Phi", "Kappa"), ANGLES, strict=True)),
        **dict(frame),
    }
    camera = {"ObjectID": 1, "CameraID": "C1", "FocalLength": FOCAL, **camera}
    for name, values in (("Frames", row), ("Cameras", camera)):
        head, cells = (",".join(map(str, part)) for part in (values, values.values()))
        (tmp_path / f"{name}.csv").write_text(f"{head}\n{cells}\n")
    return tmp_path / "Frames.csv"


def simple(**fields):
    return {"PixelSize": PIXEL, "NColumns": SIZE[0], "NRows": SIZE[1], **fields}


def pixels(system, film):
    """(col, row) by the definition of a film coordinate system."""
    right, up = np.array(FILMS[system]) @ np.array(film)
    return right / PIXEL + (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2 - up / PIXEL


def expected(system=1, principal=(0.0, 0.0), **lens):
    rotation = opk(*ANGLES)
    found = [on_film(rotation, CENTRE, FOCAL, principal, point, **lens) for point in WORLD.T]
    return np.array([pixels(system, film) for film in found]).T


@pytest.mark.parametrize("system", [None, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "lens",
    [
        {},
        {"radial": (1e-4, 2e-12, -1e-22, 3e-33)},
        {"radial": (0.0, -4e-12), "tangential": (3e-9, -2e-9)},
    ],
)
def test_film_systems_and_polynomials_against_the_collinearity_equations(tmp_path, system, lens):
    radial = (*lens.get("radial", ()), 0.0, 0.0, 0.0, 0.0)[:4]
    camera = simple(PrincipalX=-35.0, PrincipalY=12.0, Radial=";".join(map(repr, radial)))
    camera |= {"Tangential": " ".join(map(repr, lens.get("tangential", (0.0, 0.0))))}
    camera |= {} if system is None else {"FilmCoordinateSystem": system}
    pose = read_poses(write(tmp_path, camera)).find("a.tif")
    seen = stood(pose, SIZE).project(WORLD)
    assert np.abs(seen - expected(system or 1, (-35.0, 12.0), **lens)).max() < 1e-6


@pytest.mark.parametrize("unit", ["mm", "focal"])
def test_the_unit_of_the_radius_is_an_option(tmp_path, unit):
    k1 = -4e-12
    stated = k1 * 1e6 if unit == "mm" else k1 * FOCAL**2
    path = write(tmp_path, simple(Radial=f"0;{stated!r};0;0"))
    options = PoseOptions(radius_unit=unit)
    seen = stood(read_poses(path, options=options).poses[0], SIZE).project(WORLD)
    assert np.abs(seen - expected(radial=(0.0, k1))).max() < 1e-6
    with pytest.raises(ArgumentError):
        raise ArgumentError(read_poses(path, options=PoseOptions(radius_unit="inch")).notes[0])


def test_terms_in_another_unit_are_warned_of(tmp_path):
    """Millimetres beside a focal length in micrometres, as an importer of Esri's writes them."""
    path = write(tmp_path, simple(Radial=f"0;{-4e-12 * FOCAL**2!r};0;0"))
    assert "another unit" in read_poses(path).notes[0]
    assert not read_poses(path, options=PoseOptions(radius_unit="focal")).notes


def test_a_table_of_distortions_is_met_within_a_tenth_of_a_pixel(tmp_path):
    radii = np.arange(0.0, 46_000.0, 5000.0)
    moved = radii * (1.5e-12 * radii**2 - 3e-22 * radii**4)
    camera = simple(
        RadialDistances=" ".join(map(repr, radii.tolist())),
        RadialDistortions=";".join(map(repr, moved.tolist())),
    )
    seen = stood(read_poses(write(tmp_path, camera)).poses[0], SIZE).project(WORLD)
    assert np.abs(seen - expected(radial=(0.0, 1.5e-12, -3e-22))).max() < 1e-6


@pytest.mark.parametrize("direction", [None, 1, -1])
@pytest.mark.parametrize("system", [1, 2, 3, 4])
def test_affine_terms_lead_from_image_to_film_unless_they_say_otherwise(
    tmp_path, direction, system
):
    linear = np.diag([1 / PIXEL, -1 / PIXEL]) @ np.array(FILMS[system]) + np.array(
        [[1e-6, 2e-5], [-3e-5, 2e-6]]
    )
    shift = np.array([5000.5, 3995.0])
    terms = np.column_stack([shift, linear])
    if direction != -1:
        inverse = np.linalg.inv(linear)
        terms = np.column_stack([-inverse @ shift, inverse])
    names = ("A0", "A1", "A2", "B0", "B1", "B2")
    camera = dict(zip(names, map(repr, terms.ravel().tolist()), strict=True))
    camera |= {"NColumns": SIZE[0], "NRows": SIZE[1]}
    camera |= {} if direction is None else {"AffineDirection": direction}
    seen = stood(read_poses(write(tmp_path, camera)).poses[0], SIZE).project(WORLD)
    films = [on_film(opk(*ANGLES), CENTRE, FOCAL, (0, 0), point) for point in WORLD.T]
    assert np.abs(seen - (linear @ np.array(films).T + shift[:, None])).max() < 1e-6


def test_a_matrix_is_row_by_row_from_the_film_to_the_map(tmp_path):
    cells = " ".join(map(repr, opk(*ANGLES).ravel().tolist()))
    path = write(tmp_path, simple(), {"Omega": "", "Phi": "", "Kappa": "", "Matrix": cells})
    seen = stood(read_poses(path).poses[0], SIZE).project(WORLD)
    assert np.abs(seen - expected()).max() < 1e-6


def test_values_of_the_frame_override_those_of_its_camera(tmp_path):
    path = write(tmp_path, simple(FocalLength=90_000.0), {"FocalLength": FOCAL})
    assert np.abs(stood(read_poses(path).poses[0], SIZE).project(WORLD) - expected()).max() < 1e-6


@pytest.mark.parametrize("name", NGI)
def test_g1_the_frames_of_ngi_as_frames_and_cameras(shared, tmp_path, name):
    geo = shared / "data" / "geo"
    found = truth(geo, f"ngi_{name}")
    photo = np.array(found["R_cam_cv_to_world"]) @ np.diag([1.0, -1.0, -1.0])
    frame = dict(zip(("PerspectiveX", "PerspectiveY", "PerspectiveZ"), found["C"], strict=True))
    frame |= {"Matrix": ";".join(map(repr, photo.ravel().tolist())), "Omega": "", "SRS": ""}
    camera = {"FocalLength": 120_000, "PixelSize": 144, "NColumns": 640, "NRows": 1152}
    path = write(tmp_path, camera, frame)
    pose = read_poses(path, crs=srs(found["crs"])).poses[0]
    at, world = points(geo, f"ngi_{name}")
    assert np.abs(stood(pose, (640, 1152)).project(world) - at).max() < 1e-6


def test_us_feet_are_feet_in_z_as_well(tmp_path):
    pose = read_poses(write(tmp_path, simple(), srs="2264")).poses[0]
    assert height_m(pose) == pytest.approx(1500.0 * 1200.0 / 3937.0, rel=1e-12)
    pose = read_poses(write(tmp_path, simple(), srs="2264;5703")).poses[0]
    assert height_m(pose) == 1500.0


@pytest.mark.parametrize("driver", ["GPKG", "OpenFileGDB"])
def test_tables_of_a_geopackage_and_a_file_geodatabase(tmp_path, driver):
    path = tmp_path / {"GPKG": "b.gpkg", "OpenFileGDB": "b.gdb"}[driver]
    frames = gpd.GeoDataFrame(
        {
            "Raster": ["a.tif"],
            "CameraID": ["C1"],
            **{f"Perspective{axis}": [value] for axis, value in zip("XYZ", CENTRE, strict=True)},
            **dict(zip(("Omega", "Phi", "Kappa"), [[a] for a in ANGLES], strict=True)),
        },
        geometry=[Point(1, 2)],
        crs="EPSG:32633",
    )
    cameras = frames[["CameraID", "geometry"]].assign(
        FocalLength=FOCAL, **{name: float(value) for name, value in simple().items()}
    )
    for name, layer in (("Frames", frames), ("Cameras", cameras)):
        layer.to_file(path, layer=name, driver=driver)
    seen = stood(read_poses(path).find("x/a.tif"), SIZE).project(WORLD)
    assert np.abs(seen - expected()).max() < 1e-6


@pytest.mark.parametrize(
    ("camera", "frame", "words"),
    [
        ({"NColumns": 10}, {}, "NColumns and NRows"),
        ({"NColumns": 10, "NRows": 10}, {}, "PixelSize"),
        (simple(FilmCoordinateSystem=7), {}, "FilmCoordinateSystem 7"),
        (dict.fromkeys(["A0", "A1", "A2", "B0", "B1", "B2"], 0) | simple(), {}, "flatten"),
        (simple(), {"SRS": 4326}, "not projected"),
        (simple(), {"PerspectiveX": ""}, "PerspectiveX"),
        (simple(RadialDistances="1 2", RadialDistortions="0"), {}, "RadialDistances"),
    ],
)
def test_what_lacks_or_is_wrong_is_told(tmp_path, camera, frame, words):
    assert words in read_poses(write(tmp_path, camera, frame)).notes[0]


def test_a_frame_without_its_camera_takes_the_users(tmp_path):
    path = write(tmp_path, simple())
    lens = read_poses(path).poses[0].lens
    (tmp_path / "Cameras.csv").unlink()
    assert read_poses(path).poses[0].lens is None
    assert read_poses(path, options=PoseOptions(cameras={"C1": lens})).poses[0].lens is lens


def test_a_frame_in_a_tangent_plane(tmp_path):
    centre = {"CenterLongitude": 15.0, "CenterLatitude": 45.0, "PerspectiveX": 0.0}
    centre |= {"PerspectiveY": 0.0, "PerspectiveZ": 1500.0}
    pose = read_poses(write(tmp_path, simple(), centre, srs="4326")).poses[0]
    assert pose.xyz == pytest.approx((15.0, 45.0, 1500.0), abs=1e-6)
    local = WORLD - np.array(CENTRE)[:, None]
    camera = stood(pose, SIZE)
    assert camera.size == Size(*SIZE)
    assert np.abs(camera.project(camera.position[:, None] + local) - expected()).max() < 1e-5


def test_a_geopackage_that_is_only_sqlite_is_refused(tmp_path):
    path = tmp_path / "x.gpkg"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(OSError, match="not a GeoPackage"):
        read_poses(path)
