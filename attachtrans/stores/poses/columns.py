"""A pose from the attributes of a feature: columns by their usual names, or by those mapped.

| part | columns that are tried, in any spelling | meaning |
|---|---|---|
| heading | heading, CameraHeading, azimuth, direction, bearing, yaw | from true north |
| pitch | pitch, CameraPitch, tilt | 0 looks down, 90 is level: Esri's |
| roll | roll, CameraRoll | Esri's |
| omega, phi, kappa | the same | in the axes of the layer's CRS |
| hfov, vfov | HorizontalFieldOfView, hfov, fov; vfov | degrees |
| height | height, CameraHeight, AvgHtAG, agl | metres above the ground |
| x, y, altitude | x, y; altitude, z, elevation | in the layer's CRS; else its point's |
| near, far | NearDistance, FarDistance, near, far | metres |
| accuracy, z_accuracy, heading_accuracy | accuracy, ... | 1 sigma |
| time | time, datetime, timestamp, AcquisitionDate | |

`convention` in a mapping is no column but what pitch and roll count from: "hpr" (Esri, as above),
"dji" or "gpano" (pitch 0 is level), or any other of `geo.rotation.CONVENTIONS`. A value never
decides that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.geo.frame import read_crs
from attachtrans.geo.pose import Accuracy, North, Pose
from attachtrans.geo.rotation import CONVENTIONS, pose_matrix
from attachtrans.stores.poses.base import (
    PoseOptions,
    PoseTable,
    key,
    number,
    positive,
    table,
    words,
    z_unit,
)
from attachtrans.stores.poses.csvfile import (
    ABOVE_GROUND,
    ACROSS,
    DOWN,
    FAR,
    HEADING,
    NAME,
    NEAR,
    TIME,
)
from attachtrans.stores.poses.documents import Document, Point
from attachtrans.stores.poses.lenses import lens_of_view

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "heading": HEADING,
        "pitch": ("pitch", "camerapitch", "campitch", "tilt"),
        "roll": ("roll", "cameraroll", "camroll"),
        "omega": ("omega",),
        "phi": ("phi",),
        "kappa": ("kappa",),
        "hfov": ACROSS,
        "vfov": DOWN,
        "height": ("height", *ABOVE_GROUND),
        "x": ("x", "longitude", "lon", "easting"),
        "y": ("y", "latitude", "lat", "northing"),
        "altitude": ("altitude", "alt", "z", "elevation", "gpsaltitude"),
        "near": NEAR,
        "far": FAR,
        "accuracy": ("accuracy", "horizontalaccuracy", "hpositioningerror"),
        "z_accuracy": ("zaccuracy", "verticalaccuracy"),
        "heading_accuracy": ("headingaccuracy", "compassaccuracy"),
        "time": TIME,
        "name": NAME,
    }
)
"""Part of a pose -> the folded names of columns that are tried for it, in this order."""
_UNKNOWN = -999.0
"""Esri's heading for none."""


def check_mapping(mapping: Mapping[str, str], columns: Sequence[str]) -> None:
    """Refuses a mapping (`--pose heading=azimuth,...`) that does not fit a table.

    Raises:
        ArgumentError: a part that there is not, a column that the table has not.
    """
    for part, column in mapping.items():
        if part == "convention":
            if column not in CONVENTIONS or len(CONVENTIONS[column]) != 3:
                raise ArgumentError(f"--pose convention={column}: one of {', '.join(CONVENTIONS)}")
        elif part not in PARTS:
            raise ArgumentError(f"--pose {part}={column}: a pose has {', '.join(PARTS)}")
        elif key(column) not in {key(name) for name in columns}:
            raise ArgumentError(
                f"--pose {part}={column}: there is no column {column!r}, but {', '.join(columns)}"
            )


def columns_pose(
    row: Mapping[str, object],
    mapping: Mapping[str, str],
    *,
    point: Point | None = None,
    crs: CRS | None = None,
) -> Pose:
    """The pose that a feature's attributes give; what they do not give is None.

    Args:
        row: column -> value.
        mapping: part -> column, for columns of other names (see `check_mapping`).
        point: the feature's, where the position is not in columns.
        crs: of the point and of the columns x and y.

    Raises:
        ArgumentError: a field of view that no lens has, or a convention that there is not.
    """
    values = {key(str(name)): value for name, value in row.items()}
    found = {part: _value(values, mapping, part) for part in PARTS}
    xyz = _place(found, point)
    grid = crs is not None and crs.is_projected
    convention, angles, assumed = _attitude(found, mapping)
    return Pose(
        name=words(found["name"]),
        xyz=None if crs is None else xyz,
        crs=crs if xyz is not None else None,
        z_unit_m=None if crs is None or xyz is None else z_unit(crs),
        rotation=None if angles is None else pose_matrix(convention, angles),
        north=North.GRID if convention == "opk" and grid else North.TRUE,
        lens=lens_of_view(number(found["hfov"]), number(found["vfov"])),
        upright=convention != "opk",
        above_ground_m=positive(found["height"]),
        near_m=number(found["near"]),
        far_m=positive(found["far"]),
        accuracy=Accuracy(
            xy_m=positive(found["accuracy"]),
            z_m=positive(found["z_accuracy"]),
            heading_deg=positive(found["heading_accuracy"]),
        ),
        time=words(found["time"]) or None,
        source="feature attributes",
        assumed=assumed,
    )


def has_attitude(document: Document) -> bool:
    """Whether a document is one table or layer that names photos and has their heading."""
    spellings = (*PARTS["heading"], *PARTS["kappa"])
    return any(
        any(found.has(name) for name in NAME) and any(found.has(name) for name in spellings)
        for found in document.tables
    )


def read_columns(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of the rows of every table that names photos."""
    poses: list[Pose] = []
    notes: list[str] = []
    mapped = key(options.mapping.get("name", ""))
    for found in document.tables:
        if not any(found.has(name) for name in (mapped, *NAME) if name):
            continue
        check_mapping(options.mapping, found.columns)
        crs = found.crs or options.crs or _degrees(found.columns)
        for count, row in enumerate(found.rows, start=1):
            try:
                pose = columns_pose(row.values, options.mapping, point=row.point, crs=crs)
            except ArgumentError as error:
                notes.append(f"{found.name}, row {count}: {error}")
                continue
            if pose.name:
                poses.append(pose)
    return table(poses, notes)


def _degrees(columns: Sequence[str]) -> CRS | None:
    """WGS 84 where the positions are called so."""
    names = {key(column) for column in columns}
    return read_crs("OGC:CRS84") if {"longitude", "lon"} & names else None


def _value(values: Mapping[str, object], mapping: Mapping[str, str], part: str) -> object:
    if part in mapping:
        return values.get(key(mapping[part]))
    found = (values.get(name) for name in PARTS[part])
    return next((value for value in found if words(value)), None)


def _place(found: Mapping[str, object], point: Point | None) -> Point | None:
    x, y, z = number(found["x"]), number(found["y"]), number(found["altitude"])
    if x is None or y is None:
        if point is None:
            return None
        x, y = point[:2]
        z = point[2] if z is None else z
    return x, y, z


def _attitude(
    found: Mapping[str, object], mapping: Mapping[str, str]
) -> tuple[str, list[float] | None, tuple[str, ...]]:
    """(convention, its three angles, what was assumed)."""
    opk = [number(found[part]) for part in ("omega", "phi", "kappa")]
    if None not in opk:
        return "opk", [angle for angle in opk if angle is not None], ()
    heading, pitch, roll = (number(found[part]) for part in ("heading", "pitch", "roll"))
    convention = mapping.get("convention", "hpr")
    if heading is None or heading == _UNKNOWN:
        return convention, None, ()
    if pitch is None:
        return "hpr", [heading, 90.0, roll or 0.0], ("level camera",)
    said = () if "convention" in mapping else ("pitch 0 looks down, 90 is level",)
    if roll is None:
        said = (*said, "no roll")
    return convention, [heading, pitch, roll or 0.0], said
