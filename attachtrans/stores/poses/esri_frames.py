"""Esri's Frames and Cameras tables (ortho mapping): exterior and interior orientation.

A frame's values override its camera's. Positions are projected, z in the unit of x and y. The
attitude is omega, phi, kappa in degrees or Matrix (photo axes of the FILM to the map, row by row).
Interior lengths are micrometres; the affine leads from image to film unless AffineDirection says
otherwise. A frame with CenterLongitude and CenterLatitude has its position and attitude in the
tangent plane there.

Sources: Esri, frames table schema and cameras table schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import AttachtransError, SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.pose import North, Pose
from attachtrans.geo.rotation import pose_matrix
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
from attachtrans.stores.poses.csvfile import first_words
from attachtrans.stores.poses.documents import Document, Table, open_document
from attachtrans.stores.poses.esri_camera import (
    FilmCamera,
    affine_to_image,
    distortion_warning,
    in_focal_lengths,
    lens_and_turn,
    pixel_affine,
    radial_of_table,
    radius_factor,
)
from attachtrans.stores.poses.esri_words import matrix_rotation
from attachtrans.stores.poses.tangent import TangentFrame
from attachtrans.types import Size

Floats = NDArray[np.float64]
Values = Mapping[str, object]

_AFFINE = ("a0", "a1", "a2", "b0", "b1", "b2")
_FRAME_MARKS = ("perspectivex", "perspectivey", "cameraid")
_CAMERA_MARKS = ("cameraid", "focallength")
_CENTRE = ("longitude", "latitude")
_FILM_TO_IMAGE = -1.0
"""AffineDirection; 1, or none, is image to film."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lens:
    camera: PerspectiveCamera
    turn: Floats


def is_frames(document: Document) -> bool:
    """Whether one of the tables has frames; the cameras may be in another file beside."""
    return any(found.has(*_FRAME_MARKS) for found in document.tables)


def read_frames(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of the frames.

    The cameras are looked for in the same document, and beside a text table in the one whose name
    has "camera" for "frame" (Frames.csv, Cameras.csv).
    """
    poses: list[Pose] = []
    notes: list[str] = []
    cameras = _cameras(document)
    for frames in (found for found in document.tables if found.has(*_FRAME_MARKS)):
        for row in frames.rows:
            values = row.values
            name = first_words(values, ("raster", "name", "objectid"))
            camera = cameras.get(words(values.get("cameraid")), {})
            known = {key: value for key, value in values.items() if words(value)}
            try:
                poses.append(_pose(name, {**camera, **known}, frames.crs, options, notes))
            except AttachtransError as error:
                notes.append(f"{name}: {error}")
    return table(poses, notes)


def _cameras(document: Document) -> dict[str, Values]:
    """CameraID -> the values of its row."""
    found = [*_camera_tables(document)]
    if not found and document.path.is_file():
        found = [*_camera_tables(_beside(document.path))]
    return {
        words(row.values.get("cameraid")): {
            key: value for key, value in row.values.items() if words(value) and key != "objectid"
        }
        for cameras in found
        for row in cameras.rows
    }


def _camera_tables(document: Document | None) -> Iterator[Table]:
    for found in document.tables if document else ():
        if found.has(*_CAMERA_MARKS) and not found.has("perspectivex"):
            yield found


def _beside(path: Path) -> Document | None:
    """The table of cameras beside a table of frames: of the same name but for that word."""
    wanted = path.name.lower().replace("frame", "camera")
    if wanted == path.name.lower():
        return None
    found = next((other for other in path.parent.iterdir() if other.name.lower() == wanted), None)
    return None if found is None else open_document(found)


def _pose(
    name: str, values: Values, crs: CRS | None, options: PoseOptions, notes: list[str]
) -> Pose:
    found = srs(values["srs"]) if "srs" in values else crs or options.crs
    x, y, z = (number(values.get(f"perspective{axis}")) for axis in "xyz")
    if found is None or x is None or y is None:
        raise SourceError(
            "has no PerspectiveX, PerspectiveY or no SRS; name the CRS with --poses-crs"
        )
    if not found.is_projected and not _has_centre(values):
        raise SourceError(f"its SRS {found.name} is not projected, which frames must be")
    try:
        lens = _lens(values, options.radius_unit)
    except AttachtransError as error:
        notes.append(f"camera {words(values.get('cameraid'))}: {error}")
        lens = None
    if lens is not None and (warning := distortion_warning(lens.camera)):
        notes.append(f"camera {words(values.get('cameraid'))}: {warning}")
    rotation = _rotation(values)
    if rotation is not None and lens is not None:
        rotation = rotation @ lens.turn
    pose = Pose(
        name=name,
        xyz=(x, y, z),
        crs=found,
        z_unit_m=z_unit(found),
        rotation=rotation,
        north=North.GRID,
        lens=options.camera(words(values.get("cameraid"))) if lens is None else lens.camera,
        source="Esri Frames and Cameras tables",
    )
    return _local(pose, values) if _has_centre(values) else pose


def _has_centre(values: Values) -> bool:
    return all(number(values.get(f"center{angle}")) is not None for angle in _CENTRE)


def _local(pose: Pose, values: Values) -> Pose:
    """A frame in the tangent plane about its CenterLongitude and CenterLatitude."""
    longitude, latitude = (number(values.get(f"center{angle}")) or 0.0 for angle in _CENTRE)
    frame = TangentFrame(longitude=longitude, latitude=latitude)
    x, y, z = pose.xyz or (0.0, 0.0, 0.0)
    rotation = np.eye(3) if pose.rotation is None else pose.rotation
    xyz, turned = frame.locate(np.array([x, y, z or 0.0]), rotation)
    return Pose(
        name=pose.name,
        xyz=xyz,
        crs=frame.crs,
        rotation=None if pose.rotation is None else turned,
        lens=pose.lens,
        source=pose.source,
        assumed=("local tangent plane of WGS 84",),
    )


def _rotation(values: Values) -> Floats | None:
    matrix = numbers(values.get("matrix"), 9)
    if matrix is not None:
        return matrix_rotation(matrix)
    angles = [number(values.get(angle)) for angle in ("omega", "phi", "kappa")]
    known = [angle for angle in angles if angle is not None]
    return pose_matrix("opk", known) if len(known) == 3 else None


def _lens(values: Values, radius_unit: str) -> _Lens | None:
    """The camera of a row of the Cameras table; None where it has no focal length or size."""
    focal = number(values.get("focallength"))
    sides = [number(values.get(side)) for side in ("ncolumns", "nrows")]
    counts = [round(side) for side in sides if side is not None and 1.0 <= side <= 1e6]
    if focal is None or focal <= 0.0:
        return None
    if len(counts) < 2:
        raise SourceError("has no NColumns and NRows, so the picture's size is not known")
    size = Size(counts[0], counts[1])
    principal = [number(values.get(f"principal{axis}")) or 0.0 for axis in "xy"]
    radial, tangential = _distortion(values, focal, radius_unit)
    camera, turn = lens_and_turn(
        FilmCamera(
            size=size,
            focal=focal,
            principal=(principal[0], principal[1]),
            to_image=_to_image(values, size),
            radial=radial,
            tangential=tangential,
        )
    )
    return _Lens(camera=camera, turn=turn)


def _to_image(values: Values, size: Size) -> Floats:
    affine = [number(values.get(term)) for term in _AFFINE]
    terms = [term for term in affine if term is not None]
    if len(terms) == 6:
        # Film to image is -1; the text that some tables have for it names both ends.
        direction = values.get("affinedirection")
        backwards = number(direction) == _FILM_TO_IMAGE or words(direction).lower() == "filmtoimage"
        return affine_to_image(terms, from_image=not backwards)
    pixel = numbers(words(values.get("pixelsize")))
    if not pixel or min(pixel) <= 0.0:
        raise SourceError("has neither A0 to B2 nor PixelSize")
    system = number(values.get("filmcoordinatesystem"))
    return pixel_affine(size, (pixel[0], pixel[-1]), 1 if system is None else int(system))


def _distortion(
    values: Values, focal: float, radius_unit: str
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """(K0..K3, (P1, P2)) for radii in focal lengths."""
    unit = radius_factor(radius_unit, focal)
    tangential = _terms(values, ("tangential",), ("p1", "p2"))
    distances = numbers(values.get("radialdistances"))
    moved = numbers(values.get("radialdistortions"))
    if distances and moved:
        return (
            radial_of_table(distances, moved, focal),
            in_focal_lengths((), tangential, unit)[1],
        )
    radial = _terms(values, ("radial", "konrady"), ("k0", "k1", "k2", "k3"))
    return in_focal_lengths(radial, tangential, unit)


def _terms(values: Values, together: tuple[str, ...], apart: tuple[str, ...]) -> list[float]:
    for name in together:
        found = numbers(values.get(name))
        if found:
            return found
    return [number(values.get(name)) or 0.0 for name in apart]
