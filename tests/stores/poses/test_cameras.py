from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import AttachtransError, SourceError
from attachtrans.geo.camera import FisheyeCamera, PanoramaCamera
from attachtrans.stores.poses.camera_json import CameraFile, write_camera
from attachtrans.stores.poses.cameras import read_cameras
from attachtrans.stores.poses.lenses import pinhole
from attachtrans.stores.poses.yamlfile import read_yaml
from attachtrans.types import Size

MATRIX = np.array([[3000.1, 0.0, 1999.2], [0.0, 2999.9, 1501.25], [0.0, 0.0, 1.0]])
TERMS = np.array([-0.1, 0.02, 1e-3, -2e-3, 0.003])
PLANE = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 40))
PLANE[2] = 1.0


def opencv(matrix=MATRIX, terms=TERMS):
    return cv2.projectPoints(PLANE.T.copy(), np.zeros(3), np.zeros(3), matrix, terms)[0][:, 0].T


def write(tmp_path, text, name="camera.yml"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["yml", "json"])
def test_what_opencv_itself_writes(tmp_path, suffix):
    path = tmp_path / f"camera.{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 4000)
    storage.write("image_height", 3000)
    storage.write("camera_matrix", MATRIX)
    storage.write("distortion_coefficients", TERMS.reshape(1, 5))
    storage.write("avg_reprojection_error", 0.31)
    storage.release()
    camera = read_cameras(path)[""]
    assert camera.size == (4000, 3000)
    assert np.abs(camera.project(PLANE) - opencv()).max() < 1e-9


ROS = """
image_width: 4000
image_height: 3000
camera_name: narrow_stereo  # of the test
camera_matrix:
  rows: 3
  cols: 3
  data: [3000.1, 0., 1999.2, 0., 2999.9, 1501.25,
         0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.1, 0.02, 0.001, -0.002, 0.003]
"""


def test_a_calibration_of_ros(tmp_path):
    camera = read_cameras(write(tmp_path, ROS))[""]
    assert np.abs(camera.project(PLANE) - opencv()).max() < 1e-9
    fish = read_cameras(
        write(tmp_path, ROS.replace("plumb_bob", "equidistant").replace(", 0.003]", "]"))
    )[""]
    assert isinstance(fish, FisheyeCamera)
    expected = cv2.fisheye.projectPoints(
        PLANE.T[:, None].copy(), np.zeros(3), np.zeros(3), MATRIX, TERMS[:4]
    )[0][:, 0].T
    assert np.abs(fish.project(PLANE) - expected).max() < 1e-9


@pytest.mark.parametrize("names", [("K", "dist"), ("camera_matrix", "dist_coeffs"), ("K", "D")])
def test_matrices_as_plain_json(tmp_path, names):
    value = {names[0]: MATRIX.tolist(), names[1]: TERMS.tolist(), "image_size": [4000, 3000]}
    camera = read_cameras(write(tmp_path, json.dumps(value), "c.json"))[""]
    assert np.abs(camera.project(PLANE) - opencv()).max() < 1e-9


def test_our_own_file_and_those_of_image_matching(tmp_path):
    camera = pinhole(Size(4000, 3000), (3000.0, 2990.0), (2000.0, 1490.0), TERMS.tolist())
    path = tmp_path / "x.camera.json"
    path.write_bytes(write_camera(CameraFile(camera=camera)))
    assert np.array_equal(read_cameras(path)[""].project(PLANE), camera.project(PLANE))
    sfm = {
        "v2 one": {"projection_type": "perspective", "width": 800, "height": 600, "focal": 0.8},
        "v2 two": {"projection_type": "spherical", "width": 800, "height": 400},
    }
    found = read_cameras(write(tmp_path, json.dumps(sfm), "cameras.json"))
    assert set(found) == set(sfm)
    assert isinstance(found["v2 two"], PanoramaCamera)
    one = read_cameras(write(tmp_path, json.dumps({"v2 one": sfm["v2 one"]}), "cameras.json"))
    assert one[""] is one["v2 one"]


def test_the_interior_parameters_of_ngi(shared):
    folder = shared / "data" / "geo" / "orthority" / "tests" / "data"
    camera = read_cameras(folder / "io" / "ngi_int_param.yaml")["Integraph DMC"]
    assert camera.focal_px == pytest.approx((120 / 92.16 * 640,) * 2)
    assert camera.centre_px == (319.5, 575.5)


@pytest.mark.parametrize(
    ("kind", "terms"), [("brown", "k1: -0.1\n  k2: 0.02"), ("opencv", "k1: -0.1\n  k2: 0.02")]
)
def test_focal_lengths_without_a_sensor_are_of_the_longer_side(tmp_path, kind, terms):
    text = f"cam:\n  type: {kind}\n  im_size: [912, 1368]\n  focal_len: 0.6665\n  {terms}\n"
    camera = read_cameras(write(tmp_path, text))["cam"]
    assert camera.focal_px == pytest.approx((0.6665 * 1368,) * 2)
    bent = opencv(
        np.array([[911.772, 0, 455.5], [0, 911.772, 683.5], [0, 0, 1]]), TERMS * [1, 1, 0, 0, 0]
    )
    assert np.abs(camera.project(PLANE) - bent).max() < 1e-9


METASHAPE = """<?xml version="1.0" encoding="UTF-8"?>
<calibration>
  <projection>frame</projection><width>4000</width><height>3000</height>
  <f>2999.9</f><cx>-0.3</cx><cy>1.75</cy><b1>0.2</b1>
  <k1>-0.1</k1><k2>0.02</k2><k3>0.003</k3><p1>-0.002</p1><p2>0.001</p2>
</calibration>"""


def test_metashape_counts_from_corners_and_has_its_p_the_other_way_round(tmp_path):
    camera = read_cameras(write(tmp_path, METASHAPE, "c.xml"))[""]
    assert np.abs(camera.project(PLANE) - opencv()).max() < 1e-9


PIX4D = """Pix4D camera calibration file 0
#Focal Length mm assuming a sensor width of 17.5x13.125mm
F 13.12
#Principal Point mm
PX 8.75
PY 6.5625
#Symmetrical Lens Distortion Coeffs
K1 -0.1
K2 0.02
K3 0.003
#Tangential Lens Distortion Coeffs
T1 0.001
T2 -0.002
"""


def test_pix4ds_file_fits_any_number_of_pixels(tmp_path):
    camera = read_cameras(write(tmp_path, PIX4D, "c.cam"))[""].resized(Size(4000, 3000))
    focal = 13.12 / 17.5 * 4000
    matrix = np.array([[focal, 0, 1999.5], [0, focal, 1499.5], [0, 0, 1]])
    assert np.abs(camera.project(PLANE) - opencv(matrix)).max() < 1e-9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no camera that is known"),
        ("a: 1\n", "no camera that is known"),
        ("{", "not JSON"),
        ("[1, 2]", "is no|not the YAML"),
        ("<a/>", "no <calibration>"),
        ("<a", "not XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><calibration/>", "document type"),
        ("Pix4D camera calibration file 0\nF 1\n", "lacks F, PX, PY"),
        ("camera_matrix: [1, 2]\n", "3x3"),
        (ROS.replace("image_width", "w"), "image_width"),
        (METASHAPE.replace("frame", "rpc"), "'rpc' is not supported"),
        ("c:\n  focal_len: x\n  im_size: [4, 4]\n", "focal_len"),
        ("c:\n  focal_len: 1\n  im_size: [4, 4]\n  type: odd\n", "'odd' is not supported"),
        ("a: [1, 2\n", "does not end"),
        ("- a\n- b\n", "not the YAML"),
        ("".join(f"{' ' * n}a:\n" for n in range(30)), "nested deeper"),
    ],
)
def test_what_is_no_camera_is_told_with_the_files_name(tmp_path, text, words):
    with pytest.raises(SourceError, match=words):
        read_cameras(write(tmp_path, text))


def test_no_file(tmp_path):
    with pytest.raises(SourceError, match="gone"):
        read_cameras(tmp_path / "gone.yml")


def test_the_yaml_of_camera_files():
    text = '%YAML:1.0\n---\n"a b": 1 # c\nm: !!opencv-matrix\n   rows: 2\n   dt: d\n'
    text += "   data: [ 1., -2e-3,\n       'x' ]\nlast: \"two: words\"\nempty: []\n"
    assert read_yaml(text) == {
        "a b": 1.0,
        "m": {"rows": 2.0, "dt": "d", "data": [1.0, -0.002, "x"]},
        "last": "two: words",
        "empty": [],
    }


@given(st.text(alphabet="abK: []{}<>\n-1.,#'\"!&*", max_size=120))
def test_any_text_is_cameras_or_an_error(tmp_path_factory, text):
    try:
        read_cameras(write(tmp_path_factory.mktemp("any"), text))
    except AttachtransError:
        return


@pytest.mark.parametrize(
    "text",
    ["a" + " " * 9000 + "b\n", "a: [\n" + "1,\n" * 90_000, "a" * 20_000, "[" * 9_000 + "\n" * 9],
    ids=["blanks", "open list", "long line", "brackets"],
)
def test_hostile_text_does_not_hang(tmp_path, text):
    with pytest.raises(SourceError):
        read_cameras(write(tmp_path, text * 3))


def test_what_is_no_text_is_no_camera_file(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x08\0\0\0")
    with pytest.raises(SourceError, match="is no text, which files of cameras are"):
        read_cameras(path)
