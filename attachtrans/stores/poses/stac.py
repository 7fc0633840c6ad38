"""STAC items with the perspective imagery extension, one by one or in collections.

`pers:rotation_matrix` is row-major and leads from the world to photo axes (x right, y up, z
backwards): the transpose of omega, phi, kappa's. Lengths of the interior orientation are
millimetres. Real catalogues have pixel spacings in metres and the sensor's size in millimetres
where its pixels should be counted: of the readings that are possible, the one that gives a picture
of whole pixels and a field of view that a frame camera has is taken, and noted.

Source: stac-extensions/perspective-imagery v1.0.0 (README and JSON schema).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import AttachtransError, SourceError
from attachtrans.geo.camera import Camera
from attachtrans.geo.distortion import BrownDistortion
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import North, Pose
from attachtrans.geo.rotation import camera_axes, pose_matrix
from attachtrans.stores.poses.base import (
    PoseOptions,
    PoseTable,
    number,
    numbers,
    srs,
    table,
    words,
    z_unit,
)
from attachtrans.stores.poses.documents import Document
from attachtrans.stores.poses.lenses import pinhole
from attachtrans.types import Size

Floats = NDArray[np.float64]

_MOST_PIXELS = 100_000
_FEWEST_PIXELS = 200
_FOV_DEG = (3.0, 150.0)
_AGREE = 1e-3
"""How far a rotation matrix may be from the angles beside it; both are printed."""


class _Reading(NamedTuple):
    """Factors of pixel_spacing to millimetres, and whether the sensor's size is in millimetres."""

    spacing: float
    in_mm: bool
    words: str


_READINGS = (
    _Reading(1.0, in_mm=False, words=""),
    _Reading(1000.0, in_mm=False, words="pixel spacing in metres"),
    _Reading(1.0, in_mm=True, words="sensor size in millimetres"),
    _Reading(1000.0, in_mm=True, words="pixel spacing in metres, sensor size in millimetres"),
)


def is_stac(document: Document) -> bool:
    """Whether a document is a STAC item or several, with perspective properties."""
    return any(True for _ in _items(document.json))


def read_stac(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of the items; their names are those of the items."""
    poses: list[Pose] = []
    notes: list[str] = []
    for item in _items(document.json):
        name = words(item.get("id"))
        try:
            poses.append(_pose(name, item["properties"], options))
        except AttachtransError as error:
            notes.append(f"{name}: {error}")
    return table(poses, notes)


def _items(value: object) -> Iterator[Mapping[str, Any]]:
    features = value.get("features") if isinstance(value, dict) else value
    items: list[Any] = features if isinstance(features, list) else [value]
    for item in items:
        properties = item.get("properties") if isinstance(item, dict) else None
        if isinstance(properties, dict) and any(
            str(name).startswith("pers:") for name in properties
        ):
            yield item


def _pose(name: str, properties: Mapping[str, object], options: PoseOptions) -> Pose:
    crs = options.crs or _crs(properties)
    place = numbers(properties.get("pers:perspective_center"))
    xyz = None
    if place is not None and len(place) in {2, 3}:
        xyz = (place[0], place[1], place[2] if len(place) == 3 else None)
    interior = properties.get("pers:interior_orientation")
    lens, assumed = interior_camera(interior if isinstance(interior, dict) else {})
    return Pose(
        name=name,
        xyz=xyz,
        crs=crs if xyz is not None else None,
        z_unit_m=None if crs is None or xyz is None else z_unit(crs),
        rotation=_rotation(properties),
        north=North.GRID if crs is not None and crs.is_projected else North.TRUE,
        lens=options.camera() if lens is None else lens,
        time=words(properties.get("datetime")) or None,
        source="STAC perspective item",
        assumed=assumed,
    )


def _crs(properties: Mapping[str, object]) -> CRS | None:
    flat, heights = properties.get("pers:crs"), properties.get("pers:vertical_crs")
    if flat is None:
        return None
    if isinstance(flat, dict):
        return read_crs(flat)
    if number(flat) is not None and number(heights) is not None:
        return srs(f"{words(flat)};{words(heights)}")
    return srs(flat)


def _rotation(properties: Mapping[str, object]) -> Floats | None:
    """The matrix where there is one, and the angles where it is not one.

    Raises:
        SourceError: both are there and do not agree.
    """
    matrix = numbers(properties.get("pers:rotation_matrix"), 9)
    angles = [number(properties.get(f"pers:{angle}")) for angle in ("omega", "phi", "kappa")]
    turned = None
    if None not in angles:
        turned = pose_matrix("opk", [angle for angle in angles if angle is not None])
    if matrix is None:
        return turned
    rotation = camera_axes(np.reshape(matrix, (3, 3)).T)
    if turned is not None and np.abs(rotation - turned).max() > _AGREE:
        raise SourceError(
            "pers:rotation_matrix and pers:omega, phi, kappa are different attitudes; remove the "
            "wrong one"
        )
    return rotation


def interior_camera(interior: Mapping[str, object]) -> tuple[Camera | None, tuple[str, ...]]:
    """The camera of an interior orientation, and what was assumed about its units.

    Raises:
        SourceError: the numbers are no camera's in any unit.
    """
    focal = number(interior.get("focal_length"))
    spacing = numbers(interior.get("pixel_spacing"), 2)
    sensor = numbers(interior.get("sensor_array_dimensions"), 2)
    if focal is None or spacing is None or sensor is None or min(focal, *spacing, *sensor) <= 0.0:
        return None, ()
    for reading in _READINGS:
        pitch = spacing[0] * reading.spacing, spacing[1] * reading.spacing
        count = (sensor[0] / pitch[0], sensor[1] / pitch[1]) if reading.in_mm else tuple(sensor)
        size = Size(round(count[0]), round(count[1]))
        if _is_sane(focal, pitch, count, size):
            camera = _camera(interior, size, focal, pitch)
            return camera, (reading.words,) if reading.words else ()
    raise SourceError(
        f"focal_length {focal:g} mm, pixel_spacing {spacing} and sensor_array_dimensions {sensor} "
        "are no camera in millimetres and pixels; give the lens with --camera FILE"
    )


def _is_sane(
    focal: float, pitch: tuple[float, float], count: tuple[float, ...], size: Size
) -> bool:
    whole = max(abs(one - all_) for one, all_ in zip(count, size, strict=True)) < 0.01
    if not whole or not _FEWEST_PIXELS <= min(size) <= max(size) <= _MOST_PIXELS:
        return False
    views = [
        2.0 * np.rad2deg(np.arctan(0.5 * n * p / focal)) for n, p in zip(size, pitch, strict=True)
    ]
    return all(_FOV_DEG[0] <= view <= _FOV_DEG[1] for view in views)


def _camera(
    interior: Mapping[str, object], size: Size, focal: float, pitch: tuple[float, float]
) -> Camera:
    offset = numbers(interior.get("principal_point_offset"), 2) or [0.0, 0.0]
    affine = numbers(interior.get("affine_distortion"), 6)
    if affine is not None and np.abs(np.array(affine) - [1, 0, 0, 0, 1, 0]).max() > 1e-12:
        bare = not any(affine)
        if not bare:
            raise SourceError("affine_distortion is not supported; give the lens with --camera")
    k = numbers(interior.get("radial_distortion"), 4) or [0.0] * 4
    # k0 scales; the radius of the others is in millimetres.
    scale = 1.0 + k[0]
    radial = tuple(term * focal ** (2 * n) / scale for n, term in enumerate(k[1:], start=1))
    # The offset is of the principal point from the middle, x right and y up.
    centre = (
        0.5 * (size.width - 1) + offset[0] / pitch[0],
        0.5 * (size.height - 1) - offset[1] / pitch[1],
    )
    lens = BrownDistortion(radial=radial)
    return pinhole(size, (scale * focal / pitch[0], scale * focal / pitch[1]), centre, lens)
