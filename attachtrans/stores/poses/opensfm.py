"""OpenSfM's and ODM's reconstruction.json: image matching's cameras and where they stood.

One name, two frames. OpenSfM writes east, north, up about its reference. ODM overwrites that file
with coordinates of a projected CRS less an offset; its axes are the grid's. ODM is known by what
lies beside the file (coords.txt, its folders), or by a reference that is a whole metre of its UTM
zone in both coordinates, as ODM rounds it.

Its cameras are of stored pixels. Focal lengths and centres are in units of the longer side.

Sources: OpenSfM documentation (geometry, camera models, reconstruction file format); ODM
documentation (outputs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, AttachtransError, CrsError, SourceError
from attachtrans.geo.camera import Camera
from attachtrans.geo.frame import read_crs, transform
from attachtrans.geo.pose import North, Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.base import PoseOptions, PoseTable, number, numbers, table, words
from attachtrans.stores.poses.documents import MOST_BYTES, Document, read_json
from attachtrans.stores.poses.lenses import fisheye, middle_px, panorama, pinhole
from attachtrans.stores.poses.tangent import TangentFrame
from attachtrans.types import Size

Floats = NDArray[np.float64]

_WHOLE_M = 1e-3
"""How near to whole metres ODM's rounded reference comes back from degrees."""
_ODM_FOLDERS = ("odm_georeferencing", "odm_dem", "odm_orthophoto", "odm_report", "odm_meshing")
_BROWN = ("k1", "k2", "p1", "p2", "k3")
_PINHOLES = frozenset({"perspective", "brown", "simple_radial", "radial"})
_FISHEYES = frozenset({"fisheye", "fisheye_opencv", "fisheye62", "fisheye624"})
_SPHERES = frozenset({"spherical", "equirectangular"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Odm:
    """Where ODM's coordinates count from."""

    crs: CRS
    offset: tuple[float, float]


def is_reconstruction(document: Document) -> bool:
    """Whether a document is a reconstruction, or a list of them."""
    first = document.json[0] if isinstance(document.json, list) and document.json else document.json
    return isinstance(first, dict) and isinstance(first.get("shots"), dict) and "cameras" in first


def read_reconstruction(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of all shots of all parts of a reconstruction.

    Raises:
        CrsError: ODM's, with an offset of a CRS that is not to be found: give `options.crs`.
        SourceError: OpenSfM's, without a reference.
    """
    parts = document.json if isinstance(document.json, list) else [document.json]
    poses: list[Pose] = []
    notes: list[str] = []
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("shots"), dict):
            continue
        reference = _reference(document.path, part)
        odm = _odm(document.path, reference, options)
        lenses = {**options.cameras, **sfm_cameras(part.get("cameras"), notes)}
        for name, shot in part["shots"].items():
            try:
                poses.append(_pose(str(name), shot, lenses, odm or reference))
            except (ArgumentError, SourceError) as error:
                notes.append(f"{name}: {error}")
    return table(poses, notes)


def _pose(
    name: str, shot: object, lenses: Mapping[str, Camera], frame: _Odm | TangentFrame | None
) -> Pose:
    if not isinstance(shot, dict):
        raise SourceError("is no shot")
    angles, moved = numbers(shot.get("rotation"), 3), numbers(shot.get("translation"), 3)
    if angles is None or moved is None:
        raise SourceError("lacks a rotation or a translation of three numbers")
    if frame is None:
        raise SourceError(
            "stands in a frame without a place: the reconstruction has no reference_lla (it was "
            "made without GPS)"
        )
    rotation = pose_matrix("opensfm", angles)
    place = -rotation @ np.array(moved)
    lens = lenses.get(words(shot.get("camera"))) or lenses.get("")
    if isinstance(frame, _Odm):
        x, y = place[0] + frame.offset[0], place[1] + frame.offset[1]
        xyz, source = (float(x), float(y), float(place[2])), "ODM reconstruction"
    else:
        xyz, rotation = frame.locate(place, rotation)
        source = "OpenSfM reconstruction"
    return Pose(
        name=name,
        xyz=xyz,
        crs=frame.crs,
        rotation=rotation,
        north=North.GRID if isinstance(frame, _Odm) else North.TRUE,
        lens=lens,
        time=_time(shot.get("capture_time")),
        paired=True,
        source=source,
    )


def _time(value: object) -> str | None:
    """Seconds since 1970 as ISO 8601; ODM writes 0 for unknown."""
    seconds = number(value)
    if not seconds or not 0.0 < seconds < 2.0**33:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def _reference(path: Path, part: Mapping[str, object]) -> TangentFrame | None:
    """The reference of a reconstruction: in it, or in the file that older versions put beside."""
    found = part.get("reference_lla")
    beside = path.with_name("reference_lla.json")
    if not isinstance(found, dict) and beside.is_file():
        found = read_json(beside)
    if not isinstance(found, dict):
        return None
    lla = [number(found.get(name)) for name in ("longitude", "latitude", "altitude")]
    longitude, latitude, altitude = lla
    if longitude is None or latitude is None:
        return None
    return TangentFrame(longitude=longitude, latitude=latitude, altitude_m=altitude or 0.0)


def _odm(path: Path, reference: TangentFrame | None, options: PoseOptions) -> _Odm | None:
    """The offset of ODM's coordinates; None where they are OpenSfM's own.

    Raises:
        CrsError: ODM's, but of which CRS is not to be found.
    """
    for root in (path.parent, path.parent.parent):
        coords = root / "odm_georeferencing" / "coords.txt"
        if coords.is_file():
            found = _coords(coords)
            return _Odm(crs=options.crs or found.crs, offset=found.offset)
    beside = path.with_name("reconstruction.topocentric.json").is_file() or any(
        (path.parent.parent / name).is_dir() for name in _ODM_FOLDERS
    )
    crs = options.crs or (None if reference is None else _utm(reference))
    offset = None if reference is None or crs is None else _on(reference, crs)
    if crs is not None and offset is not None and _is_whole(offset):
        return _Odm(crs=crs, offset=(round(offset[0]), round(offset[1])))
    if not beside:
        return None
    if options.crs is None or offset is None:
        raise CrsError(
            f"{path}: is ODM's, in a projected CRS less an offset, and which is not to be found: "
            "name the CRS with --poses-crs, or put odm_georeferencing/coords.txt where ODM has it"
        )
    return _Odm(crs=options.crs, offset=offset)


def _coords(path: Path) -> _Odm:
    """ODM's coords.txt: "WGS84 UTM 51N" or a PROJ string, then the offset."""
    if path.stat().st_size > MOST_BYTES:
        raise SourceError(f"{path}: is too large for what it is")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    offset = numbers(lines[1], 2) if len(lines) > 1 else None
    if offset is None:
        raise SourceError(f"{path}: has no offset in its second line")
    first = lines[0].split()
    if len(first) == 3 and first[:2] == ["WGS84", "UTM"] and first[2][:-1].isdigit():
        south = first[2][-1:].upper() == "S"
        crs = read_crs(f"EPSG:{(32700 if south else 32600) + int(first[2][:-1])}")
    else:
        crs = read_crs(lines[0].strip())
    return _Odm(crs=crs, offset=(offset[0], offset[1]))


def _utm(reference: TangentFrame) -> CRS | None:
    zone = int((reference.longitude + 180.0) // 6.0) % 60 + 1
    if abs(reference.latitude) > 84.0:
        return None
    return read_crs(f"EPSG:{(32700 if reference.latitude < 0.0 else 32600) + zone}")


def _on(reference: TangentFrame, crs: CRS) -> tuple[float, float] | None:
    place = transform(reference.crs, crs, [[reference.longitude], [reference.latitude]])[:, 0]
    return (float(place[0]), float(place[1])) if np.isfinite(place).all() else None


def _is_whole(offset: tuple[float, float]) -> bool:
    return all(abs(value - round(value)) < _WHOLE_M for value in offset)


def sfm_cameras(found: object, notes: list[str]) -> dict[str, Camera]:
    """Cameras of a reconstruction, or of cameras.json and camera_models.json, by their names.

    Those of kinds that are not known are left out, and a note says which.
    """
    lenses: dict[str, Camera] = {}
    for name, fields in (found if isinstance(found, dict) else {}).items():
        try:
            lenses[str(name)] = sfm_camera(fields)
        except AttachtransError as error:
            notes.append(f"camera {name!r}: {error}")
    return lenses


def sfm_camera(fields: object) -> Camera:
    """A camera of OpenSfM, at the origin.

    Raises:
        SourceError: a kind that is not known, or something lacks.
        ArgumentError: a value that no camera has.
    """
    if not isinstance(fields, dict):
        raise SourceError("is no camera")
    width, height = number(fields.get("width")), number(fields.get("height"))
    if width is None or height is None or min(width, height) < 1.0:
        raise SourceError("has no width and height")
    size = Size(int(width), int(height))
    kind = words(fields.get("projection_type")) or "perspective"
    if kind in _SPHERES:
        return panorama(size)
    longer, middle = max(size), middle_px(size)
    both = _term(fields, "focal")
    focal = _term(fields, "focal_x", both) * longer, _term(fields, "focal_y", both) * longer
    centre = _term(fields, "c_x") * longer + middle[0], _term(fields, "c_y") * longer + middle[1]
    if kind in _PINHOLES:
        return pinhole(size, focal, centre, [_term(fields, name) for name in _BROWN])
    if kind in _FISHEYES:
        bent = [name for name in ("p1", "p2", "s0", "s1", "s2", "s3") if _term(fields, name)]
        if bent:
            raise SourceError(f"{kind} with {', '.join(bent)} is not supported")
        return fisheye(size, focal, centre, [_term(fields, f"k{n}") for n in range(1, 7)])
    raise SourceError(f"projection_type {kind!r} is not supported")


def _term(fields: Mapping[str, object], name: str, missing: float = 0.0) -> float:
    value = number(fields.get(name))
    return missing if value is None else value
