"""`attachtrans ortho`: photos rectified to the map, each by itself or all in one raster."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attachtrans import __version__
from attachtrans.errors import ArgumentError, GeorefError, ImageError, SourceError
from attachtrans.geo.frame import read_crs
from attachtrans.geo.mosaic import Frame, Mosaic, Seam
from attachtrans.geo.orthogrid import ortho_grid
from attachtrans.image import Limits, decode, probe
from attachtrans.image.arrays import stored, turned
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products, colours, product_names, windows
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.tool.sources import Choice, open_source
from attachtrans.types import Item, Window

PathLike = str | os.PathLike[str]
Pixels = NDArray[Any]
OrthoStatus = Literal["written", "planned", "failed", "skipped"]

_HELD_BYTES = 1 << 30
"""Of decoded photos that a mosaic keeps for its next windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthoOutcome:
    """What became of one photo."""

    key: str
    status: OrthoStatus
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Orthos:
    """One prepared run; iterate over it once, an `OrthoOutcome` per photo.

    mosaic  one raster for all, besides or instead of one per photo
    seam    which photo shows a place that several show
    """

    photos: PhotoSource
    placing: Placing
    mosaic: Path | None
    seam: Seam
    limits: Limits
    dry_run: bool
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Generator[OrthoOutcome, None, None]:
        """Run; raises what stops every photo."""
        with ExitStack() as stack:
            stack.callback(self.photos.close)
            viewer = Viewer(self.placing)
            stack.callback(viewer.close)
            poser = Poser(self.placing, self.photos)
            stack.callback(poser.close)
            names = product_names(item.key for item in self.photos)
            products = Products(placing=self.placing, crs=self._crs(), names=names)
            if not self.dry_run:
                products.prepare()
            frames: list[tuple[Item, Seen]] = []
            for item in self.photos:
                outcome, seen = self._one(item, poser, viewer, products)
                if seen is not None:
                    frames.append((item, seen))
                yield outcome
            if self.mosaic is not None and frames and not self.dry_run:
                self._write_mosaic(self.mosaic, frames)
            self.notes.extend((*poser.notes, *viewer.notes))

    def _crs(self) -> Any:
        return None if self.placing.crs is None else read_crs(self.placing.crs)

    def _one(
        self, item: Item, poser: Poser, viewer: Viewer, products: Products
    ) -> tuple[OrthoOutcome, Seen | None]:
        try:
            data = self.photos.read(item)
            header = probe(data)
            if header.skip or header.size is None:
                reason = header.skip or f"is no image ({header.media.media_type})"
                return OrthoOutcome(key=item.key, status="skipped", reason=reason), None
            size = turned(header.size, header.orientation)
            pose = poser.pose(item, data, size, header.orientation)
            seen = viewer.view(pose, size)
            if self.dry_run:
                products.grid(seen)
                return OrthoOutcome(key=item.key, status="planned"), seen
            if self.placing.has_products:
                products.write(item.key, seen, self._pixels(data))
        except (GeorefError, ImageError, SourceError) as error:
            return OrthoOutcome(key=item.key, status="failed", reason=str(error)), None
        return OrthoOutcome(key=item.key, status="written"), seen

    def _pixels(self, data: bytes) -> Pixels:
        photo = decode(data, self.limits)
        return stored(photo.pixels, photo.orientation)

    def _write_mosaic(self, path: Path, frames: list[tuple[Item, Seen]]) -> None:
        held = _Held(self)
        grid = ortho_grid(
            [seen.view for _, seen in frames],
            crs=self._crs(),
            resolution=self.placing.resolution,
        )
        mosaic = Mosaic(
            frames=[Frame(seen.view, partial(held.read, item)) for item, seen in frames],
            grid=grid,
            seam=self.seam,
            occlusion=self.placing.occlusion,
        )
        first = held.pixels(frames[0][0])
        full = first.dtype.type(np.iinfo(first.dtype).max if first.dtype.kind in "ui" else 1.0)
        spec = RasterSpec(
            size=grid.size,
            bands=len(first) + 1,
            dtype=first.dtype,
            crs=grid.crs,
            transform=grid.affine,
            colours=colours(len(first)),
            tags={"TIFFTAG_SOFTWARE": f"attachtrans {__version__}"},
        )
        options = RasterOptions(cog=self.placing.cog, overviews=True)
        with RasterWriter(path, spec, options) as writer:
            for window in windows(grid.size):
                array, mask, _ = mosaic.window(window)
                alpha = np.where(mask, full, full.dtype.type(0))[None]
                writer.write(np.concatenate([array, alpha]), window)
        self.notes.append(
            f"{len(frames)} photos in one raster of {grid.size.width} x {grid.size.height}: {path}"
        )


class _Held:
    """Decoded photos, those used last up to a limit of bytes."""

    def __init__(self, run: Orthos) -> None:
        self._run = run
        self._photos: OrderedDict[str, Pixels] = OrderedDict()

    def pixels(self, item: Item) -> Pixels:
        """(bands, height, width) in stored order."""
        if item.key in self._photos:
            self._photos.move_to_end(item.key)
            return self._photos[item.key]
        data = self._run.photos.read(item)
        photo = decode(data, self._run.limits)
        self._photos[item.key] = stored(photo.pixels, photo.orientation)
        while len(self._photos) > 1 and self._bytes() > _HELD_BYTES:
            self._photos.popitem(last=False)
        return self._photos[item.key]

    def read(self, item: Item, window: Window) -> Pixels:
        """A window of a photo."""
        rows, cols = window.slices
        return self.pixels(item)[:, rows, cols]

    def _bytes(self) -> int:
        return sum(array.nbytes for array in self._photos.values())


def plan_orthos(  # noqa: PLR0913 - the command's face: every option by name
    source: PathLike,
    folder: PathLike | None = None,
    *,
    mosaic: PathLike | None = None,
    seam: Seam = "nearest",
    choice: Choice | None = None,
    placing: Placing | None = None,
    max_pixels: int = 500_000_000,
    dry_run: bool = False,
) -> Orthos:
    """Prepare orthos of photos: check everything, write nothing.

    source   GeoPackage with photos, folder of photos, or one photo
    folder   for one GeoTIFF per photo
    mosaic   one GeoTIFF of all photos; seam: of several photos the nearest camera's ("nearest") or
             the one with most pixels ("sharpest") shows a place
    choice   which photos of the source
    placing  where photos were taken and what they look at

    Raises ArgumentError, SourceError (LayoutError), CrsError.
    """
    if folder is None and mosaic is None:
        raise ArgumentError(
            "say where orthos go: -o FOLDER for one each, --mosaic FILE.tif for all"
        )
    path = None if mosaic is None else Path(mosaic)
    if path is not None and path.suffix.lower() not in {".tif", ".tiff"}:
        raise ArgumentError(f"--mosaic {path}: name a GeoTIFF, like all.tif")
    if path is not None and not path.resolve().parent.is_dir():
        raise ArgumentError(f"--mosaic: there is no folder {path.resolve().parent}; make it first")
    wish = placing or Placing()
    if folder is not None:
        wish = replace(wish, ortho=Path(folder))
    photos, _ = open_source(Path(source), choice or Choice())
    return Orthos(
        photos=photos,
        placing=wish,
        mosaic=path,
        seam=seam,
        limits=Limits(max_pixels=max_pixels),
        dry_run=dry_run,
    )
