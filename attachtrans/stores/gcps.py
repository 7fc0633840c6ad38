"""Files of ground control points: csv tables, ODM's gcp_list.txt, QGIS's .points.

| format | first pixel's (0, 0) | its CRS |
| --- | --- | --- |
| csv | outer corner, as in GIS; or as told | `#CRS: ` line, .prj, argument |
| gcp_list.txt of ODM and OpenSfM | centre (OpenSfM adds the half pixel) | first line |
| .points of QGIS | outer corner, rows negative (its canvas has y up) | `#CRS: ` line |

A csv's columns are found by their names (`COLUMNS`); commas, semicolons, tabs or spaces part them.
Columns called longitude and latitude without a CRS are WGS 84. `.points` have no heights:
`ControlPoints.with_heights` fills them from a ground.

Sources: ODM documentation, page "Ground control points"; OpenSfM's documentation of ground control
points; files as QGIS 2 and 3 write them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pyproj import CRS

from attachtrans.errors import CrsError, SourceError
from attachtrans.geo.frame import read_crs
from attachtrans.geo.resection import ControlPoints

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "name": ("name", "gcp_name", "gcp", "label", "point", "point_name", "id", "marker"),
        "image": (
            "image",
            "image_name",
            "photo",
            "photo_name",
            "filename",
            "file",
            "img",
            "camera",
        ),
        "x": ("x", "lon", "long", "longitude", "easting", "east", "e", "geo_x", "mapx", "x_m"),
        "y": ("y", "lat", "latitude", "northing", "north", "n", "geo_y", "mapy", "y_m"),
        "z": ("z", "height", "h", "altitude", "alt", "elevation", "elev", "geo_z", "z_m"),
        "col": ("col", "column", "pixel_x", "im_x", "px", "pixelx", "sourcex", "u", "sample"),
        "row": ("row", "pixel_y", "im_y", "py", "pixely", "sourcey", "v", "line"),
        "enable": ("enable", "enabled"),
    }
)
"""What is read -> how its column may be called, whatever the case, spaces for underscores."""
_GEOGRAPHIC = {"lon", "long", "longitude"}
_CRS_LINE = re.compile(r"^#\s*CRS\s*:\s*(?P<crs>.+)$", re.IGNORECASE)
_UTM = re.compile(
    r"^WGS\s*84\s*/?\s*UTM\s*(?:zone\s*)?(?P<zone>\d{1,2})\s*(?P<half>[NS])$", re.IGNORECASE
)
_ODM_FIELDS = 6
_OFF = {"0", "false", "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One point in one photo as the file has it."""

    image: str
    name: str
    xyz: tuple[float, float, float]
    pixel: tuple[float, float]


def read_control_points(
    path: Path, *, crs: object = None, centre: bool = False
) -> dict[str, ControlPoints]:
    """The control points of each photo that a file names; "" for a file that names none.

    Args:
        path: of the file. Whose name ends in .points is of QGIS, a text whose first line is a CRS
            of ODM, any other a csv with a line of names.
        crs: of the points, over what the file says.
        centre: a csv's pixels count from the CENTRE of the first pixel.

    Raises:
        SourceError: it cannot be read, lacks a column, or has no points; says the line.
        CrsError: neither the file nor `crs` says what its coordinates are.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"control points {path} cannot be read: {error}") from error
    lines = [line for line in lines if line.strip()]
    first = lines[0].strip() if lines else ""
    if (own := _odm_crs(first)) is not None:
        rows, shift = _odm_rows(path, lines[1:]), 0.5
    else:
        own, rows = _table(path, lines)
        shift = 0.5 if centre else 0.0
    if not rows:
        raise SourceError(f"{path} has no control points")
    known = read_crs(crs) if crs is not None else own or _beside(path)
    if known is None:
        raise CrsError(
            f"{path} does not say what its coordinates are: name their coordinate system (such as "
            "EPSG:32633), or begin the file with a line '#CRS: EPSG:32633'"
        )
    return {
        image: _points([row for row in rows if row.image == image], known, shift)
        for image in dict.fromkeys(row.image for row in rows)
    }


def _points(rows: Sequence[_Row], crs: CRS, shift: float) -> ControlPoints:
    names = [row.name or str(number) for number, row in enumerate(rows, start=1)]
    return ControlPoints(
        names=names,
        crs=crs,
        xyz=np.array([row.xyz for row in rows]).T,
        pixels=np.array([row.pixel for row in rows]).T + shift,
    )


def _odm_crs(line: str) -> CRS | None:
    """The CRS that the first line of a gcp_list.txt is; None when it is something else."""
    if (utm := _UTM.match(line)) is not None:
        return CRS.from_epsg((32600 if utm["half"].upper() == "N" else 32700) + int(utm["zone"]))
    if line == "WGS84":
        return CRS.from_epsg(4326)
    if line.upper().startswith("EPSG:") or line.startswith("+"):
        return read_crs(line)
    return None


def _odm_rows(path: Path, lines: Iterable[str]) -> list[_Row]:
    """Lines `x y z col row image [name ...]`; z may be NaN."""
    rows = []
    for number, line in enumerate(lines, start=2):
        fields = line.split()
        if line.startswith("#"):
            continue
        if len(fields) < _ODM_FIELDS:
            raise SourceError(
                f"{path}, line {number}: a control point is 'x y z col row image', not {line!r}"
            )
        x, y, z, col, row = (_number(field, path, number) for field in fields[:5])
        name = fields[6] if len(fields) > _ODM_FIELDS else ""
        rows.append(_Row(image=fields[5], name=name, xyz=(x, y, z), pixel=(col, row)))
    return rows


def _table(path: Path, lines: Sequence[str]) -> tuple[CRS | None, list[_Row]]:
    """A table with a line of names, and the CRS that it states."""
    stated = None
    while lines and lines[0].lstrip().startswith("#"):
        if (found := _CRS_LINE.match(lines[0].strip())) is not None:
            stated = read_crs(found["crs"])
        lines = lines[1:]
    if not lines:
        return stated, []
    comma = max(",;\t ", key=lines[0].count)
    records = list(csv.reader(lines, delimiter=comma, skipinitialspace=True))
    places = _places(path, records[0])
    rows = [
        _row(record, places, path, number)
        for number, record in enumerate(records[1:], start=2)
        if "enable" not in places or record[places["enable"]].strip().lower() not in _OFF
    ]
    if path.suffix.lower() == ".points":
        rows = _upright(path, rows)
    if stated is None and _called(records[0][places["x"]]) in _GEOGRAPHIC:
        stated = CRS.from_epsg(4326)
    return stated, rows


def _places(path: Path, names: Sequence[str]) -> dict[str, int]:
    """What is read -> its column's number."""
    called = [_called(name) for name in names]
    places = {
        key: called.index(next(name for name in known if name in called))
        for key, known in COLUMNS.items()
        if not set(called).isdisjoint(known)
    }
    lacking = [key for key in ("x", "y", "col", "row") if key not in places]
    if lacking:
        raise SourceError(
            f"{path} has no column for {', '.join(lacking)} (it has {', '.join(names)}); name it "
            f"{' or '.join(COLUMNS[lacking[0]][:3])}"
        )
    return places


def _row(record: Sequence[str], places: Mapping[str, int], path: Path, number: int) -> _Row:
    if len(record) <= max(places.values()):
        raise SourceError(f"{path}, record {number} has {len(record)} values, too few")

    def value(key: str) -> float:
        return _number(record[places[key]], path, number)

    z = value("z") if "z" in places and record[places["z"]].strip() else np.nan
    return _Row(
        image=Path(record[places["image"]].strip().replace("\\", "/")).name
        if "image" in places
        else "",
        name=record[places["name"]].strip() if "name" in places else "",
        xyz=(value("x"), value("y"), z),
        pixel=(value("col"), value("row")),
    )


def _upright(path: Path, rows: Sequence[_Row]) -> list[_Row]:
    """Rows counted downwards, as QGIS counts the rows of a picture without georeference upwards."""
    heights = [row.pixel[1] for row in rows]
    if any(height > 0.0 for height in heights) and any(height < 0.0 for height in heights):
        raise SourceError(
            f"{path} has rows of both signs: its source points are map coordinates of a raster "
            "that was on the map already, not pixels"
        )
    return [
        _Row(image=row.image, name=row.name, xyz=row.xyz, pixel=(row.pixel[0], abs(row.pixel[1])))
        for row in rows
    ]


def _called(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def _number(text: str, path: Path, line: int) -> float:
    """A number with a decimal point, or a comma where nothing else can be meant."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError as error:
        raise SourceError(f"{path}, line {line}: {text!r} is not a number") from error


def _beside(path: Path) -> CRS | None:
    """The CRS of a .prj beside the file."""
    projection = path.with_suffix(".prj")
    if not projection.is_file():
        return None
    return read_crs(projection.read_text(encoding="utf-8", errors="replace").strip())
