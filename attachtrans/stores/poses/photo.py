"""The pose that a photo's own bytes carry: the best of its EXIF and XMP.

Attitude: of the gimbal or the camera (DJI, Parrot, Pix4D), of a panorama, of Open Camera, else the
compass with a level camera. Position: DJI's XMP, which has more decimals and RTK, else EXIF. Lens:
a calibration, else a focal length, else what most phones have. `Pose.source` names them in this
order: position, attitude, lens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from attachtrans.geo.pose import Accuracy, Pose
from attachtrans.geo.rotation import Floats, pose_matrix
from attachtrans.image import read_head
from attachtrans.stores.poses import dji, exif, gpano, magnetic, opencamera, pix4d
from attachtrans.stores.poses.exif_time import exposure_time
from attachtrans.stores.poses.photo_parts import (
    ORIENTATION,
    Attitude,
    Carried,
    ExifTags,
    Place,
    Tag,
)
from attachtrans.stores.poses.xmp import read_xmp
from attachtrans.types import Size

P = TypeVar("P")

# Order is order of trust.
_ATTITUDES = (
    dji.attitude,
    pix4d.attitude,
    gpano.attitude,
    opencamera.attitude,
    exif.attitude,
)
_OPTICS = (gpano.optics, dji.optics, pix4d.optics, exif.optics)


def photo_pose(data: bytes, *, name: str = "", assume_lens: bool = True) -> Pose | None:
    """The pose that a photo carries, as far as it goes.

    The lens is that of the picture as it is looked at, `orientation` leads to the stored one. A
    heading from magnetic north is corrected with the extra attachtrans[magnetic], else `assumed`
    says that it is not.

    Args:
        data: the file: JPEG, TIFF, PNG, WebP, HEIC.
        name: of the photo, for the pose.
        assume_lens: take `usual_lens` where the photo says nothing of its lens. Not so where other
            sources follow that may know it.

    Returns:
        None for what is no photo and for photos that say nothing of position, attitude or lens.

    Raises:
        ImageError: the file is damaged before its tags end.
    """
    head = read_head(data)
    if head.size is None:
        return None
    tags = ExifTags(head.exif)
    turned = tags.number(Tag(0, ORIENTATION)) or 1.0
    carried = Carried(
        size=head.size,
        orientation=int(turned) if turned in range(1, 9) else 1,
        exif=tags,
        xmp=read_xmp(head.xmp),
    )
    pose = _pose(carried, name)
    if pose is None or pose.lens is not None or not assume_lens or gpano.is_panorama(carried):
        return pose
    usual = usual_lens(carried.size, carried.orientation)
    return replace(pose, lens=usual.lens).assuming(*usual.assumed)


def usual_lens(size: Size, orientation: int) -> Pose:
    """A pose of nothing but the lens that most phones have, for the end of a `merge`.

    Args:
        size: of the photo as it is stored.
        orientation: EXIF, 1 to 8.
    """
    bare = Carried(size=size, orientation=orientation, exif=ExifTags(None), xmp={})
    optics = exif.assumed_optics(bare.upright)
    return Pose(lens=optics.lens, orientation=orientation, assumed=optics.assumed)


def _pose(carried: Carried, name: str) -> Pose | None:
    place = _place(carried)
    attitude = _first(_ATTITUDES, carried)
    optics = _first(_OPTICS, carried)
    found = [part.source for part in (place, attitude, optics) if part is not None]
    if not found:
        return None
    time, above = exposure_time(carried), dji.above_take_off_m(carried)
    rotation, direction = (None, ()) if attitude is None else _rotation(attitude, place, time)
    pose = Pose(
        name=name,
        xyz=None if place is None else (place.longitude, place.latitude, place.z_m),
        crs=None if place is None else place.crs,
        rotation=rotation,
        lens=None if optics is None else optics.lens,
        orientation=carried.orientation,
        above_ground_m=above,
        rough_height=place is not None and place.z_m is not None and place.rough,
        accuracy=_accuracy(place, attitude),
        time=time,
        source=", ".join(dict.fromkeys(found)),
    )
    if above is not None:
        pose = pose.assuming(dji.ABOVE_TAKE_OFF)
    parts = (part.assumed for part in (place, attitude, optics) if part is not None)
    return pose.assuming(*(note for notes in parts for note in notes), *direction)


def _first(readers: Sequence[Callable[[Carried], P | None]], carried: Carried) -> P | None:
    return next((part for read in readers if (part := read(carried)) is not None), None)


def _place(carried: Carried) -> Place | None:
    place = exif.place(carried)
    return dji.place(carried, None if place is None else pix4d.described(place, carried))


def _rotation(
    attitude: Attitude, place: Place | None, time: str | None
) -> tuple[Floats, tuple[str, ...]]:
    """(3, 3) from camera axes to east, north, up; and what became of magnetic north."""
    heading, *others = attitude.angles_deg
    note: tuple[str, ...] = ()
    if attitude.magnetic:
        declination = None
        if place is not None and time is not None:
            declination = magnetic.declination_deg(
                place.longitude, place.latitude, place.z_m or 0.0, time
            )
        heading += declination or 0.0
        note = (
            ("magnetic north uncorrected",)
            if declination is None
            else (f"declination of the compass: {declination:+.2f} degrees (WMM)",)
        )
    return pose_matrix(attitude.convention, (heading, *others)), note


def _accuracy(place: Place | None, attitude: Attitude | None) -> Accuracy:
    heading, pitch, roll = (None, None, None) if attitude is None else attitude.sd_deg
    return Accuracy(
        xy_m=None if place is None else place.xy_sd_m,
        z_m=None if place is None else place.z_sd_m,
        heading_deg=heading,
        pitch_deg=pitch,
        roll_deg=roll,
    )
