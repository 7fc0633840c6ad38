"""What readers of pose tables share: their result, what a user adds, numbers and names.

A file is input that nobody vouches for: numbers that are not finite count as missing, and a path
in it is a name to match photos by, never something to open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from pyproj import CRS

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.camera import Camera
from attachtrans.geo.frame import has_heights, read_crs, unit_m
from attachtrans.geo.pose import Pose

_SUFFIXES = frozenset(
    {"jpg", "jpeg", "jpe", "tif", "tiff", "png", "webp", "heic", "heif", "jp2", "j2k", "mrf"}
    | {"cog", "dng", "json", "camera"}
)
_MOST_SUFFIXES = 4
_LONGEST_NAME = 256
"""Of a column."""
_LONGEST_CRS = 20_000
"""Characters; the longest WKT of a registry has a quarter of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseOptions:
    """What a user says beyond what a file says.

    crs          of positions that the file gives in an unnamed CRS
    convention   of three angles, a key of `geo.rotation.CONVENTIONS`; None: by the columns' names
    columns      names for the columns of a table without a header
    mapping      part of a pose -> name of the column that has it
    cameras      name -> the camera's inside; "" for all that have no other
    radius_unit  of radial polynomials in Esri's tables: "um", "mm", or "focal" for radii that are
                 divided by the focal length
    """

    crs: CRS | None = None
    convention: str | None = None
    columns: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    radius_unit: str = "um"

    def camera(self, name: str = "") -> Camera | None:
        """The inside of the camera of that name, or the one for all."""
        return self.cameras.get(name) or self.cameras.get("")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseTable:
    """The poses of a file, by the names of their photos.

    poses  in the file's order
    crs    that their positions are in, None where they differ or there are none
    notes  what a user should know: parts that could not be read, and why
    """

    poses: tuple[Pose, ...]
    crs: CRS | None = None
    notes: tuple[str, ...] = ()
    _by_name: dict[str, list[Pose]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, list[Pose]] = {}
        for pose in self.poses:
            last = _parts(pose.name)[-1]
            for key in {last, stem(last)}:
                index.setdefault(key, []).append(pose)
        object.__setattr__(self, "_by_name", index)

    def find(self, name: str) -> Pose | None:
        """The pose of a photo: by file name, else by file name without suffix; None if none.

        Folders decide between several: the more of a path is the same, from its end, the better.
        Letter case and the kind of slash are of no account.

        Raises:
            GeorefError: several poses fit equally well; names two of them.
        """
        parts = _parts(name)
        found = self._by_name.get(parts[-1]) or self._by_name.get(stem(parts[-1])) or []
        if len(found) < 2:
            return found[0] if found else None
        alike = [_common(parts, _parts(pose.name)) for pose in found]
        best = [pose for pose, count in zip(found, alike, strict=True) if count == max(alike)]
        if len(best) > 1 and best[0].name == best[1].name:
            raise GeorefError(f"{name} has {len(best)} rows in the table of poses: leave one")
        if len(best) > 1:
            raise GeorefError(
                f"{name} may be {best[0].name!r} or {best[1].name!r} in the table of poses; give "
                "photos and table the same relative paths"
            )
        return best[0]


def shared_crs(poses: tuple[Pose, ...]) -> CRS | None:
    """The CRS that all positions are in, None where they differ or there are none."""
    found = [pose.crs for pose in poses if pose.crs is not None]
    return found[0] if found and all(crs == found[0] for crs in found) else None


def table(poses: list[Pose], notes: list[str] | None = None) -> PoseTable:
    """A `PoseTable` with the CRS that its poses share and each note once."""
    unique = tuple(dict.fromkeys(notes or ()))
    return PoseTable(poses=tuple(poses), crs=shared_crs(tuple(poses)), notes=unique)


def stem(name: str) -> str:
    """A file name without its suffixes, as long as they are those of pictures."""
    for _ in range(_MOST_SUFFIXES):
        head, dot, tail = name.rpartition(".")
        if not head or not dot or tail.lower() not in _SUFFIXES:
            break
        name = head
    return name


def _parts(name: str) -> tuple[str, ...]:
    """Of a path or a URL, folded; at least one."""
    plain = name.partition("?")[0] if "://" in name else name
    parts = PurePosixPath(plain.replace("\\", "/").casefold()).parts
    return parts or ("",)


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """How many last parts are the same; a suffix of the very last may differ."""
    count = int(first[-1] == second[-1])
    for one, two in zip(first[-2::-1], second[-2::-1], strict=False):
        if one != two:
            break
        count += 2
    return count


def number(value: object) -> float | None:
    """A finite number from a cell or a JSON value, None for all else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        read = float(value)  # type: ignore[arg-type]  # what cannot be a number is caught
    except (TypeError, ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def positive(value: object) -> float | None:
    """A finite number above 0, None for all else."""
    read = number(value)
    return read if read is not None and read > 0.0 else None


def numbers(value: object, count: int | None = None) -> list[float] | None:
    """Finite numbers of a JSON list or of a text with spaces, commas or semicolons between.

    None when one of them is no number, or when there are not `count`.
    """
    if isinstance(value, str):
        cells: list[object] = [*re.split(r"[\s;,]+", value.strip(" \t\r\n;,[]()"))]
    elif isinstance(value, list | tuple):
        cells = [*value]
    else:
        return None
    if count is not None and len(cells) != count:
        return None
    read = [number(cell) for cell in cells]
    return None if None in read else [cell for cell in read if cell is not None]


def words(value: object) -> str:
    """A cell as text without spaces around it; "" for an empty one."""
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


@lru_cache(maxsize=4096)
def key(name: str) -> str:
    """A column's name as it is compared: letters and digits only, no case, no [unit]."""
    plain = re.sub(r"\[[^\]]*\]|\([^)]*\)", "", name[:_LONGEST_NAME])
    return "".join(c for c in plain.casefold() if c.isalnum())


def srs(value: object) -> CRS:
    """A CRS as tables name it: WKID, "26918;5773" (xy;z), WKT, PROJ string, "EPSG:25832".

    Raises:
        CrsError: it cannot be read.
    """
    return _srs(words(value))


@lru_cache(maxsize=256)
def _srs(text: str) -> CRS:
    if not text or len(text) > _LONGEST_CRS:
        raise CrsError(f"{text[:40]!r} is no coordinate system")
    pair = re.fullmatch(r"(\d+)\s*[;,|+]\s*(\d+)", text)
    if pair:
        flat, heights = pair.groups()
        return _wkid(flat) if int(heights) == 0 else read_crs(_compound(flat, heights))
    return _wkid(text) if text.isdigit() else read_crs(text)


def _compound(flat: str, heights: str) -> str:
    # Esri's own codes begin at 37001; those of the EPSG registry that it uses lie below.
    base = _wkid(flat).to_authority()
    if base is None:
        raise CrsError(f"WKID {flat} is not known")
    return f"{base[0]}:{base[1]}+{heights}"


def _wkid(text: str) -> CRS:
    """A well-known id: the EPSG registry's, else Esri's own."""
    try:
        return read_crs(f"EPSG:{text}")
    except CrsError:
        return read_crs(f"ESRI:{text}")


def z_unit(crs: CRS) -> float | None:
    """Metres per unit of a z that is in the unit of x and y, as `Pose.z_unit_m` wants it.

    None where the CRS says so itself, or has degrees (z is in metres then).
    """
    return unit_m(crs) if crs.is_projected and not has_heights(crs) else None
