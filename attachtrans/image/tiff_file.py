"""The structure of TIFF files: what a file is made of, and new samples put into an old file.

Sources: TIFF 6.0; TIFF Technical Notes 1 and 2. A file is edited like an EXIF block: new samples
take the place of the old ones or go to the end; all that is not about samples stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from attachtrans.errors import ImageError
from attachtrans.image.geotiff import GEO_TAGS
from attachtrans.image.ifd import UNDEFINED, Block, Field, Ifd
from attachtrans.image.jpeg_file import shared_tables
from attachtrans.types import Size

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR = 277, 278, 284, 317
TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 322, 323, 338, 339, 347
XMP, IPTC, RESOURCES, ICC = 700, 33723, 34377, 34675

_SUBFILE_TYPE, _SUB_IFDS = 254, 330
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, byte counts
_DNG_VERSION, _LAYERS = 50706, 37724
_JPEG = 7
_CFA, _LINEAR_RAW = 32803, 34892

# What describes the samples and their coding: taken from the new samples, not from the old file.
CODING = frozenset(
    {
        *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR),
        *(PREDICTOR, TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES),
        *(*_STRIPS, *_TILES, _SUB_IFDS),
        266,  # FillOrder
        *(290, 291, 292, 293, 301, 320),  # response curves, fax options, transfer function, palette
        *range(512, 522),  # old-style JPEG
        *(529, 530, 531, 532),  # YCbCr
        *(280, 281, 340, 341),  # smallest and largest sample
    }
)
# What a block of metadata for another format leaves out, besides.
NOT_EXIF = CODING | {XMP, IPTC, RESOURCES, ICC, _SUBFILE_TYPE, _LAYERS}
NOT_EXIF |= GEO_TAGS


def special(block: Block) -> str | None:
    """Why a file is not re-encoded, None when it may be; coding is not looked at."""
    main = block.first()
    others = list(_other_pages(block))
    for ifd in (main, *others):
        photometric = block.integers(ifd, PHOTOMETRIC)
        if _DNG_VERSION in ifd.entries or photometric in {(_CFA,), (_LINEAR_RAW,)}:
            return "camera raw (DNG, NEF, ARW...): develop it first"
    if _LAYERS in main.entries:
        return "a TIFF with Photoshop layers, which would be lost"
    if any(_kind_of(block, ifd) & 4 for ifd in others):
        return "a TIFF with a mask page, which would be lost"
    if any(not _kind_of(block, ifd) & 1 for ifd in others):
        return "a TIFF of several pages: the others would be lost"
    return None


def _kind_of(block: Block, ifd: Ifd) -> int:
    """NewSubfileType: bit 0 = a smaller copy, bit 2 = a mask."""
    return (block.integers(ifd, _SUBFILE_TYPE) or (0,))[0]


def _other_pages(block: Block) -> Iterator[Ifd]:
    """The pages after the first one, and the sub-pages of the first one."""
    seen: set[int] = set()
    page: Ifd | None = block.first()
    entry = block.first().entries.get(_SUB_IFDS)
    if entry is not None:
        step = entry.nbytes // entry.count
        for link in range(entry.at, entry.at + entry.nbytes, step):
            yield block.directory(link)
    while page is not None and page.at not in seen:
        seen.add(page.at)
        page = block.following(page)
        if page is not None:
            yield page


def segments(block: Block, ifd: Ifd) -> list[range]:
    """The byte ranges of a page's strips or tiles; missing ones (0, 0) are left out.

    Raises ImageError when one lies beyond the end of the file.
    """
    offsets, counts = _TILES if _TILES[0] in ifd.entries else _STRIPS
    starts, lengths = block.integers(ifd, offsets), block.integers(ifd, counts)
    if not starts or len(starts) != len(lengths):
        raise ImageError("the TIFF is damaged: offsets and lengths of its strips do not match")
    ranges = [range(at, at + n) for at, n in zip(starts, lengths, strict=True) if n]
    end = max((part.stop for part in ranges), default=0)
    if end > len(block.data):
        message = f"the TIFF is truncated: its pixels end at byte {end}, the file at "
        raise ImageError(message + str(len(block.data)))
    return ranges


def free_ranges(block: Block) -> list[range]:
    """What the samples of all pages take, and the other pages' directories, in order."""
    taken = segments(block, block.first())
    for page in _other_pages(block):
        taken += segments(block, page)
        taken.append(range(page.at, page.at + page.nbytes))
    merged: list[range] = []
    for part in sorted(taken, key=lambda part: part.start):
        if merged and part.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, part.stop))
        else:
            merged.append(part)
    return merged


def assemble(
    base: Block, free: list[range], coded: Block, put: dict[int, Field], gone: set[int]
) -> bytes:
    """Put the samples of the file `coded` into `base`, and make them its first and only page.

    `free` are the ranges of `base` that may be written over. `put` are other fields to set, `gone`
    those to leave out. Both files have the same byte order and offset width. Raises ImageError
    beyond 4 GiB (not BigTIFF).
    """
    page = coded.first()
    for part in free:
        base.data[part.start : part.stop] = bytes(len(part))
    if free and free[-1].stop == len(base.data):
        del base.data[free[-1].start :]
        free = free[:-1]
    places = [part.start for part in free]
    bodies = [bytes(coded.data[part.start : part.stop]) for part in segments(coded, page)]
    tables = b""
    if coded.integers(page, COMPRESSION) == (_JPEG,):
        tables, bodies = shared_tables(bodies)
    offsets = [_place(base, body, free, places) for body in bodies]
    fields = {
        tag: Field(kind=entry.kind, count=entry.count, payload=coded.bytes_of(entry))
        for tag, entry in page.entries.items()
        if tag in CODING
    }
    where = _TILES if _TILES[0] in fields else _STRIPS
    fields[where[0]] = base.offsets(offsets)
    fields[where[1]] = base.offsets([len(body) for body in bodies])
    if tables:
        fields[JPEG_TABLES] = Field(kind=UNDEFINED, count=len(tables), payload=tables)
    # PlanarConfiguration is optional for one sample and means nothing then: it may stay.
    drop = (CODING - fields.keys() - {PLANAR}) | gone
    main = base.rewrite(base.first(), put=fields | put, drop=drop)
    base.point(main.at + main.nbytes - (8 if base.big else 4), 0)
    return bytes(base.data)


def _place(base: Block, body: bytes, free: list[range], places: list[int]) -> int:
    for number, part in enumerate(free):
        start = places[number] + places[number] % 2
        if start + len(body) <= part.stop:
            base.data[start : start + len(body)] = body
            places[number] = start + len(body)
            return start
    return base.append(body)


def sides(block: Block) -> Size:
    """The stored size of the first page. Raises ImageError when it is missing."""
    main = block.first()
    width, height = (block.integers(main, tag) for tag in (WIDTH, HEIGHT))
    if not width or not height or min(width[0], height[0]) <= 0:
        raise ImageError("the TIFF is damaged: its size is missing")
    return Size(width[0], height[0])
