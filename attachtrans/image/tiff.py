"""TIFF: any depth and number of bands; coding, layout, georeference and all other tags kept.

Samples go through tifffile; `tiff_file` puts them into the old file. Smaller copies of the picture
(overviews) are left out, since they show the old one. Where the file's compression is JPEG and the
result is not of 8 bits, deflate takes its place.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from attachtrans.errors import ImageError
from attachtrans.image import cmyk
from attachtrans.image.arrays import interleaved, planes, with_alpha
from attachtrans.image.base import Job, Limits, Metadata, Pixels, Raster, Untouchable
from attachtrans.image.exif import PRIVATE, add_history, compact, drop_thumbnail, scale_exif
from attachtrans.image.geotiff import geo_fields
from attachtrans.image.ifd import BYTE, UNDEFINED, Block, Field, empty
from attachtrans.image.jpeg_file import quality_of
from attachtrans.image.resources import wrapped_iptc
from attachtrans.image.tiff_file import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    ICC,
    IPTC,
    JPEG_TABLES,
    NOT_EXIF,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RESOURCES,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_HEIGHT,
    TILE_WIDTH,
    XMP,
    assemble,
    free_ranges,
    segments,
    sides,
    special,
)
from attachtrans.types import Size

MAX_SIDE = 2**32 - 1
DEFAULT_QUALITY = 92

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_JPEG = 7
# Old number of deflate -> today's; none, LZW, JPEG, deflate, PackBits, LZMA, Zstandard.
_WRITABLE = {1: 1, 5: 5, 7: 7, 8: 8, 32946: 8, 32773: 32773, 34925: 34925, 50000: 50000}
_DEFLATE = 8
_LETTERS = {1: "u", 2: "i", 3: "f"}  # SampleFormat
_DEPTHS = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (16, 32, 64)}
_ASSOCIATED, _UNASSOCIATED = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How samples lie in a file. extra lists the kinds of samples beyond the colours."""

    size: Size
    dtype: np.dtype[Any]
    samples: int
    photometric: int
    compression: int
    predictor: int
    planar: int
    extra: tuple[int, ...]
    tile: tuple[int, int] | None
    rows_per_strip: int
    quality: int | None

    @property
    def has_alpha(self) -> bool:
        """Whether the last sample is alpha."""
        return bool(self.extra) and self.extra[-1] in {_ASSOCIATED, _UNASSOCIATED}

    @property
    def bands(self) -> int:
        """Bands after decoding, without alpha."""
        if self.photometric in {_PALETTE, _SEPARATED}:
            return 3
        return self.samples - self.has_alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiff:
    """The file that was read, and how its samples lie in it."""

    data: bytes
    layout: Layout
    metadata: Metadata


def read_layout(block: Block) -> Layout:
    """Read the tags of the first page. Raises ImageError and Untouchable."""
    main = block.first()

    def one(tag: int, default: int) -> int:
        return (block.integers(main, tag) or (default,))[0]

    samples = one(SAMPLES, 1)
    bits = set(block.integers(main, BITS)) or {1}
    letter = _LETTERS.get(one(SAMPLE_FORMAT, 1))
    if letter is None or len(bits) != 1 or next(iter(bits)) not in _DEPTHS[letter]:
        depths = ", ".join(str(depth) for depth in sorted(bits))
        raise Untouchable(f"a TIFF of {depths} bits per sample, which cannot be written back")
    tables = main.entries.get(JPEG_TABLES)
    layout = Layout(
        size=sides(block),
        dtype=np.dtype(f"{letter}{next(iter(bits)) // 8}"),
        samples=samples,
        photometric=one(PHOTOMETRIC, _BLACK_IS_ZERO),
        compression=one(COMPRESSION, 1),
        predictor=one(PREDICTOR, 1),
        planar=one(PLANAR, 1),
        extra=block.integers(main, EXTRA_SAMPLES),
        tile=(one(TILE_HEIGHT, 0), one(TILE_WIDTH, 0)) if TILE_WIDTH in main.entries else None,
        rows_per_strip=one(ROWS_PER_STRIP, 2**32 - 1),
        quality=None if tables is None else quality_of(block.bytes_of(tables)),
    )
    _check(layout)
    return layout


def _check(layout: Layout) -> None:
    if layout.compression not in _WRITABLE:
        name = (
            tifffile.COMPRESSION(layout.compression).name
            if (layout.compression in set(tifffile.COMPRESSION))
            else str(layout.compression)
        )
        raise Untouchable(f"a TIFF with {name} compression, which cannot be written back")
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _SEPARATED: 4, _YCBCR: 3}
    known = layout.photometric in colours
    if not known or (layout.photometric == _YCBCR and layout.compression != _JPEG):
        raise Untouchable(f"a TIFF of colour kind {layout.photometric} (PhotometricInterpretation)")
    if layout.photometric in {_PALETTE, _SEPARATED} and layout.dtype != np.uint8:
        raise Untouchable("a TIFF with CMYK or palette colours of more than 8 bits")
    if layout.samples < colours[layout.photometric]:
        raise ImageError("the TIFF is damaged: it has fewer samples than colours")


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode the first page. Raises ImageError, or Untouchable for what would be lost."""
    block = Block(data)
    reason = special(block)
    if reason is not None:
        raise Untouchable(reason)
    layout = read_layout(block)
    limits.check(layout.size, layout.samples, layout.dtype)
    segments(block, block.first())
    metadata = metadata_of(block)
    samples = _samples(data, layout)
    alpha = samples[-1] if layout.has_alpha else None
    pixels = samples[:-1] if layout.has_alpha else samples
    if layout.photometric == _SEPARATED:
        inks = interleaved(pixels[:4])
        pixels = planes(cmyk.to_rgb(inks, metadata.icc))
    elif layout.photometric == _WHITE_IS_ZERO:
        pixels = _inverted(pixels)
    return Raster(
        pixels=pixels,
        alpha=alpha,
        metadata=metadata,
        native=Tiff(data=data, layout=layout, metadata=metadata),
    )


def metadata_of(block: Block) -> Metadata:
    """The blocks that travel to other formats."""
    main = block.first()
    parts = {tag: block.bytes_of(main.entries[tag]) for tag in _BLOCKS if tag in main.entries}
    iptc = parts.get(RESOURCES)
    if iptc is None and IPTC in parts:
        iptc = wrapped_iptc(parts[IPTC])
    exif = bytes(compact(block, NOT_EXIF).data)
    return Metadata(exif=exif, xmp=parts.get(XMP), icc=parts.get(ICC), iptc=iptc)


_BLOCKS = (XMP, IPTC, RESOURCES, ICC)


def _samples(data: bytes, layout: Layout) -> Pixels:
    try:
        # Closed with it: a TiffFile refers to itself, and would keep the photo until the garbage
        # collector comes by.
        with io.BytesIO(data) as stream, tifffile.TiffFile(stream) as file:
            page = file.pages.first
            array = page.asarray()
            axes, palette = page.axes, page.colormap
    except Exception as error:  # the decoders of many libraries raise what they like
        raise ImageError(f"the TIFF is damaged: {error}") from error
    if axes not in {"YX", "YXS", "SYX"}:
        raise Untouchable(f"a TIFF with axes {axes}")
    if array.size != layout.samples * layout.size.width * layout.size.height:
        raise ImageError("the TIFF is damaged: its tags do not fit its pixels")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if layout.photometric == _PALETTE and palette is not None:
        return (palette[:, array] >> 8).astype(np.uint8)
    return array if axes == "SYX" else planes(array)


def _inverted(pixels: Pixels) -> Pixels:
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        return -pixels
    return np.iinfo(pixels.dtype).max - pixels


def encode(job: Job) -> bytes:
    """Write any numeric type and number of bands, with alpha if there is one.

    Raises ImageError beyond the 4 GiB of a TIFF that is not a BigTIFF.
    """
    native = job.native if isinstance(job.native, Tiff) else None
    free: list[range] = []
    if native is None:
        base = _fresh_base(job.metadata.exif)
    elif job.anonymise:
        # Written anew, so that nothing of the old picture survives between the values.
        base = compact(Block(native.data), PRIVATE)
    else:
        base = Block(native.data)
        free = free_ranges(base)
    put = {} if native is None else geo_fields(base, job.size_before, job.size)
    if native is not None:
        scale_exif(base, job.size_before, job.size)
        if job.history is not None:
            add_history(base, job.history)
    before = Metadata() if native is None else native.metadata
    gone: set[int] = set()
    for tag, kind, old, new in (
        (XMP, BYTE, before.xmp, job.metadata.xmp),
        (RESOURCES, BYTE, before.iptc, job.metadata.iptc),
        (ICC, UNDEFINED, before.icc, job.metadata.icc),
    ):
        if new is None:
            gone.add(tag)
        elif new != old:
            put[tag] = Field(kind=kind, count=len(new), payload=new)
    coded = Block(_coded(job, native, base))
    return assemble(base, free, coded, put, gone)


def _fresh_base(exif: bytes | None) -> Block:
    base = empty() if exif is None else Block(exif)
    drop_thumbnail(base)
    return base


def _coded(job: Job, native: Tiff | None, base: Block) -> bytes:
    layout = None if native is None else native.layout
    pixels, photometric = _photometric(job, native)
    colours = {_RGB: 3, _SEPARATED: 4}.get(photometric, 1)
    extra = [0] * (len(pixels) - colours)
    if job.alpha is not None:
        kept = layout is not None and layout.has_alpha
        extra.append(layout.extra[-1] if layout is not None and kept else _UNASSOCIATED)
    samples = with_alpha(pixels, job.alpha)
    separate = layout is not None and layout.planar == 2 and len(samples) > 1
    compression = _DEFLATE if layout is None else _WRITABLE[layout.compression]
    if compression == _JPEG and (samples.dtype != np.uint8 or extra):
        compression = _DEFLATE  # JPEG cannot hold the result
    options: dict[str, Any] = {}
    if compression == _JPEG:
        quality = job.quality or (layout.quality if layout else None) or DEFAULT_QUALITY
        options["compressionargs"] = {"level": quality}
    elif layout is None or layout.predictor != 1:
        options["predictor"] = compression != 1
    if layout is not None and layout.tile is not None:
        options["tile"] = layout.tile
    elif layout is not None:
        options["rowsperstrip"] = min(layout.rows_per_strip, job.size.height)
    if extra:
        options["extrasamples"] = extra
    array = np.ascontiguousarray(samples) if separate else interleaved(samples)
    if array.shape[-1] == 1 and not separate:
        array = array[:, :, 0]
    target = io.BytesIO()
    tifffile.imwrite(
        target,
        array,
        bigtiff=base.big,
        byteorder=base.order,
        photometric=photometric,
        planarconfig="separate" if separate else "contig" if array.ndim == 3 else None,
        compression=compression,
        metadata=None,
        software=False,
        **options,
    )
    return target.getvalue()


def _photometric(job: Job, native: Tiff | None) -> tuple[Pixels, int]:
    """The samples for tifffile and their colour kind; it turns RGB into YCbCr for JPEG itself."""
    pixels = job.pixels
    old = _RGB if native is None else native.layout.photometric
    if old == _SEPARATED and native is not None and len(pixels) == 3:
        inks = cmyk.to_inks(interleaved(pixels), native.metadata.icc)
        return planes(inks), _SEPARATED
    if old == _WHITE_IS_ZERO and len(pixels) == 1:
        return _inverted(pixels), _WHITE_IS_ZERO
    if len(pixels) < 3:
        return pixels, _BLACK_IS_ZERO
    # Many bands without colour (satellites) stay that; one that became three is a colour picture.
    colourless = native is not None and (native.layout.samples > 2 or len(pixels) != 3)
    if colourless and old in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}:
        return pixels, _BLACK_IS_ZERO
    return pixels, _RGB
