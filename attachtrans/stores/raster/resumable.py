"""Rasters that take minutes or hours to write, and survive a crash at any moment.

GDAL makes the file's header, with room for the place of every tile; the tiles are encoded apart
(`encoding`) and appended. A checkpoint makes what was appended durable and then notes in the side
file (`checkpoint`) where it lies. The header itself is not touched before the last tile: then the
places are written into it. So to go on means: cut off what came after the last checkpoint, put
the header back, and append. Nothing is written twice, and no second copy is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from attachtrans.errors import ArgumentError, BusyError, SinkError
from attachtrans.stores.durable import sync_folder
from attachtrans.stores.raster.checkpoint import Checkpoints, Progress, Tile
from attachtrans.stores.raster.encoding import encoded_mask, encoded_pixels, pages_of
from attachtrans.stores.raster.finishing import complete, discard
from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, describe, tiff_profile
from attachtrans.stores.raster.writer import RasterWriter
from attachtrans.types import Size, Window

_BUFFER = 1 << 20
_TYPES: dict[int, np.dtype[Any]] = {
    3: np.dtype(np.uint16),
    4: np.dtype(np.uint32),
    16: np.dtype(np.uint64),
}
"""The TIFF types of whole numbers, by their codes."""


class ResumableWriter(RasterWriter):
    """A `RasterWriter` whose unfinished file a later run of the same job goes on with.

    What is written are blocks of whole file tiles (`RasterOptions.side`; at the right and lower
    edge what is left of one), each once and every one, with its mask where there is one. Several
    threads may write at once: they encode side by side.

    done  blocks that are in the file already, as the last checkpoint said
    note  how the run began, where that is worth saying: it goes on, or replaces another job's file
    """

    def __init__(
        self, path: Path, spec: RasterSpec, options: RasterOptions | None = None, *, job: str
    ) -> None:
        """Begin the raster, or go on with what an interrupted run of the same job left.

        Args:
            path: of the file to be.
            spec: what it is; of its tags those stay with which it was begun.
            options: how it is stored.
            job: what pixels depend on, in one text: fingerprints of input and model, arguments,
                the order of blocks. How the file is laid out is added here.

        Raises:
            ArgumentError, SinkError: see `RasterWriter`.
            BusyError: another run is writing this file.
        """
        self.done, self.note = 0, ""
        self._job = job
        self._checkpoints: Checkpoints | None = None
        self._file: Any = None
        self._pages: list[_Page] = []
        self._fresh: list[Tile] = []
        super().__init__(path, spec, options)

    @property
    def kept(self) -> str:
        """What an interrupted run leaves, as a sentence for a message; empty: nothing."""
        if not self.done:
            return ""
        return (
            f"The first {self.done} blocks are kept in {self._partial.name}; the same command goes "
            "on from there."
        )

    def checkpoint(self, done: int) -> None:
        """Make what was written durable: the first `done` blocks, with their masks.

        Takes some milliseconds besides the disk's own time.

        Raises:
            SinkError: the disk is full or gone, or was before; what the last checkpoint had is
                kept.
        """
        with self._guarded(), self._lock:
            side = self._require_open()
            self._sync()
            side.record(done, self._end, self._fresh)
            self._fresh.clear()
            self.done = done

    def finish(self) -> None:
        """Complete the file and give it its name; the side file goes.

        Raises:
            ArgumentError: blocks were left out.
            SinkError: the disk is full or gone; what the last checkpoint had is kept.
        """
        with self._working():
            side = self._require_open()
            missing = sum(int((page.counts == 0).sum()) for page in self._pages)
            if missing:
                raise ArgumentError(f"{missing} tiles of {self.path.name} were never written")
            for page in self._pages:
                page.store(self._file)
            self._sync()
            self._file.close()
            complete(self._partial, self.path, self.spec, self.options)
            side.discard()
            self._checkpoints = None

    def abort(self, *, keep: bool = True) -> None:
        """Stop. What the last checkpoint had stays, unless `keep` is False."""
        with self._lock:
            if self._checkpoints is None:
                return
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
            if keep and self.done:
                self._checkpoints.close()
            else:
                discard(self._partial, self.path)
                self._checkpoints.discard()
            self._checkpoints = None

    def _require_open(self) -> Checkpoints:
        if self._checkpoints is None:
            raise SinkError(f"{self.path.name} was given up or finished before")
        return self._checkpoints

    def _left(self) -> str:
        return self.kept or super()._left()

    def _begin(self) -> None:
        self._partial, side = _sides(self.path)
        self._checkpoints = Checkpoints(side, self.path)
        job, left = self._identity(), self._checkpoints.progress()
        if left is not None and left.job == job and self._is_there(left):
            header = left.header
            self.done = left.done
            self.note = f"{self.path.name}: goes on after block {left.done}"
        else:
            if left is not None:
                why = "is damaged" if left.job == job else "was of another job"
                self.note = f"{self.path.name}: begun anew, what an unfinished run left {why}"
            header = self._make_header()
            self._checkpoints.begin(job, header)
        self._pages = _pages(header, self.spec.size)
        self._open(header, len(header) if left is None or not self.done else left.nbytes)
        if self.done:
            for page, number, offset, nbytes in self._checkpoints.tiles():
                self._pages[page].offsets[number] = offset
                self._pages[page].counts[number] = nbytes

    def _identity(self) -> str:
        """Of the job and of the file's layout. Tags are not in it: they may hold the time."""
        profile = tiff_profile(self.spec, self.options)
        layout = sorted((key, str(value)) for key, value in profile.items() if key != "num_threads")
        text = repr((self._job, layout, self.spec.masked, self.spec.shown))
        return hashlib.sha256(text.encode()).hexdigest()

    def _is_there(self, left: Progress) -> bool:
        try:
            return self._partial.stat().st_size >= left.nbytes
        except FileNotFoundError:
            return False

    def _make_header(self) -> bytes:
        import rasterio

        profile = tiff_profile(self.spec, self.options) | {"sparse_ok": True}
        with rasterio.open(self._partial, "w", **profile) as dataset:
            describe(dataset, self.spec)
            if self.spec.masked:  # of one pixel: the mask is made, its tiles come later
                dataset.write_mask(np.zeros((1, 1), np.uint8), window=((0, 1), (0, 1)))
        sync_folder(self._partial.parent)
        return self._partial.read_bytes()

    def _open(self, header: bytes, nbytes: int) -> None:
        """Open the file as it was at `nbytes`, to go on at its end."""
        self._file = self._partial.open("r+b", buffering=_BUFFER)
        self._file.truncate(nbytes)
        self._file.write(header)
        self._file.seek(nbytes)
        self._end = nbytes

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _put(self, array: NDArray[np.generic], place: Window) -> None:
        with self._guarded():
            self._require_tiles(place)
            self._append(0, encoded_pixels(array, self.spec, self.options), place)

    def _put_mask(self, mask: NDArray[np.uint8], place: Window) -> None:
        with self._guarded():
            self._require_tiles(place)
            self._append(1, encoded_mask(mask, self.spec, self.options), place)

    def _require_tiles(self, place: Window) -> None:
        side, size = self.options.side, self.spec.size
        right, bottom = place.col + place.width, place.row + place.height
        aligned = (
            place.col % side == place.row % side == 0
            and (right % side == 0 or right == size.width)
            and (bottom % side == 0 or bottom == size.height)
        )
        if not aligned:
            raise ArgumentError(f"{place} is not made of whole tiles of {side} pixels")

    def _append(self, number: int, tiles: Sequence[bytes], place: Window) -> None:
        with self._lock:
            self._require_open()
            page = self._pages[number]
            for index, data in zip(
                page.numbers(place, self.options.side, len(tiles)), tiles, strict=True
            ):
                if self._end + len(data) > page.limit:
                    raise OSError("it grows beyond 4 GB: leave BIGTIFF as it is, or say YES")
                self._file.write(data)
                page.offsets[index], page.counts[index] = self._end, len(data)
                self._fresh.append(Tile(number, index, self._end, len(data)))
                self._end += len(data)


def tidy(path: Path) -> None:
    """Remove what lies beside a complete raster whose run was stopped before it could do so."""
    partial, side = _sides(path)
    if not side.exists():
        return
    try:
        checkpoints = Checkpoints(side, path)
    except (BusyError, SinkError):  # it is at it, or the folder is read-only
        return
    with contextlib.suppress(OSError):
        discard(partial, path)
        checkpoints.discard()


def _sides(path: Path) -> tuple[Path, Path]:
    """The unfinished file of a raster, and the side file of its checkpoints."""
    partial = path.with_name(f".{path.name}.attachtrans-part")
    return partial, partial.with_suffix(".attachtrans-job")


class _Page:
    """Where the tiles of one page lie, and where its header says so."""

    def __init__(self, page: TiffPage, order: Literal["<", ">"], size: Size) -> None:
        tags = page.tags
        self._places = [(tags[code].valueoffset, tags[code].dtype) for code in (324, 325)]
        self._order, self._size = order, size
        count = len(page.dataoffsets)
        self.offsets = np.zeros(count, np.uint64)
        self.counts = np.zeros(count, np.uint64)
        self.limit = 256 ** _TYPES[self._places[0][1]].itemsize - 1

    def numbers(self, place: Window, side: int, count: int) -> list[int]:
        """The indices of a block's tiles, of which there are `count`."""
        across, down = -(-self._size.width // side), -(-self._size.height // side)
        cols = place.col // side + np.arange(-(-place.width // side))
        rows = place.row // side + np.arange(-(-place.height // side))
        planes = np.arange(count // (len(cols) * len(rows)))
        found = (planes[:, None, None] * down + rows[:, None]) * across + cols
        return [int(number) for number in found.ravel()]

    def store(self, file: Any) -> None:
        """Write the places into the header."""
        for values, (start, kind) in zip((self.offsets, self.counts), self._places, strict=True):
            file.seek(start)
            file.write(values.astype(_TYPES[kind].newbyteorder(self._order)).tobytes())


def _pages(header: bytes, size: Size) -> list[_Page]:
    with TiffFile(BytesIO(header)) as file:
        return [_Page(page, file.byteorder, size) for page in pages_of(file)]
