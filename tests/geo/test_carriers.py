"""Goal G10: a picture twice or four times as large lies where it lay, read as its readers do."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine, GCPTransformer, RPCTransformer

from attachtrans.errors import GeorefError
from attachtrans.geo import carriers
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.stores.poses.opensfm import sfm_camera
from attachtrans.types import Size
from tests.stores.poses.film import on_film, opk

BEFORE = Size(96, 64)
SIZES = [Size(192, 128), Size(384, 256), Size(48, 32), Size(101, 191)]
EVEN = SIZES[:3]
TURNED = Affine.translation(2.6e6, 1.2e6) @ Affine.rotation(30) @ Affine.scale(2.0, -3.0)
EXACT = {"RPC_PIXEL_ERROR_THRESHOLD": "1e-6"}
WORLD = np.array([[-30.0, 25.0, 1.0, 40.0], [20.0, -28.0, 5.0, 38.0], [0.0, 3.0, -2.0, 1.0]])


def grid(size=BEFORE, count=5):
    """(2, N) places of a picture from its outer corner, the same ones whatever its size."""
    cols, rows = np.meshgrid(np.linspace(0, size[0], count), np.linspace(0, size[1], count))
    return np.stack([cols.ravel(), rows.ravel()])


def larger(pixels, after):
    """Where places (from the outer corner) of a picture are in another size of it."""
    return pixels * np.array([[after[0] / BEFORE[0]], [after[1] / BEFORE[1]]])


@pytest.mark.parametrize("after", SIZES)
def test_geotransforms(after):
    scaled = Affine.from_gdal(*carriers.scale_geotransform(TURNED.to_gdal(), BEFORE, after))
    moved = np.stack(scaled @ tuple(grid(after)))
    assert np.abs(moved - np.stack(TURNED @ tuple(grid()))).max() < 1e-6


@pytest.mark.parametrize("after", SIZES)
def test_world_files_as_gdal_reads_them(tmp_path, after):
    text = carriers.world_file(PixelToMap.read(TURNED))
    for size, words in (
        (BEFORE, text),
        (after, carriers.scale_world_file(text, BEFORE, after)),
    ):
        Image.new("L", size).save(tmp_path / f"{size[0]}.png")
        (tmp_path / f"{size[0]}.pgw").write_text(words)
        with rasterio.open(tmp_path / f"{size[0]}.png") as file:
            moved = np.stack(file.transform @ tuple(grid(size)))
        assert np.abs(moved - np.stack(TURNED @ tuple(grid()))).max() < 1e-6


def test_world_files_with_decimal_commas_are_read():
    text = carriers.world_file(PixelToMap.read(TURNED))
    again = carriers.read_world_file(text.replace(".", ","))
    assert again == carriers.read_world_file(text)
    assert list(vars_of(again)) == pytest.approx(list(TURNED)[:6])


def vars_of(transform):
    return [getattr(transform, name) for name in "abcdef"]


@pytest.mark.parametrize("text", ["", "1 2 3", "1 0 0 x 0 0", "1 0 0 0 5 5", "1 0 0 -1 0 nan"])
def test_what_is_no_world_file_is_refused(text):
    with pytest.raises(GeorefError, match="world file"):
        carriers.read_world_file(text)


@pytest.mark.parametrize("after", SIZES)
def test_control_points_as_gdal_reads_them(after):
    xy = np.stack(TURNED @ tuple(grid(count=3))) + np.random.default_rng(0).normal(0, 1, (2, 9))
    found = []
    for pixels, size in (
        (grid(count=3), BEFORE),
        (carriers.scale_gcps(grid(count=3), BEFORE, after), after),
    ):
        points = [
            GroundControlPoint(row=row, col=col, x=x, y=y)
            for col, row, x, y in np.concatenate([pixels, xy]).T
        ]
        with GCPTransformer(points) as gdal:
            found.append(gdal.xy(*grid(size)[::-1], offset="ul"))
    assert np.abs(np.subtract(*found)).max() < 1e-5


@pytest.mark.parametrize("after", SIZES)
def test_rpcs_as_gdal_reads_them(shared, after):
    path = shared / "data/geo/orthority/tests/data/rpc/qb2_basic1b.tif"
    with rasterio.open(path) as file:
        tags, before = file.tags(ns="RPC"), Size(file.width, file.height)
    tags["LINE_OFF"] += " pixels"
    after = Size(before[0] * after[0] // 96, before[1] * after[1] // 64)
    scaled = carriers.scale_rpc_tags(tags, before, after)
    assert scaled["LINE_OFF"].endswith(" pixels")
    changed = {name for name in tags if scaled[name] != tags[name]}
    assert changed == {"LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE"}
    tags["LINE_OFF"], scaled["LINE_OFF"] = (one["LINE_OFF"].split()[0] for one in (tags, scaled))
    with RPCTransformer(RPC.from_gdal(tags), **EXACT) as gdal:
        expected = gdal.xy(*grid(before)[::-1], offset="ul")
    with RPCTransformer(RPC.from_gdal(scaled), **EXACT) as gdal:
        rows, cols = gdal.rowcol(*expected, op=float)
    assert np.abs(np.stack([cols, rows]) - grid(after)).max() < 1e-4


def test_an_rpc_without_numbers_is_refused():
    with pytest.raises(GeorefError, match="SAMP_OFF"):
        carriers.scale_rpc_tags({"SAMP_OFF": "?"}, BEFORE, SIZES[0])


FILM = ("47.5", "-0.52", "0.01", "31.5", "0.02", "-0.55")
LENS = "30.5|0.25|-0.125|1e-05|-2e-09|0|1e-07|-1e-07"
HEADS = {
    1: "1|25832|5783|500000|5000000|150|30|45|2",
    2: "2|25832|5783|500000|5000000|150|2|-3|40",
    4: "4|55.5|9.5|6378137|0.00669438|2|1|2|100|2|-3|40",
}


@pytest.mark.parametrize("after", SIZES)
@pytest.mark.parametrize("kind", HEADS)
def test_camera_orientation_strings_by_their_definition(after, kind):
    text = f"{HEADS[kind]}|{'|'.join(FILM)}|{LENS}"
    scaled = carriers.scale_camera_orientation(text, BEFORE, after)
    assert scaled.startswith(f"{HEADS[kind]}|")
    assert scaled.endswith(f"|{LENS}")
    begin = HEADS[kind].count("|") + 1
    was, now = (
        np.array(one.split("|")[begin : begin + 6], dtype=float).reshape(2, 3)
        for one in (text, scaled)
    )
    film = np.array([[1.0, 1.0, 1.0], [-3.0, 7.0, 0.0], [20.0, -11.0, 2.0]])
    assert np.abs(now @ film + 0.5 - larger(was @ film + 0.5, after)).max() < 1e-9


@pytest.mark.parametrize("text", [HEADS[1], f"{HEADS[2]}||||||", "3|4326||9|55|2|10|0|0"])
def test_strings_without_pixels_stay(text):
    assert carriers.scale_camera_orientation(text, BEFORE, SIZES[0]) == text


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "type"), ("7|1", "type"), (f"{HEADS[1]}|1|2", "2 of 6"), (f"{HEADS[1]}|1|2|x", "A0")],
)
def test_damaged_strings_are_refused(text, word):
    with pytest.raises(GeorefError, match=word):
        carriers.scale_camera_orientation(text, BEFORE, SIZES[0])


def test_oriented_imagery_rows():
    row = {
        "X": 1.0,
        "HFOV": 60.0,
        "CamOri": f"{HEADS[1]}|{'|'.join(FILM)}|{LENS}",
        "FocalLength": 9,
    }
    row |= {name: float(value) for name, value in zip(("A0", "A1", "A2", "B0", "B1", "B2"), FILM,
                                                      strict=True)}  # fmt: skip
    scaled = carriers.scale_oriented_imagery_row(row, BEFORE, SIZES[0])
    assert scaled["CamOri"] == carriers.scale_camera_orientation(row["CamOri"], BEFORE, SIZES[0])
    assert scaled["A0"] == pytest.approx(2 * 47.5 + 0.5)
    assert scaled["B2"] == pytest.approx(-1.1)
    assert {n: scaled[n] for n in ("X", "HFOV", "FocalLength")} == {
        "X": 1.0,
        "HFOV": 60.0,
        "FocalLength": 9,
    }
    plain = {"X": 1.0, "CameraHeading": 30.0, "CameraOrientation": None}
    assert carriers.scale_oriented_imagery_row(plain, BEFORE, SIZES[0]) == plain


def film_points():
    """(2, N) on the film of a camera 100 m above WORLD, micrometres."""
    found = [on_film(opk(2, -3, 40), (0, 0, 100), 20_000, (30, -20), point) for point in WORLD.T]
    return np.array(found).T


@pytest.mark.parametrize("after", EVEN)
def test_cameras_rows_with_square_pixels(after):
    """Esri: image and film share their middle; film x to the right, y up."""
    row = {"CameraID": "C", "PixelSize": 350.0, "NRows": 64, "NCOLUMNS": 96, "FocalLength": 20_000}
    scaled = carriers.scale_camera_row(row, BEFORE, after)
    assert (scaled["NCOLUMNS"], scaled["NRows"]) == after
    assert scaled["FocalLength"] == 20_000
    x, y = film_points()
    places = [
        np.stack(
            [x / one["PixelSize"] + one["NCOLUMNS"] / 2, one["NRows"] / 2 - y / one["PixelSize"]]
        )
        for one in (row, scaled)
    ]
    assert np.abs(places[1] - larger(places[0], after)).max() < 1e-9


@pytest.mark.parametrize("after", SIZES)
@pytest.mark.parametrize(
    "direction", [None, 1, "1", "ImageToFilm", "Image to film", -1, "FilmToImage"]
)
def test_cameras_rows_with_affine_terms(after, direction):
    to_image = np.array([[47.2, 0.0029, 1e-5], [31.8, -2e-5, -0.0028]])
    backwards = direction in {-1, "FilmToImage"}
    linear = np.linalg.inv(to_image[:, 1:])
    to_film = np.column_stack([-linear @ to_image[:, 0], linear])
    terms = (to_image if backwards else to_film).ravel()
    names = ("A0", "A1", "A2", "B0", "B1", "B2")
    row = {"AffineDirection": direction, "PixelSize": 345.0, **dict(zip(names, terms, strict=True))}
    scaled = carriers.scale_camera_row(row, BEFORE, after)
    now = np.array([scaled[name] for name in names]).reshape(2, 3)
    if not backwards:
        linear = np.linalg.inv(now[:, 1:])
        now = np.column_stack([-linear @ now[:, 0], linear])
    film = np.vstack([np.ones(4), film_points()])
    assert np.abs(now @ film + 0.5 - larger(to_image @ film + 0.5, after)).max() < 1e-6


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"PixelSize": 3.0}, "square"),
        ({"A0": 1, "A1": 2}, "six numbers"),
        ({"A0": 1, "A1": 2, "A2": 0, "B0": 0, "B1": "x", "B2": 1}, "six numbers"),
        ({**dict.fromkeys(("A0", "A1", "A2", "B0", "B1", "B2"), 1), "AffineDirection": 0}, "-1"),
    ],
)
def test_cameras_rows_that_mean_nothing_are_refused(row, word):
    with pytest.raises(GeorefError, match=word):
        carriers.scale_camera_row(row, BEFORE, SIZES[3])


BROWN = {
    "projection_type": "brown", "width": 96, "height": 64, "focal_x": 0.8, "focal_y": 0.81,
    "c_x": 0.01, "c_y": -0.02, "k1": -0.1, "k2": 0.02, "p1": 0.001, "p2": 0.0, "k3": 0.0,
}  # fmt: skip
SIMPLE = {"projection_type": "perspective", "width": 96, "height": 64, "focal": 0.8, "k1": -0.1}


@pytest.mark.parametrize(
    ("camera", "after"), [*[(BROWN, after) for after in SIZES], *[(SIMPLE, one) for one in EVEN]]
)
def test_opensfms_cameras_as_it_reads_them(camera, after):
    scaled = carriers.scale_opensfm_cameras({"v2 dji": camera}, BEFORE, after)["v2 dji"]
    assert (scaled["width"], scaled["height"]) == after
    if after in EVEN:
        assert {**scaled, "width": 96, "height": 64} == camera
    points = np.array([[-0.4, 0.3, 0.1], [0.2, -0.25, 0.0], [1.0, 1.0, 1.0]])
    was, now = (sfm_camera(one).project(points) + 0.5 for one in (camera, scaled))
    assert np.abs(now - larger(was, after)).max() < 1e-9


def test_one_focal_length_for_two_scales_is_refused():
    with pytest.raises(GeorefError, match="one focal length"):
        carriers.scale_opensfm_cameras({"v2": SIMPLE}, BEFORE, SIZES[3])
    sphere = {"projection_type": "spherical", "width": 96, "height": 64}
    scaled = carriers.scale_opensfm_cameras({"v2": sphere}, BEFORE, SIZES[3])
    assert scaled == {"v2": {**sphere, "width": 101, "height": 191}}


@pytest.mark.parametrize("after", SIZES)
def test_camera_matrices_as_cameras_are_resized(after):
    camera = PerspectiveCamera(
        BEFORE,
        focal_px=(80.0, 81.0),
        centre_px=(47.1, 33.3),
        shear_px=(0.1, 0.0),
        rotation=np.eye(3),
        position=np.zeros(3),
    )
    matrix = np.array([[80.0, 0.1, 47.1], [0.0, 81.0, 33.3], [0.0, 0.0, 1.0]])
    points = np.array([[-0.4, 0.3, 0.1], [0.2, -0.25, 0.0], [1.0, 1.0, 1.0]])
    moved = (carriers.scale_camera_matrix(matrix, BEFORE, after) @ points)[:2]
    assert np.abs(moved - camera.resized(after).project(points)).max() < 1e-9
    assert np.abs(moved + 0.5 - larger(camera.project(points) + 0.5, after)).max() < 1e-9
