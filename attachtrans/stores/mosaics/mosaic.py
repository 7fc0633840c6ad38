"""Opens collections of rasters: their members one by one, or all of them as one raster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.mosaics.base import (
    Contents,
    Member,
    MosaicChoice,
    MosaicKind,
    Order,
)
from attachtrans.stores.mosaics.build import bands_of, write_gti, write_index
from attachtrans.stores.mosaics.esri import mosaic_datasets, refusal
from attachtrans.stores.mosaics.folder import read_folder
from attachtrans.stores.mosaics.footprints import read_footprints, read_gti
from attachtrans.stores.mosaics.grid import MosaicGrid, make_grid
from attachtrans.stores.mosaics.headers import Headers, read_headers, require_alike
from attachtrans.stores.mosaics.image import Identity, MosaicImage
from attachtrans.stores.mosaics.listing import listing_of, stamp_of
from attachtrans.stores.mosaics.recognise import recognise
from attachtrans.stores.mosaics.stac import read_stac, read_stac_parquet
from attachtrans.stores.mosaics.vrt import read_vrt
from attachtrans.stores.mosaics.warped import require_resampling, write_view
from attachtrans.stores.raster.image import RasterImage, gdal_errors, open_raster, quiet

_ON_TOP = {
    "date": "the newest is on top",
    "date-asc": "the oldest is on top",
    "name": "the last by name is on top",
    "name-desc": "the first by name is on top",
    "list": "what is listed last is on top",
}
_READERS: dict[MosaicKind, Callable[[Path, MosaicChoice], Contents]] = {
    MosaicKind.VRT: lambda path, _: read_vrt(path),
    MosaicKind.GTI: read_gti,
    MosaicKind.FOOTPRINTS: read_footprints,
    MosaicKind.STAC: read_stac,
    MosaicKind.STAC_PARQUET: read_stac_parquet,
    MosaicKind.FOLDER: read_folder,
}
_ROWS = frozenset({MosaicKind.GTI, MosaicKind.FOOTPRINTS})
_CONCERNS = {
    "path_column": ("--path-column", _ROWS),
    "date_column": ("--date-column", _ROWS),
    "layer": ("--layer", _ROWS),
    "where": ("--where", _ROWS),
    "asset": ("--asset", frozenset({MosaicKind.STAC, MosaicKind.STAC_PARQUET})),
    "patterns": ("--pattern", frozenset({MosaicKind.FOLDER})),
}


def open_mosaic(source: str | os.PathLike[str], choice: MosaicChoice | None = None) -> Mosaic:
    """List the members of a collection; none is opened. Close the result after use.

    Raises:
        ArgumentError: a choice that does not fit, see `MosaicChoice`.
        SourceError (LayoutError): it is no collection, cannot be read, or lists no rasters; an
            Esri mosaic dataset, with the way out.
    """
    path, chosen = Path(source), choice or MosaicChoice()
    kind = recognise(path, chosen)
    if kind is None:
        raise SourceError(
            f"{path}: is no mosaic: a VRT of several files, a GDAL tile index, footprints with a "
            "column of paths, STAC items, stac-geoparquet, or a folder with --mosaic"
        )
    if kind is MosaicKind.ESRI:
        raise refusal(path, mosaic_datasets(path, chosen.layer))
    for name, (flag, kinds) in _CONCERNS.items():
        if getattr(chosen, name) and kind not in kinds:
            raise ArgumentError(f"{flag} does not concern {path}, which is: {kind}")
    contents = _READERS[kind](path, chosen)
    return Mosaic(path, kind, contents, chosen)


class Mosaic:
    """A collection of rasters; made by `open_mosaic`.

    source   its path
    kind     what it is
    members  not opened; a sequence, in the collection's order
    notes    to print: what was found and how
    """

    def __init__(
        self, source: Path, kind: MosaicKind, contents: Contents, choice: MosaicChoice
    ) -> None:
        """List what `contents` says."""
        self.source, self.kind = source, kind
        self._contents, self._choice = contents, choice
        self._listing = listing_of(contents, source)
        self.notes = (f"{source}: {len(self._listing)} rasters ({kind})", *contents.notes)

    @property
    def members(self) -> Sequence[Member]:
        """The rasters, in the order of the collection."""
        return self._listing

    def order_of(self, order: Order | None) -> Order:
        """The order of overlaps that is meant; None: newest on top where all members are dated.

        Where they are not, or the collection has an order of its own (a VRT, the SORT_FIELD of a
        tile index): that of the list.

        Raises:
            ArgumentError: there is no such order, or members have no dates to go by.
        """
        if order is None:
            dated = self._listing.all_dated and not self._contents.ordered
            return "date" if dated else "list"
        if order not in get_args(Order):
            known = ", ".join(get_args(Order))
            raise ArgumentError(f"--overlap-order {order}: there are {known}")
        if self.kind is MosaicKind.VRT and order != "list":
            raise ArgumentError(
                f"--overlap-order {order}: a VRT draws its files in its own order; name their "
                "folder with --mosaic instead"
            )
        if order.startswith("date") and not self._listing.all_dated:
            index = self._listing.dates.index(None)
            raise ArgumentError(
                f"--overlap-order {order}: {self._listing.paths[index]} has no date; name the "
                "column with --date-column, or order by name"
            )
        return order

    def member(self, index: int) -> RasterImage:
        """Open one raster.

        Raises:
            SourceError: it is missing, not on this machine, or damaged; names it.
        """
        member = self._listing[index]
        if member.problem is not None:
            raise SourceError(f"{member.path}: {member.problem}")
        return open_raster(member.path)

    def mosaicked(self, order: Order | None = None) -> MosaicImage:
        """Open all rasters as one, on the finest grid among them; close the result after use.

        Every header is read first, so that a run does not end on the last of them.

        Raises:
            ArgumentError: the members cannot be one raster; names two of them.
            SourceError: names the first one that is missing, damaged or has no place on the map.
            SinkError: there is no space for the index in the folder for temporary files.
        """
        chosen = self.order_of(order)
        problem = self._listing.first_problem()
        if problem is not None:
            raise SourceError(f"{self.source}: {problem}")
        if self.kind is MosaicKind.VRT:
            return self._open(self.source, self._identity(chosen, ()))
        headers = read_headers(self._listing.paths)
        require_alike(headers, self._listing.paths)
        folder = TemporaryDirectory(prefix="attachtrans-mosaic-")
        try:
            return self._drawn(headers, chosen, folder)
        except BaseException:
            folder.cleanup()
            raise

    def _drawn(
        self, headers: Headers, order: Order, folder: TemporaryDirectory[str]
    ) -> MosaicImage:
        """The mosaic as GDAL draws it by an index in a temporary folder."""
        place, settings = Path(folder.name), self._contents.settings
        system = self._contents.crs if self.kind is MosaicKind.GTI else None
        wkt = None if system is None else system.to_wkt()
        grid = make_grid(headers, self._listing.paths, settings, wkt)
        classes = any(kind.palette for kind in headers.kinds)
        wanted = settings.get("RESAMPLING", "nearest" if classes else self._choice.resampling)
        resampling = require_resampling(wanted)
        paths = list(self._listing.paths)
        for index in np.flatnonzero(~grid.direct).tolist():
            view = place / f"{index}.vrt"
            write_view(paths[index], view, grid, index, resampling)
            paths[index] = str(view)
        write_index(place, paths, self._ranked(order), grid)
        gti = write_gti(place, grid, bands_of(headers, settings), resampling)
        identity = self._identity(order, _grid_notes(grid, resampling))
        return self._open(gti, identity, grid, folder)

    def _open(
        self,
        path: Path,
        identity: Identity,
        grid: MosaicGrid | None = None,
        folder: TemporaryDirectory[str] | None = None,
    ) -> MosaicImage:
        import rasterio

        try:
            with quiet():
                dataset: Any = rasterio.open(path)
        except gdal_errors() as error:
            raise SourceError(f"{self.source}: cannot be opened as a mosaic: {error}") from error
        boxes = None if grid is None else grid.boxes
        return MosaicImage(dataset, identity, self._listing, boxes, folder)

    def _identity(self, order: Order, notes: tuple[str, ...]) -> Identity:
        top = f"where rasters overlap, {_ON_TOP[order]} (--overlap-order {order})"
        return Identity(
            name=str(self.source), fingerprint=self.fingerprint(order), notes=(top, *notes)
        )

    def _ranked(self, order: Order) -> list[int]:
        """Indices of the members, bottom first; ties stay in the order of the list."""
        indices = list(range(len(self._listing)))
        names, dates = self._listing.names, self._listing.dates
        if order in {"name", "name-desc"}:
            indices.sort(key=lambda i: (names[i].casefold(), names[i]), reverse=order != "name")
        elif order in {"date", "date-asc"}:
            known = [date.timestamp() if date is not None else 0.0 for date in dates]
            indices.sort(key=lambda i: known[i], reverse=order != "date")
        return indices

    def fingerprint(self, order: Order | None = None) -> str:
        """SHA-256 in hex of the members' paths, sizes and times, and of how they are drawn."""
        found = hashlib.sha256()
        settings = sorted(self._contents.settings.items())
        # A VRT says where its files lie; other sources only name them.
        own = stamp_of(str(self.source)) if self.kind is MosaicKind.VRT else None
        words = (self.kind, own, self.order_of(order), self._choice.resampling, settings)
        found.update(repr(words).encode())
        for path, stamp in zip(self._listing.paths, self._listing.stamps.tolist(), strict=True):
            found.update(f"{path}\0{stamp}\n".encode("utf-8", "surrogateescape"))
        return found.hexdigest()

    def close(self) -> None:
        """Nothing is kept open; what was opened of it is closed by who opened it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _grid_notes(grid: MosaicGrid, resampling: str) -> tuple[str, ...]:
    notes = [f"cell size {grid.cell[0]:.10g} x {grid.cell[1]:.10g}, the finest of its rasters"]
    if grid.coarser:
        notes.append(f"{grid.coarser} rasters with larger cells are resampled ({resampling})")
    warped = int((~grid.direct).sum())
    if warped:
        notes.append(
            f"{warped} rasters in another coordinate system, or not north up, are warped "
            f"({resampling})"
        )
    return tuple(notes)
