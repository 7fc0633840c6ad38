"""The tags of GeoTIFF files: where the picture lies, for a new number of pixels.

Sources: OGC GeoTIFF 1.1 (19-008r4); RPCCoefficientTag 50844 (GeoTIFF RPC); GDAL's GTiff page for
the tags 42112 (metadata) and 42113 (nodata).
"""

from __future__ import annotations

import re

from attachtrans.image.ifd import ASCII, DOUBLE, Block, Field, Ifd
from attachtrans.types import Size

_PIXEL_SCALE, _TIEPOINTS, _MATRIX, _GEO_KEYS, _RPC = 33550, 33922, 34264, 34735, 50844
_GEO_DOUBLES, _GEO_TEXTS, _METADATA, _NODATA = 34736, 34737, 42112, 42113
_RASTER_TYPE_KEY, _PIXEL_IS_POINT = 1025, 2

GEO_TAGS = frozenset(
    {
        *(_PIXEL_SCALE, _TIEPOINTS, _MATRIX, _GEO_KEYS, _GEO_DOUBLES, _GEO_TEXTS),
        *(_METADATA, _NODATA, _RPC),
    }
)
"""What means something in a TIFF file only."""

_STATISTICS = re.compile(rb"\s*<Item\s[^>]*name=[\"']STATISTICS_[^>]*?(/>|>[^<]*</Item>)")


def geo_fields(block: Block, before: Size, after: Size) -> dict[int, Field]:
    """The fields of a translated picture of another stored size.

    Scales, tie points (control points, too), matrix and RPC follow the size. GDAL's statistics of
    the old pixels, by which viewers stretch what they show, are taken out of its metadata.
    """
    main = block.first()
    fields = _metadata(block, main)
    if before != after:
        fields |= _placed(block, main, before, after)
    return fields


def _metadata(block: Block, main: Ifd) -> dict[int, Field]:
    entry = main.entries.get(_METADATA)
    if entry is None:
        return {}
    old = block.bytes_of(entry)
    new = _STATISTICS.sub(b"", old)
    return {} if new == old else {_METADATA: Field(kind=ASCII, count=len(new), payload=new)}


def _placed(block: Block, main: Ifd, before: Size, after: Size) -> dict[int, Field]:
    x, y = after.width / before.width, after.height / before.height
    # Where a position is that of a pixel's centre, half a pixel comes in.
    half = 0.5 if _is_point(block, main) else 0.0
    result: dict[int, list[float]] = {}
    scale = _doubles(block, main, _PIXEL_SCALE)
    if len(scale) >= 2:
        result[_PIXEL_SCALE] = [scale[0] / x, scale[1] / y, *scale[2:]]
    tiepoints = _doubles(block, main, _TIEPOINTS)
    for start in range(0, len(tiepoints) - 5, 6):
        tiepoints[start] = (tiepoints[start] + half) * x - half
        tiepoints[start + 1] = (tiepoints[start + 1] + half) * y - half
        result[_TIEPOINTS] = tiepoints
    matrix = _doubles(block, main, _MATRIX)
    if len(matrix) == 16:
        for row in range(0, 16, 4):
            column, line = matrix[row] / x, matrix[row + 1] / y
            shift = half * (column - matrix[row] + line - matrix[row + 1])
            matrix[row : row + 4] = [column, line, matrix[row + 2], matrix[row + 3] + shift]
        result[_MATRIX] = matrix
    rpc = _doubles(block, main, _RPC)
    if len(rpc) >= 9:
        # Error bias, error random, LINE_OFF, SAMP_OFF, three offsets, LINE_SCALE, SAMP_SCALE.
        rpc[2], rpc[3] = (rpc[2] + 0.5) * y - 0.5, (rpc[3] + 0.5) * x - 0.5
        rpc[7], rpc[8] = rpc[7] * y, rpc[8] * x
        result[_RPC] = rpc
    return {tag: block.field(DOUBLE, values) for tag, values in result.items()}


def _doubles(block: Block, ifd: Ifd, tag: int) -> list[float]:
    return [float(value) for value in block.numbers(ifd, tag)]


def _is_point(block: Block, ifd: Ifd) -> bool:
    keys = block.integers(ifd, _GEO_KEYS)
    found = (keys[at : at + 4] for at in range(4, len(keys) - 3, 4))
    return any(key[0] == _RASTER_TYPE_KEY and key[3] == _PIXEL_IS_POINT for key in found)
