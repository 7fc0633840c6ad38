"""What the headers of a mosaic's members say, and whether they can be one raster.

All of them are opened once before the run: one that is damaged or unlike the others would be found
hours later else, or never, since GDAL leaves out of a mosaic what it cannot open.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.raster.image import gdal_errors, quiet

Transforms = NDArray[np.float64]

SEPARATELY = "or process the rasters separately (--processing-mode separate)"
_ALPHA, _PALETTE = "alpha", "palette"


class Kind(NamedTuple):
    """What members of one mosaic have in common, but for the mask.

    nodata   of the first band, None when there is none
    masked   it has a mask of its own, inside or beside it
    palette  digest of the colour table, "" without
    crs      WKT as GDAL writes it, "" when the file does not say
    """

    dtypes: tuple[str, ...]
    colours: tuple[str, ...]
    names: tuple[str | None, ...]
    nodata: float | None
    masked: bool
    palette: str
    crs: str

    @property
    def has_alpha(self) -> bool:
        """Whether the last band is transparency."""
        return self.colours[-1] == _ALPHA

    @property
    def values(self) -> tuple[str, ...]:
        """Types of the bands without alpha."""
        return self.dtypes[:-1] if self.has_alpha else self.dtypes


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """Of all members, by index.

    kinds       the different ones, and `first`: the index of a member of each
    of          (N,) index into kinds
    sizes       (N, 2) width and height
    transforms  (N, 6) a to f of outer-corner pixels
    """

    kinds: tuple[Kind, ...]
    first: tuple[int, ...]
    of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    transforms: Transforms

    @property
    def upright(self) -> NDArray[np.bool_]:
        """(N,) whether rows run south and columns east, neither rotated nor sheared."""
        a, b, _, d, e, _ = self.transforms.T
        upright: NDArray[np.bool_] = (a > 0) & (e < 0) & (b == 0) & (d == 0)
        return upright


def read_headers(paths: Sequence[str]) -> Headers:
    """Open every member for its header, which takes GDAL a millisecond or three each.

    Raises:
        SourceError: names the first one that cannot be opened or has no place on the map.
    """
    import rasterio

    kinds: dict[Kind, int] = {}
    first: list[int] = []
    of = np.zeros(len(paths), dtype=np.int64)
    sizes = np.zeros((len(paths), 2), dtype=np.int64)
    transforms = np.zeros((len(paths), 6))
    # Else every opening lists the folder, which may hold them all.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        for index, path in enumerate(paths):
            kind, sizes[index], transforms[index] = _header(path)
            if kind not in kinds:
                kinds[kind] = len(kinds)
                first.append(index)
            of[index] = kinds[kind]
    return Headers(
        kinds=tuple(kinds), first=tuple(first), of=of, sizes=sizes, transforms=transforms
    )


def _header(path: str) -> tuple[Kind, tuple[int, int], tuple[float, ...]]:
    import rasterio
    from rasterio.enums import MaskFlags

    try:
        with quiet(), rasterio.open(path) as dataset:
            if dataset.transform.is_identity:
                raise SourceError(_no_place(path, dataset))
            colours = tuple(kind.name for kind in dataset.colorinterp)
            flags = dataset.mask_flag_enums[0]
            masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
            kind = Kind(
                dtypes=tuple(dataset.dtypes),
                colours=colours,
                names=tuple(dataset.descriptions),
                nodata=None if masked else dataset.nodata,
                masked=masked,
                palette=_digest(dataset.colormap(1)) if colours[0] == _PALETTE else "",
                crs=dataset.crs.to_wkt() if dataset.crs else "",
            )
            return kind, (dataset.width, dataset.height), tuple(dataset.transform)[:6]
    except gdal_errors() as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: cannot be opened as a raster: {error}") from error


def _no_place(path: str, dataset: Any) -> str:
    has = "only ground control points" if dataset.gcps[0] else "no georeference"
    has = "only an RPC" if dataset.tags(ns="RPC") else has
    return f"{path}: has {has}, so it has no place in a mosaic: warp it first, {SEPARATELY}"


def _digest(table: object) -> str:
    return hashlib.sha256(repr(table).encode()).hexdigest()


def require_alike(headers: Headers, paths: Sequence[str]) -> None:
    """Raise ArgumentError, naming two members, where they cannot be one raster.

    Bands with and without alpha go together, and any masks and nodata values.
    """
    for kind, index in zip(headers.kinds[1:], headers.first[1:], strict=True):
        reason = _difference(headers.kinds[0], kind)
        if reason is not None:
            raise ArgumentError(
                f"{paths[headers.first[0]]} and {paths[index]} cannot be one mosaic: {reason}; "
                f"convert one of them, choose members with --where, {SEPARATELY}"
            )


def _difference(one: Kind, other: Kind) -> str | None:
    if len(one.values) != len(other.values):
        return f"they have {len(one.values)} and {len(other.values)} bands"
    if one.values != other.values:
        return f"their values are {_types(one)} and {_types(other)}"
    if one.palette != other.palette:
        return "their colour tables differ, so one value means two things"
    if bool(one.crs) != bool(other.crs):
        return "one of them does not say its coordinate system"
    return None


def _types(kind: Kind) -> str:
    return ", ".join(dict.fromkeys(kind.values))


def common_nodata(headers: Headers) -> float | None:
    """The value that means no data in every member; None where they mark it in several ways.

    With one member's value for all, pixels of the others that have it by chance would be lost.
    """
    values = {
        "nan" if kind.nodata is not None and math.isnan(kind.nodata) else kind.nodata
        for kind in headers.kinds
    }
    if len(values) > 1 or any(kind.has_alpha for kind in headers.kinds):
        return None
    return headers.kinds[0].nodata
