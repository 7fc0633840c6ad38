"""A mosaic open as one raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import SourceError
from attachtrans.stores.mosaics.base import Listing
from attachtrans.stores.mosaics.listing import stamp_of
from attachtrans.stores.raster.image import Masked, RasterImage
from attachtrans.types import Size, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a mosaic is called and known by, whatever the temporary file that GDAL reads.

    notes        to print: which member is on top, which cell size
    fingerprint  of the members
    """

    name: str
    fingerprint: str
    notes: tuple[str, ...] = ()


class MosaicImage(RasterImage):
    """A `RasterImage` over the members of a mosaic; made by `Mosaic.mosaicked`.

    GDAL takes a member that is gone for a hole. So the members under a window are looked for
    before it is read: one that is gone, or is no longer what it was, is an error.

    notes  to print: which member is on top, which cell size
    """

    def __init__(
        self,
        dataset: Any,
        identity: Identity,
        members: Listing,
        boxes: NDArray[np.float64] | None = None,
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        """Take over an open dataset and the folder of its index.

        boxes: (N, 4) left, bottom, right, top of the members in the mosaic's system; None: any
        member may be under any window.
        """
        super().__init__(dataset)
        self.path, self.name = Path(identity.name), identity.name
        self.notes = identity.notes
        self._fingerprint = identity.fingerprint
        self._members, self._boxes, self._folder = members, boxes, folder

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """See `RasterImage`. Raises SourceError for a member that has changed, too."""
        self._require(window)
        return super().read(window, bands=bands)

    def read_band(
        self, band: int, window: Window | None = None, *, size: Size | None = None
    ) -> Masked:
        """See `RasterImage`. Raises SourceError for a member that has changed, too."""
        self._require(window)
        return super().read_band(band, window, size=size)

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """See `RasterImage`. Raises SourceError for a member that has changed, too."""
        self._require(window)
        return super().read_mask(window)

    def fingerprint(self) -> str:
        """See `Raster`: of the members' paths, sizes and times."""
        return self._fingerprint

    def close(self) -> None:
        """Let go of the file and of its index."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()

    def _require(self, window: Window | None) -> None:
        for index in self._under(window):
            path = self._members.paths[index]
            stamp = stamp_of(path)
            if stamp != tuple(self._members.stamps[index].tolist()):
                what = "is gone" if stamp is None else "has changed"
                raise SourceError(
                    f"{path}: {what} since the mosaic was opened; put it back, or run again"
                )

    def _under(self, window: Window | None) -> Sequence[int]:
        if self._boxes is None or window is None or self.transform is None:
            return range(len(self._members))
        cols = np.array([window.col, window.col + window.width], dtype=np.float64)
        rows = np.array([window.row, window.row + window.height], dtype=np.float64)
        (left, right), (top, bottom) = self.transform.to_map(np.stack((cols, rows)))
        found = (
            (self._boxes[:, 0] < right)
            & (self._boxes[:, 2] > left)
            & (self._boxes[:, 1] < top)
            & (self._boxes[:, 3] > bottom)
        )
        indices: list[int] = np.flatnonzero(found).tolist()
        return indices
