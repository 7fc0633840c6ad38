"""EXIF: what we read of it, and the few values that a translated photo needs changed.

Source: CIPA DC-008 (Exif 3.0); ImageHistory: ISO 12234-2 (TIFF/EP), tag 0x9213, which ExifTool and
exiv2 read in the main and in the Exif directory. Blocks are without the "Exif" that JPEG puts
before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from attachtrans.errors import ImageError
from attachtrans.image.ifd import ASCII, LONG, SHORT, Block, Field, Ifd, empty
from attachtrans.types import Size

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
ORIENTATION = 0x0112
IMAGE_HISTORY = 0x9213
MAKER_NOTE = 0x927C

_THUMBNAIL_AT, _THUMBNAIL_BYTES = 0x0201, 0x0202
_GPS_LATITUDE, _GPS_LONGITUDE, _GPS_IMAGE_DIRECTION = 2, 4, 17
_WIDTHS = {"main": (0x0100, 0x0101), "exif": (0xA002, 0xA003), "interop": (0x1001, 0x1002)}
_FOCAL_PLANE_RESOLUTION = (0xA20E, 0xA20F)
_SUBJECT_AREA, _SUBJECT_LOCATION = 0x9214, 0xA214
# Besides MakerNote: DNGPrivateData and PrintImageMatching, which hold makers' data as well.
PRIVATE = frozenset({MAKER_NOTE, 0xC634, 0xC4A5})
_DESCRIPTION, _MAKE, _MODEL, _ARTIST, _COPYRIGHT = 0x010E, 0x010F, 0x0110, 0x013B, 0x8298
_CHANGED, _TAKEN = 0x0132, 0x9003
_DATE_LETTERS = 19  # "2026:05:04 14:20:04", which TIFF insists on
_MARK = "attachtrans "


@dataclass(frozen=True, slots=True, kw_only=True)
class ExifFacts:
    """What the codec needs of a block.

    orientation is 1..8; heading_deg 0..360 clockwise from north; marks are the lines of
    ImageHistory that attachtrans wrote.
    """

    orientation: int = 1
    has_gps: bool = False
    heading_deg: float | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExifChange:
    """What happened to a photo, as far as its EXIF has to say it. Sizes are stored.

    thumbnail makes a new JPEG thumbnail from the old one's bytes, None to drop it.
    """

    before: Size
    after: Size
    history: str | None
    thumbnail: Callable[[bytes], bytes | None]
    anonymise: bool


def read_exif(data: bytes | None) -> ExifFacts:
    """Read a block. Raises ImageError when its structure is damaged."""
    if data is None:
        return ExifFacts()
    return facts_of(Block(data))


def told(data: bytes | None) -> dict[str, str]:
    """What a photo says of itself in words, by the names that GDAL has for it; {} if damaged.

    The date is that of exposure, else that of the file's last change.
    """
    try:
        block = Block(data) if data else empty()
        main = block.first()
    except ImageError:
        return {}
    taken = block.text(block.child(main, EXIF_IFD), _TAKEN) or block.text(main, _CHANGED)
    found = {"TIFFTAG_DATETIME": taken if len(taken) == _DATE_LETTERS else ""} | {
        name: block.text(main, tag)
        for name, tag in (
            ("TIFFTAG_IMAGEDESCRIPTION", _DESCRIPTION),
            ("TIFFTAG_ARTIST", _ARTIST),
            ("TIFFTAG_COPYRIGHT", _COPYRIGHT),
            ("EXIF_Make", _MAKE),
            ("EXIF_Model", _MODEL),
        )
    }
    plain = {n: "".join(filter(str.isprintable, text)).strip() for n, text in found.items()}
    return {name: text for name, text in plain.items() if text}


def facts_of(block: Block) -> ExifFacts:
    """`read_exif` of a parsed block or TIFF file."""
    main = block.first()
    orientation = (block.integers(main, ORIENTATION) or (1,))[0]
    gps = block.child(main, GPS_IFD)
    heading = (block.numbers(gps, _GPS_IMAGE_DIRECTION) or (None,))[0]
    return ExifFacts(
        orientation=orientation if 1 <= orientation <= 8 else 1,
        has_gps=gps is not None and {_GPS_LATITUDE, _GPS_LONGITUDE} <= gps.entries.keys(),
        heading_deg=float(heading) if heading is not None and 0 <= heading <= 360 else None,
        marks=tuple(line for line in _history(block).splitlines() if line.startswith(_MARK)),
    )


def _history(block: Block) -> str:
    ifd = _history_ifd(block)
    return block.text(ifd, IMAGE_HISTORY)


def _history_ifd(block: Block) -> Ifd:
    main = block.first()
    exif = block.child(main, EXIF_IFD)
    if exif is None or IMAGE_HISTORY in main.entries:
        return main
    return exif


def patch_exif(data: bytes | None, change: ExifChange, limit: int | None) -> bytes | None:
    """The block for a translated photo.

    Changed are pixel dimensions and what is measured in pixels, the thumbnail, and ImageHistory,
    which gets one more line; everything else keeps its bytes and its offset. When anonymising, the
    block is written anew, without thumbnail and MakerNote. Raises ImageError when the block is
    damaged or when it exceeds `limit` bytes even without a thumbnail.
    """
    if data is None and change.history is None:
        return None
    result = _patched(data, change, change.thumbnail)
    if limit is not None and len(result) > limit:
        result = _patched(data, change, lambda _: None)
    if limit is not None and len(result) > limit:
        message = (
            f"the EXIF block would take {len(result)} bytes, {limit} fit into the file; "
            "--format tiff or --format png has no such limit"
        )
        raise ImageError(message)
    return result


def _patched(
    data: bytes | None, change: ExifChange, thumbnail: Callable[[bytes], bytes | None]
) -> bytes:
    block = empty() if data is None else Block(data)
    if change.anonymise:
        block = compact(block, PRIVATE)
    scale_exif(block, change.before, change.after)
    _refresh_thumbnail(block, thumbnail)
    if change.history is not None:
        add_history(block, change.history)
    return bytes(block.data)


def scale_exif(block: Block, before: Size, after: Size) -> None:
    """Correct what is measured in pixels for a new stored size, in place."""
    if before == after:
        return
    main = block.first()
    exif = block.child(main, EXIF_IFD)
    _set_size(block, main, _WIDTHS["main"], after)
    if exif is None:
        return
    _set_size(block, exif, _WIDTHS["exif"], after)
    interop = block.child(exif, INTEROP_IFD)
    if interop is not None:
        _set_size(block, interop, _WIDTHS["interop"], after)
    factors = (Fraction(after.width, before.width), Fraction(after.height, before.height))
    for tag, factor in zip(_FOCAL_PLANE_RESOLUTION, factors, strict=True):
        values = block.numbers(exif, tag)
        if len(values) == 1 and isinstance(values[0], Fraction):
            block.set_rational(exif, tag, values[0] * factor)
    for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
        _scale_points(block, tag, factors)


def _set_size(block: Block, ifd: Ifd, tags: tuple[int, int], size: Size) -> None:
    for tag, value in zip(tags, size, strict=True):
        block.set_unsigned(ifd, tag, [value])


def _scale_points(block: Block, tag: int, factors: tuple[Fraction, Fraction]) -> None:
    # SubjectArea: x, y | x, y, diameter | x, y, width, height. SubjectLocation: x, y.
    ifd = block.child(block.first(), EXIF_IFD)
    old = block.integers(ifd, tag)
    if ifd is None or not 2 <= len(old) <= 4:
        return
    axes = (factors[0], factors[1], factors[0], factors[1])
    new = [round(value * factor) for value, factor in zip(old, axes, strict=False)]
    kind = SHORT if max(new) <= 0xFFFF else LONG
    if kind == ifd.entries[tag].kind:
        block.set_unsigned(ifd, tag, new)
    else:
        block.rewrite(ifd, put={tag: block.field(kind, new)})


def add_history(block: Block, line: str) -> None:
    """Append a line to ImageHistory: where there is one, else in the Exif or main directory."""
    ifd = _history_ifd(block)
    old = b""
    if IMAGE_HISTORY in ifd.entries:
        old = block.bytes_of(ifd.entries[IMAGE_HISTORY]).rstrip(b"\0")
    joint = b"\n" if old and not old.endswith(b"\n") else b""
    payload = old + joint + line.encode("ascii", "backslashreplace") + b"\0"
    field = Field(kind=ASCII, count=len(payload), payload=payload)
    block.rewrite(ifd, put={IMAGE_HISTORY: field})


def _refresh_thumbnail(block: Block, make: Callable[[bytes], bytes | None]) -> None:
    ifd = block.following(block.first())
    if ifd is None:
        return
    at = (block.integers(ifd, _THUMBNAIL_AT) or (0,))[0]
    nbytes = (block.integers(ifd, _THUMBNAIL_BYTES) or (0,))[0]
    room = range(at, at + nbytes) if at >= 8 and at + nbytes <= len(block.data) else range(0)
    new = make(bytes(block.data[room.start : room.stop])) if room else None
    if room and not _inside_maker_note(block, room):
        block.data[room.start : room.stop] = bytes(len(room))
    else:
        room = range(0)
    at_end = bool(room) and room.stop == len(block.data)
    if at_end:
        del block.data[room.start :]
    if new is None:
        block.point(ifd.link, ifd.next)
        block.data[ifd.at : ifd.at + ifd.nbytes] = bytes(ifd.nbytes)
        return
    if len(new) <= len(room) and not at_end:
        at = room.start
        block.data[at : at + len(new)] = new
    else:
        at = block.append(new)
    block.set_unsigned(ifd, _THUMBNAIL_AT, [at])
    block.set_unsigned(ifd, _THUMBNAIL_BYTES, [len(new)])


def drop_thumbnail(block: Block) -> None:
    """Take the thumbnail and its directory out of a block."""
    _refresh_thumbnail(block, lambda _: None)


def _inside_maker_note(block: Block, room: range) -> bool:
    exif = block.child(block.first(), EXIF_IFD)
    note = None if exif is None else exif.entries.get(MAKER_NOTE)
    return note is not None and note.at < room.stop and room.start < note.at + note.nbytes


def compact(block: Block, drop: frozenset[int]) -> Block:
    """A new block with the main, Exif, GPS and interoperability directories, without `drop`.

    Nothing else is carried: no thumbnail, no byte between the values. Offsets change, so that a
    MakerNote, if kept, may become unreadable.
    """
    target = empty(block.order)
    _copy(block, block.first(), target, target.first(), drop)
    return target


_POINTERS = frozenset({EXIF_IFD, GPS_IFD, INTEROP_IFD})


def _copy(
    source: Block,
    ifd: Ifd,
    target: Block,
    into: Ifd,
    drop: frozenset[int],
    pointers: frozenset[int] = _POINTERS,
) -> None:
    children = {tag: child for tag in pointers if (child := source.child(ifd, tag)) is not None}
    fields = {
        tag: Field(kind=entry.kind, count=entry.count, payload=source.bytes_of(entry))
        for tag, entry in ifd.entries.items()
        if tag not in drop and tag not in _POINTERS
    }
    fields |= {tag: target.field(LONG, [target.append(bytes(6))]) for tag in children}
    written = target.rewrite(into, put=fields)
    for tag, child in children.items():
        place = target.child(written, tag)
        if place is not None:
            # A pointer that leads back must not be followed for ever: EXIF has two levels.
            below = frozenset({INTEROP_IFD}) & (pointers - {tag})
            _copy(source, child, target, place, drop, below)
