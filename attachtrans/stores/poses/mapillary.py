"""Records of Mapillary's API, version 4: one image, or a list under "data".

What Mapillary computed (position, height, rotation, camera) is taken together or not at all: a
rotation of its own reconstruction does not fit the position of the phone. Without it the phone's
position and compass are taken, for a level camera.

Width, height and the computed camera are of stored pixels. Heights of images that were not
reconstructed are a constant of Mapillary's, and are left out.

Source: Mapillary API documentation (Image); OpenSfM documentation (camera models).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from attachtrans.errors import AttachtransError
from attachtrans.geo.camera import Camera
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.base import PoseOptions, PoseTable, number, numbers, table, words
from attachtrans.stores.poses.documents import Document
from attachtrans.stores.poses.opensfm import sfm_camera

_MARKS = ("computed_rotation", "computed_compass_angle", "computed_geometry", "compass_angle")
_ORIENTATIONS = frozenset(range(1, 9))
_SPHERES = frozenset({"spherical", "equirectangular"})
_LATEST_MS = 2.0**43


def is_mapillary(document: Document) -> bool:
    """Whether a document is a record of Mapillary's, or a list of them."""
    return any(
        "id" in record and any(mark in record for mark in _MARKS)
        for record in _records(document.json)
    )


def read_mapillary(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of the records; their names are the images' ids."""
    poses: list[Pose] = []
    notes: list[str] = []
    for record in _records(document.json):
        name = words(record.get("id"))
        try:
            poses.append(_pose(name, record, options))
        except AttachtransError as error:
            notes.append(f"{name}: {error}")
    return table(poses, notes)


def _records(value: object) -> list[Mapping[str, object]]:
    found = value.get("data", [value]) if isinstance(value, dict) else value
    if not isinstance(found, list):
        return []
    return [record for record in found if isinstance(record, dict)]


def _pose(name: str, record: Mapping[str, object], options: PoseOptions) -> Pose:
    angles = numbers(record.get("computed_rotation"), 3)
    place = _coordinates(record.get("computed_geometry"))
    time = _time(record.get("captured_at"))
    if angles is not None and place is not None:
        return Pose(
            name=name,
            xyz=(*place, number(record.get("computed_altitude"))),
            crs=read_crs("OGC:CRS84"),
            rotation=pose_matrix("opensfm", angles),
            lens=_lens(record, 1) or options.camera(),
            time=time,
            paired=True,
            source="Mapillary (computed)",
        )
    place = _coordinates(record.get("geometry")) or place
    heading = number(record.get("compass_angle"))
    orientation = number(record.get("exif_orientation"))
    turned = int(orientation) if orientation in _ORIENTATIONS and orientation else 1
    return Pose(
        name=name,
        xyz=None if place is None else (*place, None),
        crs=None if place is None else read_crs("OGC:CRS84"),
        rotation=None if heading is None else pose_matrix("hpr", (heading, 90.0, 0.0)),
        lens=_lens(record, turned) or options.camera(),
        orientation=turned,
        time=time,
        source="Mapillary (EXIF)",
        assumed=() if heading is None else ("level camera",),
    )


def _coordinates(geometry: object) -> tuple[float, float] | None:
    found = geometry.get("coordinates") if isinstance(geometry, dict) else None
    pair = numbers(found[:2], 2) if isinstance(found, list) else None
    return None if pair is None else (pair[0], pair[1])


def _time(value: object) -> str | None:
    """Milliseconds since 1970, or what is ISO 8601 already."""
    seconds = number(value)
    if seconds is None:
        return words(value) or None
    if not 0.0 < seconds < _LATEST_MS:
        return None
    return datetime.fromtimestamp(seconds / 1000.0, tz=UTC).isoformat()


def _lens(record: Mapping[str, object], orientation: int) -> Camera | None:
    """The camera of a picture that is shown under an orientation; None if it is not known."""
    terms = record.get("camera_parameters")
    known = numbers(terms) if isinstance(terms, list) else None
    kind = words(record.get("camera_type"))
    if not known and kind not in _SPHERES:
        return None
    sides = ("width", "height") if orientation < 5 else ("height", "width")
    fields: dict[str, object] = {
        "projection_type": kind,
        "width": record.get(sides[0]),
        "height": record.get(sides[1]),
        **dict(zip(("focal", "k1", "k2"), known or (), strict=False)),
    }
    return sfm_camera(fields)
