"""Our own sidecar, NAME.camera.json: a camera in full, with its pose or without.

    {"format": "attachtrans camera", "version": 1, "pixel_origin": "centre",
     "name": "IMG_0001.jpg", "kind": "perspective", "size": [w, h],
     "focal_px": [fx, fy], "centre_px": [cx, cy], "shear_px": [sx, sy],
     "distortion": {"family": "brown", "radial": [...], ...},
     "orientation": 1, "rotation": [[...], [...], [...]], "position": [x, y, z], "crs": WKT, ...}

All of a camera is in it, to the last bit. `rotation` leads from camera axes (x right, y down, z
forward) to the axes of `crs`, `position` is in `crs`; without a `crs` there is no pose, only the
camera's inside. Under an EXIF `orientation` other than 1 all of it is about the upright picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, AttachtransError, SourceError
from attachtrans.geo.camera import (
    Camera,
    FisheyeCamera,
    PanoramaCamera,
    PerspectiveCamera,
    TurnedCamera,
)
from attachtrans.geo.camera.fisheye import AngleSeries
from attachtrans.geo.distortion import BrownDistortion, Distortion, LensCorrection
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import Accuracy, North, Pose
from attachtrans.stores.poses.base import (
    PoseOptions,
    PoseTable,
    number,
    numbers,
    positive,
    table,
    words,
)
from attachtrans.stores.poses.documents import Document
from attachtrans.stores.poses.lenses import SquarePixelCamera, fisheye, pinhole, square_pixels
from attachtrans.types import Size

FORMAT = "attachtrans camera"
VERSION = 1
SUFFIX = ".camera.json"
_ORIGIN = "centre"
_BROWN = ("radial", "rational", "tangential", "prism", "tilt_rad")
_ACCURACY = ("xy_m", "z_m", "heading_deg", "pitch_deg", "roll_deg")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraFile:
    """What a sidecar holds.

    camera     with rotation and position in `crs`; at the origin without one. Its size is the
               stored picture's
    crs        of the position; None: the camera's inside alone
    name       of the photo
    ground     what it was placed on, as plain values: {"source": "level ground at 3.50 m"}
    pose       where the pose is from: source, assumptions, accuracy, ranges, time; its position,
               rotation and lens are the camera's
    """

    camera: Camera
    crs: CRS | None = None
    name: str = ""
    ground: Mapping[str, str | float] = field(default_factory=dict)
    pose: Pose = field(default_factory=Pose)

    def as_pose(self) -> Pose:
        """The pose that it is, for a photo of any size."""
        upright, orientation = _upright(self.camera)
        placed = self.crs is not None
        x, y, z = (float(value) for value in upright.position)
        return Pose(
            name=self.name,
            xyz=(x, y, z) if placed else None,
            crs=self.crs,
            rotation=upright.rotation if placed else None,
            north=North.GRID if self.crs is not None and self.crs.is_projected else North.TRUE,
            lens=upright.posed(np.eye(3), np.zeros(3)),
            orientation=orientation,
            above_ground_m=self.pose.above_ground_m,
            near_m=self.pose.near_m,
            far_m=self.pose.far_m,
            accuracy=self.pose.accuracy,
            time=self.pose.time,
            paired=self.pose.paired,
            rough_height=self.pose.rough_height,
            source=self.pose.source or "camera file",
            assumed=self.pose.assumed,
        )


def write_camera(found: CameraFile) -> bytes:
    """The sidecar's content, JSON in UTF-8."""
    upright, orientation = _upright(found.camera)
    pose = found.pose
    value: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "pixel_origin": _ORIGIN,
        "name": found.name,
        **_inside(upright),
        "orientation": orientation,
    }
    if found.crs is not None:
        value |= {
            "rotation": upright.rotation.tolist(),
            "position": upright.position.tolist(),
            "crs": found.crs.to_wkt(),
        }
    value |= {
        "ground": dict(found.ground) or None,
        "above_ground_m": pose.above_ground_m,
        "near_m": pose.near_m,
        "far_m": pose.far_m,
        "accuracy": {name: getattr(pose.accuracy, name) for name in _ACCURACY},
        "time": pose.time,
        "paired": pose.paired,
        "rough_height": pose.rough_height,
        "source": pose.source,
        "assumed": list(pose.assumed),
    }
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_camera(value: object, where: Path | str) -> CameraFile:
    """A sidecar's content.

    Args:
        value: of its JSON.
        where: to be named in errors.

    Raises:
        SourceError: not such a file, of a later version, or not complete; says what lacks.
    """
    if not is_camera_json(value):
        raise SourceError(f"{where}: is no camera file")
    if number(value.get("version")) != VERSION or value.get("pixel_origin") != _ORIGIN:
        raise SourceError(
            f"{where}: is a camera file of version {value.get('version')!r}, pixel_origin "
            f"{value.get('pixel_origin')!r}; version {VERSION} with {_ORIGIN!r} is read"
        )
    try:
        return _read(value)
    except (AttachtransError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"{where}: is no complete camera file: {error}") from error


def is_camera_json(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is a sidecar's."""
    return isinstance(value, dict) and value.get("format") == FORMAT


def is_camera_file(document: Document) -> bool:
    """Whether a document is a sidecar, or a list with such (a folder's files)."""
    values = document.json if isinstance(document.json, list) else [document.json]
    return any(is_camera_json(value) for value in values)


def read_camera_files(
    document: Document,
    options: PoseOptions,  # noqa: ARG001  # readers of poses are called alike
) -> PoseTable:
    """The poses of one sidecar or of several."""
    values = document.json if isinstance(document.json, list) else [document.json]
    poses, notes = [], []
    for value in filter(is_camera_json, values):
        try:
            poses.append(read_camera(value, document.path).as_pose())
        except SourceError as error:
            notes.append(str(error))
    return table(poses, notes)


def _upright(camera: Camera) -> tuple[Camera, int]:
    if isinstance(camera, TurnedCamera):
        return camera.upright, camera.orientation
    return camera, 1


def _inside(camera: Camera) -> dict[str, object]:
    """The part of the JSON that makes the camera itself.

    Raises:
        ArgumentError: a camera of a kind that has no words here.
    """
    if isinstance(camera, PanoramaCamera):
        return {
            "kind": "panorama",
            "size": list(camera.size),
            "full_size_px": list(camera.whole_px),
            "offset_px": list(camera.offset_px),
        }
    if not isinstance(camera, PerspectiveCamera | FisheyeCamera):
        raise ArgumentError(f"a {type(camera).__name__} cannot be written to a camera file")
    value: dict[str, object] = {
        "kind": "fisheye" if isinstance(camera, FisheyeCamera) else "perspective",
        "size": list(camera.size),
        "focal_px": list(camera.focal_px),
        "centre_px": list(camera.centre_px),
        "shear_px": list(camera.shear_px),
        "distortion": _lens_words(camera.lens),
    }
    if isinstance(camera, SquarePixelCamera):
        value["square_pixels_by"] = "height" if camera.by_height else "width"
    return value


def _lens_words(lens: Distortion | AngleSeries) -> dict[str, object]:
    if isinstance(lens, AngleSeries):
        return {"family": "angle series", "terms": list(lens.terms)}
    if isinstance(lens, LensCorrection):
        return {**_lens_words(lens.polynomial), "family": "brown correction"}
    if isinstance(lens, BrownDistortion):
        return {"family": "brown", **{name: list(getattr(lens, name)) for name in _BROWN}}
    raise ArgumentError(f"a {type(lens).__name__} cannot be written to a camera file")


def _read(value: Mapping[str, Any]) -> CameraFile:
    crs = read_crs(value["crs"]) if value.get("crs") is not None else None
    rotation = np.eye(3) if crs is None else np.array(value["rotation"], dtype=np.float64)
    position = np.zeros(3) if crs is None else np.array(value["position"], dtype=np.float64)
    camera = _camera(value).posed(rotation, position)
    orientation = int(value.get("orientation", 1))
    stated = value.get("accuracy") or {}
    ground = value.get("ground") or {}
    return CameraFile(
        camera=camera
        if orientation == 1
        else TurnedCamera(upright=camera, orientation=orientation),
        crs=crs,
        name=words(value.get("name")),
        ground={
            str(name): part for name, part in ground.items() if isinstance(part, str | int | float)
        },
        pose=Pose(
            above_ground_m=number(value.get("above_ground_m")),
            near_m=number(value.get("near_m")),
            far_m=positive(value.get("far_m")),
            accuracy=Accuracy(**{name: number(stated.get(name)) for name in _ACCURACY}),
            time=words(value.get("time")) or None,
            paired=value.get("paired") is True,
            rough_height=value.get("rough_height") is True,
            source=words(value.get("source")),
            assumed=tuple(map(words, value.get("assumed") or ())),
        ),
    )


def _camera(value: Mapping[str, Any]) -> Camera:
    """The camera itself, at the origin."""
    size = _pair(value, "size")
    whole = Size(int(size[0]), int(size[1]))
    if value["kind"] == "panorama":
        return PanoramaCamera(
            whole,
            full_size_px=_pair(value, "full_size_px"),
            offset_px=_pair(value, "offset_px"),
            rotation=np.eye(3),
            position=np.zeros(3),
        )
    lens = _lens(value["distortion"])
    plane = (_pair(value, "focal_px"), _pair(value, "centre_px"), _pair(value, "shear_px"))
    if value["kind"] == "fisheye" and isinstance(lens, AngleSeries):
        return replace(fisheye(whole, plane[0], plane[1], lens), shear_px=plane[2])
    if value["kind"] == "perspective" and not isinstance(lens, AngleSeries):
        camera = replace(pinhole(whole, plane[0], plane[1], lens), shear_px=plane[2])
        side = value.get("square_pixels_by")
        return square_pixels(camera, by_height=side == "height") if side else camera
    raise SourceError(f"kind {value['kind']!r} with such a distortion")


def _lens(value: Mapping[str, Any]) -> BrownDistortion | LensCorrection | AngleSeries:
    family = value["family"]
    if family == "angle series":
        return AngleSeries(terms=_numbers(value, "terms"))
    if family not in {"brown", "brown correction"}:
        raise SourceError(f"distortion family {family!r} is not known")
    brown = BrownDistortion(
        radial=_numbers(value, "radial"),
        rational=_numbers(value, "rational"),
        tangential=_pair(value, "tangential"),
        prism=_four(value, "prism"),
        tilt_rad=_pair(value, "tilt_rad"),
    )
    return brown if family == "brown" else LensCorrection(polynomial=brown)


def _numbers(value: Mapping[str, Any], name: str) -> tuple[float, ...]:
    found = numbers(value[name])
    if found is None or not isinstance(value[name], list):
        raise SourceError(f"{name} is a list of numbers")
    return tuple(found)


def _pair(value: Mapping[str, Any], name: str) -> tuple[float, float]:
    first, second = _numbers(value, name)
    return first, second


def _four(value: Mapping[str, Any], name: str) -> tuple[float, float, float, float]:
    first, second, third, fourth = _numbers(value, name)
    return first, second, third, fourth
