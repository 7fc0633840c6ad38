"""The structure of JPEG files: segments in, segments out, nothing decoded.

Sources: ITU-T T.81 annex B; JFIF 1.02; CIPA DC-008 (Exif), DC-007 (multi-picture format);
ICC.1 annex B.4; Adobe XMP part 3; Adobe Technical Note 5116 (APP14).
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from attachtrans.errors import ImageError
from attachtrans.image.base import Metadata, Untouchable
from attachtrans.image.ifd import Block
from attachtrans.types import Size

APP0, APP1, APP2, APP13, APP14, COM = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE
_EOI, _SOS, _DQT, _DHT = 0xD9, 0xDA, 0xDB, 0xC4
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})

EXIF_HEAD = b"Exif\0\0"
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
ICC_HEAD = b"ICC_PROFILE\0"
IPTC_HEAD = b"Photoshop 3.0\0"
MPF_HEAD = b"MPF\0"
GAIN_MAP_HEAD = b"urn:iso:std:iso:ts:21496:-1\0"

MAX_PAYLOAD = 65_533
EXIF_LIMIT = MAX_PAYLOAD - len(EXIF_HEAD)

# Anything in entropy-coded data that is a marker: not a stuffed byte, a restart or a fill byte.
_NEXT_MARKER = re.compile(rb"\xff(?![\x00\xff\xd0-\xd7])")
# What may follow the end of the image without meaning anything.
_FILL = bytes((0x00, 0xFF, 0x0A, 0x0D, 0x20))


class Segment(NamedTuple):
    """A marker segment; payload is without marker and length."""

    marker: int
    payload: bytes

    @property
    def kind(self) -> str:
        """One of the keys of `_KINDS`, "" for others."""
        for kind, (marker, head) in _KINDS.items():
            if self.marker == marker and self.payload.startswith(head):
                return kind
        return ""

    @property
    def encoded(self) -> bytes:
        """The segment as it lies in a file."""
        length = len(self.payload) + 2
        return bytes((0xFF, self.marker)) + length.to_bytes(2, "big") + self.payload


_KINDS: dict[str, tuple[int, bytes]] = {
    "exif": (APP1, EXIF_HEAD),
    "xmp": (APP1, XMP_HEAD),
    "extended-xmp": (APP1, EXTENDED_XMP_HEAD),
    "icc": (APP2, ICC_HEAD),
    "iptc": (APP13, IPTC_HEAD),
    "mpf": (APP2, MPF_HEAD),
    "gain-map": (APP2, GAIN_MAP_HEAD),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The frame header (SOF): size stored; sampling (h, v) and table number per component."""

    marker: int
    precision: int
    size: Size
    sampling: tuple[tuple[int, int], ...]
    tables: tuple[int, ...]
    component_ids: tuple[int, ...]

    @property
    def progressive(self) -> bool:
        """Whether the picture comes in several scans of growing quality."""
        return self.marker in {0xC2, 0xCA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All before the first scan.

    segments are APPn and COM in their order; quantisation holds 64 values per table number, in
    natural order; end is where the first scan's header begins.
    """

    segments: tuple[Segment, ...]
    quantisation: dict[int, tuple[int, ...]]
    frame: Frame
    end: int

    @property
    def adobe_transform(self) -> int | None:
        """0 = RGB or CMYK, 1 = YCbCr, 2 = YCCK; None without Adobe's marker."""
        for segment in self.segments:
            if segment.marker == APP14 and segment.payload.startswith(b"Adobe"):
                return segment.payload[11] if len(segment.payload) > 11 else None
        return None


def read_header(data: bytes) -> Header:
    """Parse up to the first scan. Raises ImageError when the file is cut off before."""
    segments: list[Segment] = []
    quantisation: dict[int, tuple[int, ...]] = {}
    frame: Frame | None = None
    for segment, at in _segments(data):
        if segment.marker == _SOS:
            if frame is None:
                raise ImageError("the JPEG has no frame header (SOF) before its first scan")
            return Header(segments=tuple(segments), quantisation=quantisation, frame=frame, end=at)
        if APP0 <= segment.marker <= 0xEF or segment.marker == COM:
            segments.append(segment)
        elif segment.marker == _DQT:
            quantisation.update(_tables(segment.payload))
        elif segment.marker in _FRAMES:
            frame = _frame(segment)
    raise ImageError("the JPEG is truncated: it ends before its first scan")


def read_partial(data: bytes) -> tuple[tuple[Segment, ...], Frame | None]:
    """The segments and the frame header as far as the data go; for looking at a file's start."""
    segments: list[Segment] = []
    try:
        for segment, _ in _segments(data):
            if segment.marker in _FRAMES:
                return tuple(segments), _frame(segment)
            segments.append(segment)
    except ImageError:
        return tuple(segments), None
    return tuple(segments), None


def _segments(data: bytes) -> Iterator[tuple[Segment, int]]:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ImageError(f"the JPEG is damaged: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker == _EOI:
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            raise ImageError(f"the JPEG is truncated: its segment at byte {at} is cut off")
        yield Segment(marker, data[at + 4 : at + 2 + length]), at
        at += 2 + length


def _frame(segment: Segment) -> Frame:
    body = segment.payload
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise ImageError("the JPEG is damaged: its frame header is too short")
    parts = [body[6 + 3 * number : 9 + 3 * number] for number in range(body[5])]
    return Frame(
        marker=segment.marker,
        precision=body[0],
        size=Size(int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")),
        sampling=tuple((part[1] >> 4, part[1] & 15) for part in parts),
        tables=tuple(part[2] for part in parts),
        component_ids=tuple(part[0] for part in parts),
    )


def _zigzag() -> tuple[int, ...]:
    # Natural index (8 row + column) of each place along the zigzag of T.81, figure A.6.
    def along(cell: tuple[int, int]) -> tuple[int, int]:
        row, column = cell
        diagonal = row + column
        return diagonal, row if diagonal % 2 else column

    cells = [(row, column) for row in range(8) for column in range(8)]
    return tuple(8 * row + column for row, column in sorted(cells, key=along))


_NATURAL = _zigzag()


def _tables(payload: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    at = 0
    while at < len(payload):
        wide, number = payload[at] >> 4, payload[at] & 15
        step = 2 if wide else 1
        body = payload[at + 1 : at + 1 + 64 * step]
        if len(body) < 64 * step:
            raise ImageError("the JPEG is damaged: a quantisation table is too short")
        table = [0] * 64
        for place, natural in enumerate(_NATURAL):
            table[natural] = int.from_bytes(body[place * step : (place + 1) * step], "big")
        yield number, tuple(table)
        at += 1 + 64 * step


def shared_tables(streams: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Take the tables out of streams that all have the same ones (TIFF Technical Note 2).

    Returns a stream of nothing but tables, and the streams without them; (b"", streams) when their
    tables differ.
    """
    split = [_without_tables(stream) for stream in streams]
    tables = {found for found, _ in split}
    if len(tables) != 1:
        return b"", streams
    return b"\xff\xd8" + tables.pop() + b"\xff\xd9", [rest for _, rest in split]


def _without_tables(stream: bytes) -> tuple[bytes, bytes]:
    tables, rest = b"", stream[:2]
    for segment, at in _segments(stream):
        if segment.marker == _SOS:
            return tables, rest + stream[at:]
        if segment.marker in {_DQT, _DHT}:
            tables += segment.encoded
        else:
            rest += segment.encoded
    raise ImageError("the JPEG is truncated: it ends before its first scan")


# Luminance table of T.81, annex K, in natural order: its sum grows steadily as quality falls.
_ANNEX_K = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


def quality_of(stream: bytes) -> int | None:
    """The quality, 1..100 on libjpeg's scale, whose luminance table is nearest to a stream's."""
    head = itertools.takewhile(lambda found: found[0].marker != _SOS, _segments(stream))
    bodies = [segment.payload for segment, _ in head if segment.marker == _DQT]
    tables = dict(table for body in bodies for table in _tables(body))
    if 0 not in tables:
        return None
    target, sums = sum(tables[0]), _luminance_sums()
    return min(sums, key=lambda quality: abs(sums[quality] - target))


@lru_cache(maxsize=1)
def _luminance_sums() -> Mapping[int, int]:
    """Quality -> sum of its luminance table."""

    def scaled(value: int, quality: int) -> int:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        return min(255, max(1, (value * scale + 50) // 100))

    return {q: sum(scaled(value, q) for value in _ANNEX_K) for q in range(1, 101)}


def metadata_of(segments: tuple[Segment, ...]) -> Metadata:
    """Join the blocks that travel; EXIF and ICC may be spread over several segments."""
    parts: dict[str, list[bytes]] = {}
    for segment in segments:
        kind = segment.kind
        if kind:
            parts.setdefault(kind, []).append(segment.payload[len(_KINDS[kind][1]) :])
    exif = parts.get("exif", [])
    # A second block with a header of its own is not a continuation; the first one counts.
    continued = [part for part in exif[1:] if part[:4] not in {b"II*\0", b"MM\0*"}]
    # Number (1...) and count of its chunks precede each part of a profile.
    icc = sorted(parts.get("icc", []), key=lambda part: part[:1])
    return Metadata(
        exif=b"".join(exif[:1] + continued) or None,
        xmp=b"".join(parts.get("xmp", [])[:1]) or None,
        icc=b"".join(part[2:] for part in icc) or None,
        iptc=b"".join(parts.get("iptc", [])) or None,
    )


def find_end(data: bytes, header: Header) -> int:
    """The offset behind the image's EOI marker. Raises ImageError when there is none."""
    at = header.end
    components = len(header.frame.sampling)
    while True:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        in_scan = data[at + 4] if at + 4 < len(data) else 0
        if data[at + 1] == _SOS and in_scan == components and not header.frame.progressive:
            # The only scan: EOI cannot occur in its data, and this search is many times faster.
            end = data.find(b"\xff\xd9", at + 2 + length)
            at = end
        elif data[at + 1] == _SOS:
            match = _NEXT_MARKER.search(data, at + 2 + length)
            at = match.start() if match else -1
        else:
            at += 2 + length
        if at < 0 or at + 2 > len(data):
            raise ImageError("the JPEG is truncated: its end (EOI) is missing")
        while data[at + 1 : at + 2] == b"\xff":
            at += 1
        if data[at] != 0xFF or at + 2 > len(data):
            raise ImageError(f"the JPEG is damaged: no marker at byte {at}")
        if data[at + 1] == _EOI:
            return at + 2


def check_ending(data: bytes, end: int, header: Header) -> bytes:
    """Look at what follows the image; returns a trailer that has to be carried along.

    Fill bytes and previews that the multi-picture index calls large thumbnails mean nothing for a
    translated photo. Samsung's trailer of small facts (SEF) is carried. All else raises
    Untouchable, since it would be lost.
    """
    at = end
    for preview in sorted(_previews(data, header), key=lambda part: part.start):
        if preview.stop > at:
            _check_fill(data[at : max(at, preview.start)])
            at = preview.stop
    rest = data[at:]
    if _is_samsung_facts(rest):
        return rest
    _check_fill(rest)
    return b""


def _check_fill(rest: bytes) -> None:
    if not rest.strip(_FILL):
        return
    if b"ftyp" in rest or b"MotionPhoto_Data" in rest:
        raise Untouchable("a motion photo: its video would be lost")
    if b"\xff\xd8\xff" in rest:
        raise Untouchable(
            "several pictures in one file (MPO or a depth map): the others would be lost"
        )
    raise Untouchable(f"{len(rest)} bytes of unknown data follow the picture and would be lost")


def _is_samsung_facts(rest: bytes) -> bool:
    pictures = (b"ftyp", b"\xff\xd8\xff", b"MotionPhoto")
    return rest.rstrip(_FILL).endswith(b"SEFT") and not any(mark in rest for mark in pictures)


_MP_ENTRIES, _MP_ENTRY_BYTES = 0xB002, 16
_LARGE_THUMBNAILS = range(0x010001, 0x010006)


def mp_previews(segments: tuple[Segment, ...]) -> list[range]:
    """Where the multi-picture index places previews, relative to the index's TIFF header.

    Cameras store large thumbnails of the photo this way. Any other further picture (another eye,
    another exposure, a gain map) raises Untouchable.
    """
    index = next((segment for segment in segments if segment.kind == "mpf"), None)
    if index is None:
        return []
    block = Block(index.payload[len(MPF_HEAD) :])
    entry = block.first().entries.get(_MP_ENTRIES)
    body = b"" if entry is None else block.bytes_of(entry)
    ranges: list[range] = []
    for start in range(_MP_ENTRY_BYTES, len(body) - _MP_ENTRY_BYTES + 1, _MP_ENTRY_BYTES):
        kind, nbytes, at = struct.unpack_from(block.order + "3I", body, start)
        if kind & 0xFFFFFF not in _LARGE_THUMBNAILS:
            raise Untouchable("several pictures in one file (MPO): the others would be lost")
        ranges.append(range(at, at + nbytes))
    return ranges


def _previews(data: bytes, header: Header) -> list[range]:
    relative = mp_previews(header.segments)
    if not relative:
        return []
    index = next(segment for segment in header.segments if segment.kind == "mpf")
    base = data.index(index.encoded) + 4 + len(MPF_HEAD)
    return [range(base + part.start, base + part.stop) for part in relative]
