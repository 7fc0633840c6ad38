"""The time of exposure as ISO 8601, from EXIF, GPS and XMP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from attachtrans.stores.poses.photo_parts import EXIF_IFD, GPS_IFD, Carried, Tag

# Date and time, offset from UTC, fraction of a second; of exposure, else of digitisation.
_TAKEN = (
    (Tag(EXIF_IFD, 0x9003), Tag(EXIF_IFD, 0x9011), Tag(EXIF_IFD, 0x9291)),
    (Tag(EXIF_IFD, 0x9004), Tag(EXIF_IFD, 0x9012), Tag(EXIF_IFD, 0x9292)),
)
_GPS_TIME, _GPS_DATE = Tag(GPS_IFD, 7), Tag(GPS_IFD, 29)
_STAMP = re.compile(
    r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"
)
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def exposure_time(carried: Carried) -> str | None:
    """ISO 8601, with its offset from UTC where that is known; None without a time.

    The camera's clock counts where it says its time zone. Else GPS time, which is UTC, goes
    before a clock of unknown zone.
    """
    utc = _stamp(carried.xmp.get("drone-dji:UTCAtExposure", ""), "Z")
    if utc is not None:
        return utc
    clocks = [_clock(carried, *tags) for tags in _TAKEN]
    mirrored = [
        _stamp(carried.xmp.get(name, ""), "")
        for name in ("exif:DateTimeOriginal", "xmp:CreateDate")
    ]
    local = [stamp for stamp in (*clocks, *mirrored) if stamp is not None]
    zoned = [stamp for stamp in local if stamp[-6] in "+-" or stamp.endswith("Z")]
    gps = _gps_time(carried)
    return next(iter([*zoned, *([] if gps is None else [gps]), *local]), None)


def _clock(carried: Carried, time: Tag, offset: Tag, fraction: Tag) -> str | None:
    zone, part = carried.exif.text(offset), carried.exif.text(fraction)
    stamp = carried.exif.text(time)
    if part.isascii() and part.isdigit() and "." not in stamp:
        stamp = f"{stamp}.{part[:9]}"
    return _stamp(stamp, zone if _OFFSET.fullmatch(zone) else "")


def _stamp(text: str, zone: str) -> str | None:
    """Text in EXIF's or ISO's form as ISO 8601; `zone` where it has none of its own."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    *whole, fraction, own = match.groups()
    zone = own or zone
    if len(zone) == 5:
        zone = f"{zone[:3]}:{zone[3:]}"
    stamp = "-".join(whole[:3]) + "T" + ":".join(whole[3:]) + (f".{fraction}" if fraction else "")
    try:
        datetime.fromisoformat(stamp + zone)
    except ValueError:
        return None
    return stamp + zone


def _gps_time(carried: Carried) -> str | None:
    date, time = carried.exif.text(_GPS_DATE), carried.exif.numbers(_GPS_TIME)
    if len(time) != 3 or not all(0.0 <= part < 86_400.0 for part in time):
        return None
    midnight = _stamp(f"{date} 00:00:00", "")
    if midnight is None:
        return None
    seconds = time[0] * 3600.0 + time[1] * 60.0 + time[2]
    try:
        moment = datetime.fromisoformat(midnight).replace(tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")
