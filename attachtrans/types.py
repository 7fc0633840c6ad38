"""Values that travel between the rooms: no I/O and no behaviour beyond small derivations.

Arrays are (bands, height, width). Pixel coordinates are (col, row); (0, 0) is the outer corner of
the first pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height of an image, in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels; (col, row) is its first pixel."""

    col: int
    row: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, cols), for indexing the last two axes of an array."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)


class FeatureRef(NamedTuple):
    """A feature by its layer's table name and its primary key."""

    layer: str
    fid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One attachment of a source, image or not, before anything of its content is read.

    key         stable and unique within the source, e.g. "trees__ATTACH/12", "DCIM/4.jpg"
    name        file name to show and to store; need not be unique
    media_type  as declared by the source ("" when it says nothing); content decides, not this
    nbytes      length of the encoded content, None when unknown
    features    the features it hangs on; none = orphan, several = shared
    """

    key: str
    name: str
    media_type: str
    nbytes: int | None
    features: tuple[FeatureRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a photo lies on the map.

    geometry    polygon or multipolygon as well-known binary (ISO), in the output's CRS; None where
                it has no place, and `problem` says why
    attributes  what is known of it, by column name
    rectified   the result lies on the map's grid: it is an ortho, no longer the photo
    """

    geometry: bytes | None
    attributes: Mapping[str, str | float | int | None] = field(default_factory=dict)
    problem: str = ""
    rectified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A translated photo, encoded and ready to be committed.

    digests are SHA-256 in hex: of the content that was read, and of `data`. `extension` has its
    dot; `reformatted` says that the file format differs from the photo's own. `placement` is None
    where nobody asked for it.
    """

    item: Item
    data: bytes
    media_type: str
    extension: str
    reformatted: bool
    size_in: Size
    size_out: Size
    digest_in: str
    digest_out: str
    placement: Placement | None = None
