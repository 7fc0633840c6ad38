"""Collections of rasters: what is said of their members before any of them is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

Order = Literal["date", "date-asc", "name", "name-desc", "list"]
"""Which member is on top where several overlap.

date       the newest; date-asc: the oldest
name       the last by name, as with `gdalbuildvrt *.tif`; name-desc: the first by name
list       what is listed last, which is how GDAL draws VRTs and tile indexes
"""

Bounds = tuple[float, float, float, float]


class MosaicKind(StrEnum):
    """What a collection of rasters is."""

    VRT = "VRT"
    GTI = "GDAL tile index"
    FOOTPRINTS = "footprints with paths"
    STAC = "STAC items"
    STAC_PARQUET = "stac-geoparquet"
    FOLDER = "folder"
    ESRI = "Esri mosaic dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicChoice:
    """Which rasters of a collection are meant, and how they become one; None: found.

    path_column  of footprints: where the rasters' paths are; None: by its name, then its values
    date_column  of footprints; None: by its name and type
    layer        of footprints, in a file of several
    where        SQL on the attributes of footprints or of a tile index: members without it are
                 left out
    asset        of STAC items: key, role or media type; None: "visual", the role "data", or the
                 only raster there is
    resampling   of members that lie on another grid than the mosaic's, in GDAL's words; "nearest"
                 where values are classes
    patterns     of names of a folder's files, see `open_folder`
    recursive    look into folders in the folder
    as_mosaic    a folder's rasters are one mosaic (--mosaic)
    """

    path_column: str | None = None
    date_column: str | None = None
    layer: str | None = None
    where: str | None = None
    asset: str | None = None
    resampling: str = "bilinear"
    patterns: Sequence[str] = ()
    recursive: bool = True
    as_mosaic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A raster of a collection, not opened.

    name     unique in the collection; a relative path without ending that is safe on every system
    path     as GDAL opens it, absolute
    bounds   (left, bottom, right, top) in `crs`; None where the collection does not say
    crs      of `bounds`, not always that of the raster
    date     when it was taken, None where the collection does not say
    problem  why it is not read: it is missing, or not on this machine
    """

    name: str
    path: str
    bounds: Bounds | None = None
    crs: CRS | None = None
    date: datetime | None = None
    problem: str | None = None


class Entry(NamedTuple):
    """What a source says of one member.

    text   its path as written; relative ones start at the folder of the file that says it
    label  what to call it, None: by its path
    """

    text: str
    bounds: Bounds | None = None
    date: datetime | None = None
    label: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a source says: its members in its order, bottom first.

    crs       of the entries' bounds
    settings  of a GDAL tile index: its own words for the mosaic's grid
    ordered   the order means something to the source; else its rows just lie in it
    """

    entries: Sequence[Entry]
    crs: CRS | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Sequence[Member]):
    """The members of a collection, in its order; a hundred thousand are a few arrays and lists.

    bounds    (N, 4), nan where they are not known
    stamps    (N, 2) size in bytes and time of change in nanoseconds of the files, 0 where missing
    problems  by index
    """

    names: Sequence[str]
    paths: Sequence[str]
    dates: Sequence[datetime | None]
    bounds: NDArray[np.float64]
    stamps: NDArray[np.int64]
    crs: CRS | None
    problems: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Member]: ...
    def __getitem__(self, index: int | slice) -> Member | Sequence[Member]:
        if isinstance(index, slice):
            return [self._member(i) for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._member(place)

    def __iter__(self) -> Iterator[Member]:
        return map(self._member, range(len(self)))

    def _member(self, index: int) -> Member:
        left, bottom, right, top = self.bounds[index].tolist()
        known = bool(np.isfinite(self.bounds[index]).all())
        return Member(
            name=self.names[index],
            path=self.paths[index],
            bounds=(left, bottom, right, top) if known else None,
            crs=self.crs if known else None,
            date=self.dates[index],
            problem=self.problems.get(index),
        )

    @property
    def all_dated(self) -> bool:
        """Whether every member says when it was taken."""
        return all(date is not None for date in self.dates)

    def first_problem(self) -> str | None:
        """What is wrong with the first member that cannot be read, and how many there are."""
        if not self.problems:
            return None
        index = min(self.problems)
        more = len(self.problems) - 1
        rest = f" (and {more} more like it)" if more else ""
        return f"{self.paths[index]}: {self.problems[index]}{rest}"
