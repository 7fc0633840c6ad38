"""Panoramas: the XMP namespace GPano, whole spheres and parts of one.

The pose is that of the panorama's middle: heading of the centre column, pitch upwards, roll as of a
camera turned clockwise. Ricoh's Theta writes headings from magnetic north there.

Source: Google, "Photo Sphere XMP metadata".
"""

from __future__ import annotations

from typing import Final

import numpy as np

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.stores.poses import exif
from attachtrans.stores.poses.photo_parts import Attitude, Carried, Optics
from attachtrans.stores.poses.xmp import real, reals

_NS: Final = "GPano:"
_CROP = (
    *("FullPanoWidthPixels", "FullPanoHeightPixels"),
    *("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels"),
    *("CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
)
_SPHERE: Final = "equirectangular"
_ROUNDING = 1e-6
_WHOLE = 0.02
"""How far from 2 : 1 the sides of a whole panorama may be."""


def is_panorama(carried: Carried) -> bool:
    """Whether the packet names a projection, known or not."""
    return bool(carried.xmp.get(f"{_NS}ProjectionType"))


def attitude(carried: Carried) -> Attitude | None:
    """The pose of the panorama's middle; its heading from EXIF where the pose has none."""
    heading, pitch, roll = (
        real(carried.xmp, f"{_NS}Pose{name}Degrees") for name in ("Heading", "Pitch", "Roll")
    )
    if not is_panorama(carried):
        return None
    given = pitch is not None and roll is not None
    notes: tuple[str, ...] = () if given else ("level panorama",)
    source, magnetic = "GPano XMP", _is_theta(carried)
    if heading is None:
        compass = exif.attitude(carried)
        if compass is None:
            return None
        heading, magnetic = compass.angles_deg[0], compass.magnetic
        source = f"{compass.source}, GPano XMP"
        others = (note for note in compass.assumed if note != "level camera")
        notes += ("EXIF direction is that of the panorama's middle", *others)
    return Attitude(
        convention="gpano",
        angles_deg=(heading, pitch or 0.0, roll or 0.0),
        magnetic=magnetic,
        source=source,
        assumed=notes,
    )


def _is_theta(carried: Carried) -> bool:
    make, model = (carried.exif.text(tag).upper() for tag in (exif.MAKE, exif.MODEL))
    return "RICOH" in f"{make} {model}" and "THETA" in model


def optics(carried: Carried) -> Optics | None:
    """The sphere, or the part of it that the image shows; None for what is no panorama."""
    if not is_panorama(carried):
        return None
    projection = carried.xmp[f"{_NS}ProjectionType"].lower()
    if projection != _SPHERE:
        return Optics(lens=None, source=f"GPano XMP ({projection[:40]} is not supported)")
    crop = reals(carried.xmp, *(_NS + name for name in _CROP))
    lens = None if crop is None else _cropped(carried, crop)
    if lens is not None:
        return Optics(lens=lens, source="GPano XMP (equirectangular)")
    width, height = carried.upright
    if abs(width / (2.0 * height) - 1.0) > _WHOLE:
        return Optics(lens=None, source="GPano XMP (without a cropped area that makes sense)")
    whole = PanoramaCamera(carried.upright, rotation=np.eye(3), position=np.zeros(3))
    return Optics(
        lens=whole, source="GPano XMP (equirectangular)", assumed=("panorama all around",)
    )


def _cropped(carried: Carried, crop: tuple[float, ...]) -> PanoramaCamera | None:
    """A part of a sphere. The image may have been resized: its area has the tagged size."""
    size = carried.upright
    full_size, area, offset = crop[0:2], crop[2:4], crop[4:6]
    if min(area) < 1.0 or max(crop) > 1e9:
        return None
    full = [part * side / wide for part, side, wide in zip(full_size, size, area, strict=True)]
    start = [part * side / wide for part, side, wide in zip(offset, size, area, strict=True)]
    for axis, side in enumerate(size):
        # A whole side stays whole in spite of rounding.
        if 0.0 < side - full[axis] < _ROUNDING:
            full[axis] = float(side)
        over = start[axis] + side - full[axis]
        if 0.0 < over < _ROUNDING:
            start[axis] = full[axis] - side
    try:
        return PanoramaCamera(
            size,
            rotation=np.eye(3),
            position=np.zeros(3),
            full_size_px=(full[0], full[1]),
            offset_px=(start[0], start[1]),
        )
    except ArgumentError:
        return None
