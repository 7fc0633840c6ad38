"""Files of interior parameters, for `--camera FILE`: what a camera is, not where it stood.

| file | known by |
|---|---|
| our .camera.json | its "format" |
| OpenSfM and ODM cameras.json, camera_models.json | cameras with a "projection_type", by name |
| OpenCV and ROS calibrations, YAML or JSON | "camera_matrix" or "K" |
| orthority's int_param YAML or JSON | cameras with "focal_len" and "im_size", by name |
| Metashape's camera XML | <calibration> |
| Pix4D's .cam | its first line |

Sources: OpenSfM documentation; OpenCV FileStorage and camera calibration pages; ROS CameraInfo;
orthority documentation (file formats); Metashape and Pix4D manuals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from attachtrans.errors import ArgumentError, AttachtransError, SourceError
from attachtrans.geo.camera import Camera, PerspectiveCamera
from attachtrans.stores.poses.base import number, numbers, words
from attachtrans.stores.poses.camera_json import is_camera_json, read_camera
from attachtrans.stores.poses.documents import first_bytes, read_json
from attachtrans.stores.poses.lenses import fisheye, middle_px, panorama, pinhole
from attachtrans.stores.poses.opensfm import sfm_camera
from attachtrans.stores.poses.yamlfile import read_yaml
from attachtrans.types import Size

_MOST_BYTES = 16 << 20
_PIX4D = "Pix4D camera calibration file"
_MM = 1000
"""Nominal pixels per millimetre of Pix4D's sensors, whose pixels its file does not count."""
_FISHEYE_MODELS = frozenset({"equidistant", "fisheye", "opencv_fisheye"})


def read_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of a file, at the origin, by their names; "" where it has one without a name.

    Raises:
        SourceError: not there, or of no kind that is known; says what is wrong.
    """
    head = first_bytes(path).lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"\0" in head:
        raise SourceError(
            f"{path}: is no text, which files of cameras are: .camera.json, OpenCV, OpenSfM, ODM, "
            "Metashape, Pix4D"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise SourceError(f"{path}: is too large for a file of cameras")
    try:
        if head[:1] == b"{":
            return _of_values(read_json(path), path)
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        if head[:1] == b"<":
            return {"": _metashape(text)}
        if text.startswith(_PIX4D):
            return {"": _pix4d(text)}
        return _of_values(read_yaml(text), path)
    except AttachtransError as error:
        raise SourceError(f"{path}: {error}") from error


def _of_values(value: object, path: Path) -> dict[str, Camera]:
    if not isinstance(value, dict):
        raise SourceError("is no mapping of cameras")
    if is_camera_json(value):
        pose = read_camera(value, path).as_pose()
        return {} if pose.lens is None else {"": pose.lens}
    if _is_camera(value):
        return {"": _camera(value)}
    found = {
        str(name): _camera(fields)
        for name, fields in value.items()
        if isinstance(fields, dict) and _is_camera(fields)
    }
    if not found:
        raise SourceError(
            "has no camera that is known: .camera.json, OpenSfM, OpenCV, ROS, orthority, Metashape "
            "XML and Pix4D .cam are read"
        )
    # One camera is meant for all photos, whatever it is called.
    return {**found, **({"": next(iter(found.values()))} if len(found) == 1 else {})}


def _is_camera(fields: Mapping[str, object]) -> bool:
    marks = ("projection_type", "camera_matrix", "K", "focal_len", "intrinsic_matrix")
    return any(mark in fields for mark in marks)


def _camera(fields: Mapping[str, object]) -> Camera:
    if "projection_type" in fields:
        return sfm_camera(fields)
    if "focal_len" in fields:
        return _orthority(fields)
    return _opencv(fields)


def _size(fields: Mapping[str, object]) -> Size:
    pair = numbers(fields.get("im_size"), 2) or numbers(fields.get("image_size"), 2)
    sides = [number(fields.get(name)) for name in ("image_width", "image_height")]
    sides = [*pair] if pair else sides
    if None in sides:
        sides = [number(fields.get(name)) for name in ("width", "height")]
    whole = [int(side) for side in sides if side is not None and 1.0 <= side <= 1e6]
    if len(whole) < 2:
        raise SourceError("has no image_width and image_height")
    return Size(whole[0], whole[1])


def _data(value: object) -> list[float] | None:
    """The numbers of a matrix: OpenCV's and ROS's {rows, cols, data}, a list, a list of rows."""
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = [cell for row in value if isinstance(row, list) for cell in row]
    return numbers(value) if isinstance(value, list) else None


def _first(fields: Mapping[str, object], *names: str) -> list[float] | None:
    return next((found for name in names if (found := _data(fields.get(name))) is not None), None)


def _opencv(fields: Mapping[str, object]) -> Camera:
    matrix = _first(fields, "camera_matrix", "K", "intrinsic_matrix")
    if matrix is None or len(matrix) != 9:
        raise SourceError("camera_matrix is no 3x3 matrix")
    fx, skew, cx, _, fy, cy = matrix[:6]
    names = ("distortion_coefficients", "dist_coeffs", "dist_coeff", "distortion", "dist", "D")
    terms = _first(fields, *names) or []
    size, model = _size(fields), words(fields.get("distortion_model") or fields.get("camera_model"))
    if model.lower() in _FISHEYE_MODELS:
        if skew:
            raise SourceError("a fisheye's skew is not supported")
        return fisheye(size, (fx, fy), (cx, cy), terms)
    camera = pinhole(size, (fx, fy), (cx, cy), terms)
    return camera if not skew else _sheared(camera, skew)


def _sheared(camera: PerspectiveCamera, skew: float) -> PerspectiveCamera:
    return PerspectiveCamera(
        camera.size,
        focal_px=camera.focal_px,
        centre_px=camera.centre_px,
        distortion=camera.lens,
        rotation=camera.rotation,
        position=camera.position,
        shear_px=(skew, 0.0),
    )


def _orthority(fields: Mapping[str, object]) -> Camera:
    """focal_len and sensor_size in one unit; without a sensor size in units of the longer side."""
    size = _size(fields)
    both = numbers(fields.get("focal_len")) if isinstance(fields.get("focal_len"), list) else None
    one = number(fields.get("focal_len"))
    focal = both or ([one] if one is not None else [])
    if not focal:
        raise SourceError("focal_len is no number")
    sensor = numbers(fields.get("sensor_size"), 2) or [
        side / max(size) for side in map(float, size)
    ]
    middle, longer = middle_px(size), max(size)
    centre = (
        middle[0] + (number(fields.get("cx")) or 0.0) * longer,
        middle[1] + (number(fields.get("cy")) or 0.0) * longer,
    )
    scale = (focal[0] * size.width / sensor[0], focal[-1] * size.height / sensor[1])
    kind = words(fields.get("type")) or words(fields.get("cam_type")) or "pinhole"
    term = {name: number(fields.get(name)) or 0.0 for name in _TERMS}
    if kind in {"pinhole", "frame"}:
        return pinhole(size, scale, centre)
    if kind == "brown":
        return pinhole(size, scale, centre, [term[name] for name in _TERMS[:5]])
    if kind == "opencv":
        return pinhole(size, scale, centre, list(term.values()))
    if kind == "fisheye":
        return fisheye(size, scale, centre, [term[f"k{n}"] for n in range(1, 5)])
    raise SourceError(f"camera type {kind!r} is not supported")


_TERMS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tx", "ty")


def _metashape(text: str) -> Camera:
    if "<!DOCTYPE" in text:
        raise SourceError("has a document type, which no camera file needs")
    try:
        root = ET.fromstring(text)  # noqa: S314  # without a document type there are no entities
    except ET.ParseError as error:
        raise SourceError(f"is not XML that can be read: {error}") from error
    found = root if root.tag == "calibration" else root.find(".//calibration")
    if found is None:
        raise SourceError("has no <calibration>")
    term = {child.tag: number(child.text) or 0.0 for child in found}
    size = Size(int(term.get("width", 0.0)), int(term.get("height", 0.0)))
    kind = words(found.findtext("projection")) or words(found.get("type")) or "frame"
    if kind in {"spherical", "equirectangular"}:
        return panorama(size)
    if kind != "frame":
        raise SourceError(f"projection {kind!r} is not supported")
    return PerspectiveCamera.metashape(
        size,
        focal_px=term.get("f", 0.0),
        centre_offset_px=(term.get("cx", 0.0), term.get("cy", 0.0)),
        radial=[term.get(f"k{n}", 0.0) for n in range(1, 5)],
        tangential=(term.get("p1", 0.0), term.get("p2", 0.0)),
        affinity_px=(term.get("b1", 0.0), term.get("b2", 0.0)),
        rotation=np.eye(3),
        position=np.zeros(3),
    )


def _pix4d(text: str) -> Camera:
    """F, PX, PY in millimetres of a sensor whose size a comment has; pixels from their corner."""
    sensor = re.search(r"sensor width of ([\d.]+)\s*x\s*([\d.]+)\s*mm", text)
    term = {
        match[1]: float(match[2])
        for match in re.finditer(r"^(F|P[XY]|K[1-3]|T[12])\s+(\S+)\s*$", text, re.MULTILINE)
        if number(match[2]) is not None
    }
    if sensor is None or not {"F", "PX", "PY"} <= set(term):
        raise SourceError("lacks F, PX, PY or the sensor's size")
    across, down = float(sensor[1]), float(sensor[2])
    if not 0.1 < across < 1000.0 or not 0.1 < down < 1000.0:
        raise ArgumentError(f"a sensor of {across} x {down} mm")
    size = Size(round(across * _MM), round(down * _MM))
    scale = size.width / across, size.height / down
    return pinhole(
        size,
        (term["F"] * scale[0], term["F"] * scale[1]),
        (term["PX"] * scale[0] - 0.5, term["PY"] * scale[1] - 0.5),
        [term.get(name, 0.0) for name in ("K1", "K2", "T1", "T2", "K3")],
    )
