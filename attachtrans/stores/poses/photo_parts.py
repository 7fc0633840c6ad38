"""What the readers of a photo's own tags start from, and the parts of a pose that they find.

Each carrier (EXIF, DJI, Pix4D, GPano, Open Camera) knows some of position, attitude and lens. A
part says where it is from and what was assumed; `photo` puts the best of them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.geo.camera import Camera, PerspectiveCamera
from attachtrans.geo.camera.lens import LensCamera
from attachtrans.image.ifd import Block, Ifd
from attachtrans.types import Size

L = TypeVar("L", bound=LensCamera[Any])

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
ORIENTATION = 0x0112
_QUARTERS = {1: 0, 6: 1, 3: 2, 8: 3}
"""EXIF Orientation -> quarter turns, clockwise, that make the stored picture upright."""
_FOCAL_RANGE = (0.1, 100.0)
"""Of the longer side: 157 to 0.6 degrees. Anything else is no focal length."""


class Tag(NamedTuple):
    """A tag and the pointer to its directory, 0 for the main one."""

    directory: int
    number: int


class ExifTags:
    """Reads tags of an EXIF block by directory; a missing or damaged one has none."""

    __slots__ = ("_block", "_directories")

    def __init__(self, block: Block | None) -> None:
        self._block = block
        self._directories: dict[int, Ifd | None] = {}
        if block is None:
            return
        try:
            main = block.first()
        except ImageError:
            return
        self._directories = {0: main}
        for pointer in (EXIF_IFD, GPS_IFD):
            self._directories[pointer] = block.child(main, pointer)

    def numbers(self, tag: Tag) -> tuple[float, ...]:
        """Finite values, () without any."""
        if self._block is None:
            return ()
        values = self._block.numbers(self._directories.get(tag.directory), tag.number)
        return tuple(float(value) for value in values if math.isfinite(value))

    def number(self, tag: Tag) -> float | None:
        """The first value."""
        return (self.numbers(tag) or (None,))[0]

    def text(self, tag: Tag) -> str:
        """A text without spaces around it; "" without one."""
        if self._block is None:
            return ""
        return self._block.text(self._directories.get(tag.directory), tag.number).strip()

    def raw(self, tag: Tag) -> bytes:
        """The encoded value; b"" without one."""
        directory = self._directories.get(tag.directory)
        if self._block is None or directory is None or tag.number not in directory.entries:
            return b""
        return self._block.bytes_of(directory.entries[tag.number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a photo carries.

    size         stored
    orientation  EXIF, 1..8: how the file stores the picture
    """

    size: Size
    orientation: int
    exif: ExifTags
    xmp: Mapping[str, str]

    @property
    def upright(self) -> Size:
        """The size of the picture as it is looked at."""
        return self.size if self.orientation < 5 else Size(self.size.height, self.size.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position: degrees of `crs`, metres; standard deviations in metres.

    rough  the height is a receiver's own, without correction data
    """

    longitude: float
    latitude: float
    z_m: float | None
    crs: CRS
    rough: bool = True
    xy_sd_m: float | None = None
    z_sd_m: float | None = None
    source: str
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attitude:
    """Three angles of a convention of `geo.rotation`, the first of them a heading or yaw.

    magnetic  the first angle counts from magnetic north
    sd_deg    standard deviations of heading, pitch and roll
    """

    convention: str
    angles_deg: tuple[float, float, float]
    magnetic: bool = False
    sd_deg: tuple[float | None, float | None, float | None] = (None, None, None)
    source: str
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """The camera's inside, of the upright picture; None where the source names one that is none."""

    lens: Camera | None
    source: str
    assumed: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def epsg(code: int) -> CRS:
    """A CRS of the EPSG registry."""
    return CRS.from_epsg(code)


def central_lens(size: Size, focal_px: tuple[float, float]) -> PerspectiveCamera | None:
    """A pinhole that looks through the picture's middle; None for what is no focal length."""
    return perspective_lens(size, focal_px, (0.5 * (size.width - 1), 0.5 * (size.height - 1)))


def perspective_lens(
    size: Size,
    focal_px: tuple[float, float],
    centre_px: tuple[float, float],
    distortion: tuple[float, ...] = (),
) -> PerspectiveCamera | None:
    """A lens at the origin; None for numbers that no lens has."""
    least, most = (factor * max(size) for factor in _FOCAL_RANGE)
    middle = np.array(size) / 2.0
    if not least <= min(focal_px) <= max(focal_px) <= most:
        return None
    if np.any(np.abs(np.array(centre_px) - middle) > middle):
        return None
    try:
        return PerspectiveCamera(
            size,
            focal_px=focal_px,
            centre_px=centre_px,
            distortion=distortion,
            rotation=np.eye(3),
            position=np.zeros(3),
        )
    except ArgumentError:
        return None


def looked_at(lens: L, orientation: int) -> L | None:
    """A lens that was calibrated on stored pixels, for the upright picture.

    None for mirrored pictures, which no camera stores. Distortion is to be given as OpenCV's
    coefficients, or radial.
    """
    if orientation not in _QUARTERS:
        return None
    for _ in range(_QUARTERS[orientation]):
        lens = _turned_clockwise(lens)
    return lens


def _turned_clockwise(lens: L) -> L:
    # Stored (x, y) is looked at as (-y, x): columns run along the rows, from the last one back.
    (fx, fy), (sx, sy), (cx, cy) = lens.focal_px, lens.shear_px, lens.centre_px
    distortion = lens.distortion
    if isinstance(distortion, tuple) and len(distortion) >= 4:
        k1, k2, p1, p2, *others = distortion
        distortion = (k1, k2, p2, -p1, *others)
    return replace(
        lens,
        size=Size(lens.size.height, lens.size.width),
        focal_px=(fy, fx),
        shear_px=(-sy, -sx),
        centre_px=(lens.size.height - 1 - cy, cx),
        distortion=distortion,
    )
