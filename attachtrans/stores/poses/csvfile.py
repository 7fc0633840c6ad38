"""Tables of x, y, z and three angles: CSV of Pix4D, Metashape, orthority, spreadsheets.

The columns' names decide what the angles are: omega, phi, kappa; yaw, pitch, roll (Pix4D: pitch 0
looks down); heading, pitch, roll (Esri: pitch 0 looks down); azimuth, tilt, swing (coastal
imaging); gimbal yaw, pitch, roll (DJI: pitch 0 is level). `PoseOptions.convention` decides
otherwise.

Omega, phi, kappa and azimuth, tilt, swing refer to the axes of the table's projected CRS, headings
and yaws to true north. Positions named longitude and latitude are WGS 84; those named x and y need
a .prj beside the table, or `PoseOptions.crs`. A heading without pitch and roll is read by
`columns`. Fields of view are the lens where no camera of another file is named; `height` is z, the
height above the ground is AGL or CameraHeight.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import Accuracy, North, Pose
from attachtrans.geo.rotation import CONVENTIONS, pose_matrix
from attachtrans.stores.poses.base import (
    PoseOptions,
    PoseTable,
    number,
    positive,
    table,
    words,
    z_unit,
)
from attachtrans.stores.poses.documents import Document, Row, Table
from attachtrans.stores.poses.lenses import lens_of_view

NAME = (
    *("filename", "imagename", "imagepath", "image", "photo", "label", "name", "file", "path"),
    *("photoname", "photoid", "filepath", "sourcefile", "raster", "picture", "imagefile"),
)
_X = ("x", "easting", "east", "xlongitude", "longitudex", "perspectivex", "camerax", "xcoord")
_Y = ("y", "northing", "north", "ylatitude", "latitudey", "perspectivey", "cameray", "ycoord")
_LONGITUDE = ("longitude", "lon", "long", "lng", "gpslongitude")
_LATITUDE = ("latitude", "lat", "gpslatitude")
_Z = ("z", "altitude", "alt", "zaltitude", "altitudez", "elevation", "gpsaltitude", "height")
_CAMERA = ("camera", "cameraid", "cameraname", "cameramodel")
HEADING = (
    *("heading", "cameraheading", "camheading", "azimuth", "direction", "bearing"),
    *("compass", "compassangle", "imgdirection", "gpsimgdirection", "yaw"),
)
TIME = ("time", "datetime", "timestamp", "datetimeoriginal", "capturetime", "acquisitiondate")
ACROSS = ("hfov", "horizontalfieldofview", "fov", "fieldofview")
DOWN = ("vfov", "verticalfieldofview")
NEAR, FAR = ("near", "neardistance", "neardist"), ("far", "fardistance", "fardist")
ABOVE_GROUND = ("cameraheight", "avghtag", "agl", "heightaboveground")
_XY_ACCURACY = (
    "accuracyhorz",
    "accuracyhorizontal",
    "horizontalaccuracy",
    "xyaccuracy",
    "accuracy",
)
_Z_ACCURACY = ("accuracyvert", "accuracyvertical", "verticalaccuracy", "zaccuracy")
# Convention -> the columns of its three angles, each with other spellings.
_ANGLES = MappingProxyType(
    {
        "opk": (("omega",), ("phi",), ("kappa",)),
        "dji": (
            ("gimbalyaw", "gimbalyawdegree"),
            ("gimbalpitch", "gimbalpitchdegree"),
            ("gimbalroll", "gimbalrolldegree"),
        ),
        "cirn": (("azimuth",), ("tilt",), ("swing",)),
        "ypr": (("yaw",), ("pitch",), ("roll",)),
        "hpr": (("heading", "azimuth", "direction"), ("pitch",), ("roll",)),
    }
)
_OF_THE_GRID = frozenset({"opk", "cirn"})
_WORDS = MappingProxyType(
    {
        "opk": "omega, phi, kappa",
        "dji": "gimbal yaw, pitch, roll",
        "cirn": "azimuth, tilt (0 looks down), swing",
        "ypr": "yaw, pitch (0 looks down), roll, as Pix4D has them",
        "hpr": "heading, pitch (0 looks down), roll, as Esri has them",
    }
)


class _Angles(NamedTuple):
    """The convention that three columns are in, and their folded names."""

    convention: str
    columns: tuple[str, ...]


def is_pose_csv(document: Document) -> bool:
    """Whether a table names photos and has positions with or without angles, or no header."""
    if len(document.tables) != 1 or document.json is not None:
        return False
    found = document.tables[0]
    if not document.named or _first(found, NAME) is None:
        return not document.named
    bare = _place_columns(found) is not None and _first(found, HEADING) is None
    return bare or _angles(found, PoseOptions()) is not None


def read_pose_csv(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of a table's rows; rows without a photo's name are left out, with a note.

    Raises:
        ArgumentError: no header and no `options.columns`, no column of names, no position.
        CrsError: positions in a CRS that is not named.
    """
    found = document.tables[0]
    if not document.named:
        raise ArgumentError(
            f"{document.path}: has no header; say what its {len(found.columns)} columns are with "
            "--poses-columns, such as name,x,y,z,omega,phi,kappa"
        )
    name, angles, place = _first(found, NAME), _angles(found, options), _place_columns(found)
    if name is None or (angles is None and place is None):
        raise ArgumentError(
            f"{document.path}: has no column of names, or neither x and y nor three angles; it has "
            f"{', '.join(found.columns)}; name them with --poses-columns"
        )
    crs = None if place is None else _crs(document, options, geographic=place[0] in _LONGITUDE)
    poses: list[Pose] = []
    notes: list[str] = []
    for count, row in enumerate(found.rows, start=1):
        if not words(row.values.get(name)):
            notes.append(f"row {count} names no photo")
            continue
        try:
            poses.append(_pose(words(row.values[name]), row, (place, crs), angles, options))
        except ArgumentError as error:
            notes.append(f"row {count}: {error}")
    return table(poses, notes)


def _pose(
    name: str,
    row: Row,
    where: tuple[tuple[str, str] | None, CRS | None],
    angles: _Angles | None,
    options: PoseOptions,
) -> Pose:
    place, crs = where
    xy = [number(row.values.get(column)) for column in place or ()]
    z = first_number(row.values, _Z)
    xyz = None if len(xy) < 2 or xy[0] is None or xy[1] is None else (xy[0], xy[1], z)
    turns = [number(row.values.get(column)) for column in angles.columns] if angles else []
    known = [turn for turn in turns if turn is not None]
    rotation, compass = None, angles is not None and angles.convention not in _OF_THE_GRID
    grid = crs is not None and crs.is_projected
    if angles and known and len(known) == len(turns):
        rotation = pose_matrix(angles.convention, known)
    return Pose(
        name=name,
        xyz=xyz,
        crs=None if xyz is None else crs,
        z_unit_m=None if xyz is None or crs is None else z_unit(crs),
        rotation=rotation,
        north=North.GRID if grid and angles and not compass else North.TRUE,
        lens=options.camera(first_words(row.values, _CAMERA))
        or lens_of_view(first_number(row.values, ACROSS), first_number(row.values, DOWN)),
        upright=compass,
        above_ground_m=positive(first_number(row.values, ABOVE_GROUND)),
        near_m=first_number(row.values, NEAR),
        far_m=positive(first_number(row.values, FAR)),
        accuracy=Accuracy(
            xy_m=first_number(row.values, _XY_ACCURACY), z_m=first_number(row.values, _Z_ACCURACY)
        ),
        time=first_words(row.values, TIME) or None,
        source="table ("
        + (_WORDS.get(angles.convention, angles.convention) if angles else "x, y")
        + ")",
        assumed=(f"{angles.columns[0]} from true north",) if angles and compass and grid else (),
    )


def _crs(document: Document, options: PoseOptions, *, geographic: bool) -> CRS:
    if geographic:
        named = options.crs
        return named if named is not None and named.is_geographic else read_crs("OGC:CRS84")
    found = options.crs or document.tables[0].crs
    if found is None:
        raise CrsError(
            f"{document.path}: does not say which CRS its x and y are in; name it with "
            f"--poses-crs, or put {document.path.stem}.prj beside it"
        )
    return found


def _place_columns(found: Table) -> tuple[str, str] | None:
    """The folded names of x and y: longitude and latitude, or those of another CRS."""
    for across, up in ((_LONGITUDE, _LATITUDE), (_X, _Y)):
        x, y = _first(found, across), _first(found, up)
        if x is not None and y is not None:
            return x, y
    return None


def _angles(found: Table, options: PoseOptions) -> _Angles | None:
    if options.convention is not None and options.convention not in CONVENTIONS:
        raise ArgumentError(
            f"unknown pose convention {options.convention!r}; known: {', '.join(CONVENTIONS)}"
        )
    for convention, columns in _ANGLES.items():
        names = [_first(found, spellings) for spellings in columns]
        known = tuple(name for name in names if name is not None)
        if len(known) == 3:
            return _Angles(options.convention or convention, known)
    return None


def _first(found: Table, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if found.has(name)), None)


def first_number(values: Mapping[str, object], names: tuple[str, ...]) -> float | None:
    """The first of several columns that has a number."""
    read = (number(values.get(name)) for name in names)
    return next((value for value in read if value is not None), None)


def first_words(values: Mapping[str, object], names: tuple[str, ...]) -> str:
    """The first of several columns that has text, "" if none."""
    return next((text for name in names if (text := words(values.get(name)))), "")
