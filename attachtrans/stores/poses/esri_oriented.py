"""Esri's oriented imagery: a row a photo, under the new names of its fields or the old catalogue's.

Where a row has exact terms (CameraOrientation; Matrix, or Omega, Phi, Kappa, with FocalLength and
A0 to B2) they are taken. Else heading, pitch and roll are: heading clockwise from true north, pitch
0 down and 90 level, roll as of the printed matrix (`geo.rotation`, "hpr"). ImageRotation adds to
the roll; the fields of view stay the camera's. A heading of -999 or none leaves the attitude
unknown.

Z is in the unit of X and Y. CameraHeight, NearDistance, FarDistance and accuracies are metres.

Sources: Esri, oriented imagery table and dataset; Oriented Imagery Catalog schema 1.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import AttachtransError, CrsError
from attachtrans.geo.camera import Camera, PerspectiveCamera
from attachtrans.geo.pose import Accuracy, North, Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.base import (
    PoseOptions,
    PoseTable,
    number,
    numbers,
    positive,
    srs,
    table,
    words,
    z_unit,
)
from attachtrans.stores.poses.csvfile import first_number, first_words
from attachtrans.stores.poses.documents import Document, Row, Table
from attachtrans.stores.poses.esri_camera import distortion_warning
from attachtrans.stores.poses.esri_words import interior, matrix_rotation, read_orientation
from attachtrans.stores.poses.lenses import lens_of_view, panorama

Floats = NDArray[np.float64]
Fov = tuple[float | None, float | None]
Values = Mapping[str, object]

_PATH = ("imagepath", "image", "name")
_HEADING = ("cameraheading", "camheading")
_PITCH = ("camerapitch", "campitch")
_ROLL = ("cameraroll", "camroll")
_ROTATION = ("imagerotation", "imgrot")
_ACROSS = ("horizontalfieldofview", "hfov")
_DOWN = ("verticalfieldofview", "vfov")
_HEIGHT = ("cameraheight", "avghtag")
_NEAR = ("neardistance", "neardist")
_FAR = ("fardistance", "fardist")
_WORDS = ("cameraorientation", "camori")
_KIND = ("orientedimagerytype", "oitype")
_ACCURACY = ("orientationaccuracy", "accuracy")
_TIME = ("acquisitiondate", "datetime", "captureddate")
_AFFINE = ("a0", "a1", "a2", "b0", "b1", "b2")
_NO_HEADING = -999.0
_ALL_AROUND = frozenset({"360", "360degree", "bubble", "b"})


def is_oriented_imagery(document: Document) -> bool:
    """Whether a document has a table of oriented imagery."""
    return any(_fits(found) for found in document.tables)


def read_oriented_imagery(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of the rows of every table of oriented imagery.

    Raises:
        CrsError: a table that does not say which CRS X and Y are in.
    """
    poses: list[Pose] = []
    notes: list[str] = []
    for found in filter(_fits, document.tables):
        crs = found.crs or options.crs
        if crs is None and not any(map(found.has, ("srs", *_WORDS))):
            raise CrsError(
                f"{document.path}: {found.name} has no SRS, neither of the table nor in a column; "
                "name the CRS of X and Y with --poses-crs"
            )
        for count, row in enumerate(found.rows, start=1):
            name = first_words(row.values, _PATH) or f"row {count}"
            try:
                poses.append(_pose(name, row, crs, options, notes))
            except AttachtransError as error:
                notes.append(f"{name}: {error}")
    return table(poses, notes)


def _fits(found: Table) -> bool:
    marks = (*_HEADING, *_WORDS, "orientedimagerytype")
    return any(map(found.has, _PATH)) and any(map(found.has, marks))


def _pose(name: str, row: Row, crs: CRS | None, options: PoseOptions, notes: list[str]) -> Pose:
    values = row.values
    fov = first_number(values, _ACROSS), first_number(values, _DOWN)
    found = srs(values["srs"]) if words(values.get("srs")) else crs
    simple = _simple(row, found, fov)
    try:
        pose = _exact(values, found, fov, options) or simple
    except AttachtransError as error:
        notes.append(f"{name}: {error}; its simple fields were taken")
        pose = simple
    lens = pose.lens or simple.lens
    if isinstance(lens, PerspectiveCamera):
        warning = distortion_warning(lens)
        notes.extend([f"{name}: {warning}"] if warning else [])
    return replace(
        pose,
        name=name,
        xyz=pose.xyz or simple.xyz,
        crs=pose.crs if pose.xyz else simple.crs,
        z_unit_m=pose.z_unit_m if pose.xyz else simple.z_unit_m,
        lens=lens or options.camera(),
        above_ground_m=positive(first_number(values, _HEIGHT)),
        near_m=first_number(values, _NEAR),
        far_m=positive(first_number(values, _FAR)),
        accuracy=_accuracy(first_words(values, _ACCURACY)),
        time=first_words(values, _TIME) or None,
    )


def _simple(row: Row, crs: CRS | None, fov: Fov) -> Pose:
    """By heading, pitch, roll and field of view."""
    values = row.values
    x, y, z = (number(values.get(axis)) for axis in ("x", "y", "z"))
    if (x is None or y is None) and row.point is not None:
        x, y = row.point[:2]
        z = row.point[2] if z is None else z
    placed = crs is not None and x is not None and y is not None
    heading, pitch = first_number(values, _HEADING), first_number(values, _PITCH)
    roll, turned = first_number(values, _ROLL) or 0.0, first_number(values, _ROTATION) or 0.0
    around = first_words(values, _KIND).lower() in _ALL_AROUND
    assumed: list[str] = []
    rotation = None
    if heading is not None and heading != _NO_HEADING:
        rotation = pose_matrix("hpr", (heading, 90.0 if pitch is None else pitch, roll + turned))
        assumed += [] if pitch is not None else ["level camera"]
        if crs is not None and crs.is_projected:
            assumed += ["heading from true north"]
    return Pose(
        xyz=(x, y, z) if placed and x is not None and y is not None else None,
        crs=crs if placed else None,
        z_unit_m=z_unit(crs) if placed and crs is not None else None,
        rotation=rotation,
        lens=panorama() if around else lens_of_view(*fov),
        upright=True,
        source="Esri oriented imagery (heading, pitch, roll)",
        assumed=tuple(assumed),
    )


def _exact(values: Values, crs: CRS | None, fov: Fov, options: PoseOptions) -> Pose | None:
    """By CameraOrientation, or by columns of the same content; None where there are none."""
    text = first_words(values, _WORDS)
    if text:
        return read_orientation(text, fov, options.radius_unit)
    place = [number(values.get(axis)) for axis in ("x", "y", "z")]
    matrix = numbers(values.get("matrix"), 9)
    opk = [number(values.get(angle)) for angle in ("omega", "phi", "kappa")]
    known = [angle for angle in opk if angle is not None]
    if matrix is None and len(known) < 3:
        return None
    rotation = pose_matrix("opk", known) if matrix is None else matrix_rotation(matrix)
    lens, turn = _columns_lens(values, fov, options.radius_unit)
    x, y, z = place
    placed = crs is not None and x is not None and y is not None
    return Pose(
        xyz=(x, y, z) if placed and x is not None and y is not None else None,
        crs=crs if placed else None,
        z_unit_m=z_unit(crs) if placed and crs is not None else None,
        rotation=rotation if turn is None else rotation @ turn,
        north=North.GRID if crs is not None and crs.is_projected else North.TRUE,
        lens=lens,
        source="Esri oriented imagery (" + ("omega, phi, kappa)" if matrix is None else "matrix)"),
    )


def _columns_lens(
    values: Values, fov: Fov, radius_unit: str
) -> tuple[Camera | None, Floats | None]:
    """(camera, turn of its axes) of FocalLength, Principal, A0 to B2, Radial, Tangential."""
    affine = [number(values.get(term)) for term in _AFFINE]
    terms = [term for term in affine if term is not None]
    focal = number(values.get("focallength"))
    if len(terms) < 6 or focal is None:
        return None, None
    principal = [number(values.get(f"principal{axis}")) or 0.0 for axis in "xy"]
    radial = (numbers(values.get("radial")) or [0.0, 0.0, 0.0])[-3:]
    tangential = (numbers(values.get("tangential")) or [0.0, 0.0])[:2]
    return interior([*terms, focal, *principal, *radial, *tangential], fov, radius_unit)


def _accuracy(text: str) -> Accuracy:
    """Eight values: sd of xy and z in metres, heading, pitch, roll in degrees, and of ranges."""
    cells = re.split(r"[\s;,|]+", text) if text else []
    xy, z, heading, pitch, roll = (*map(positive, cells[:5]), *[None] * 5)[:5]
    return Accuracy(xy_m=xy, z_m=z, heading_deg=heading, pitch_deg=pitch, roll_deg=roll)
