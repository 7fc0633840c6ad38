"""One raster of many photos, in memory that does not grow with their number.

Photos are looked at once, for what they show and whether they can be decoded. Then the raster is
made window by window: only the photos that may show a window take part, and of their elevation
models and pixels no more are kept than a limit, or than one window needs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.ground import DemGround
from attachtrans.geo.mosaic import Frame, Mosaic, Seam
from attachtrans.geo.orthogrid import ortho_grid
from attachtrans.geo.pose import Pose
from attachtrans.geo.rectify import Rectifier
from attachtrans.geo.view import CameraView, Grid
from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.products import colours, full_value, photo_grid, windows
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.types import Item, Size, Window

Pixels = NDArray[Any]
Fetch = Callable[[Item], tuple[Pixels, Pixels | None]]
"""A photo -> (bands, height, width) and transparency (height, width), in stored order."""
Watch = Callable[[int, int], None]
"""(parts done, all parts)"""

_HELD_BYTES = 1 << 29
"""Of decoded photos; and of elevation models, beyond those that one window needs."""
_MOST_EMPTY = 100
"""Times the ground that photos show: a mosaic of more has a photo in it that is misplaced."""
_BESIDE_PX = 2.0


class Kind(NamedTuple):
    """What a decoded photo is like; all but `clear` the photos of a mosaic have in common.

    bands  without transparency
    clear  parts of it are transparent
    """

    dtype: np.dtype[Any]
    bands: int
    clear: bool

    @classmethod
    def of(cls, pixels: Pixels, alpha: Pixels | None) -> Self:
        """Of (bands, height, width) and (height, width)."""
        return cls(pixels.dtype, len(pixels), alpha is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A photo of a mosaic.

    pose, size  that its view is made of again, when its turn comes
    grid        of an ortho of it alone, in the mosaic's CRS
    level_m     middle height of its elevation model, None on level ground
    """

    item: Item
    pose: Pose
    size: Size
    grid: Grid
    level_m: float | None


@dataclass(slots=True, kw_only=True)
class Mosaicker:
    """Makes a mosaic of the photos that are added.

    crs    of it; None: that of an ortho of the first photo
    fetch  decodes a photo
    """

    path: Path
    seam: Seam
    placing: Placing
    crs: CRS | None
    fetch: Fetch
    _kind: Kind | None = None
    _clear: bool = False
    _parts: list[_Part] = field(default_factory=list)
    _photos: OrderedDict[str, Pixels] = field(default_factory=OrderedDict)
    _live: OrderedDict[int, Rectifier] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, item: Item, pose: Pose, seen: Seen, kind: Kind | None) -> None:
        """Take a photo in, of which `seen` was made; `kind` is None where none will be written.

        Raises:
            GeorefError: it does not go with those before it, shows no ground, or far too much.
        """
        crs = seen.crs if self.crs is None else self.crs
        grid = photo_grid(seen, self.placing, crs, snap=False)
        if kind is not None:
            if self._kind is not None and kind[:2] != self._kind[:2]:
                raise GeorefError(
                    f"it has {kind.bands} bands of {kind.dtype}, and the mosaic "
                    f"{self._kind.bands} of {self._kind.dtype}, as its first photo has; -o FOLDER "
                    "rectifies it by itself"
                )
            self._kind, self._clear = self._kind or kind, self._clear or kind.clear
        self.crs = crs
        self._parts.append(
            _Part(item=item, pose=pose, size=seen.view.size, grid=grid, level_m=_level_m(seen.view))
        )

    def grid(self) -> Grid:
        """Of the mosaic.

        Raises:
            GeorefError: photos lie so far apart that it would be empty for the most part.
            ArgumentError: a resolution that makes too many pixels.
        """
        grids = [part.grid for part in self._parts]
        # First as coarse as no mosaic is, since of a stray there are too many pixels to count.
        rough = ortho_grid(grids, crs=self.crs, resolution=max(map(_side, grids)), snap=False)
        if _area(rough) > _MOST_EMPTY * sum(_side(grid) ** 2 for grid in grids):
            raise GeorefError(
                f"{self._stray()} lies far from the other photos, and a mosaic of all would be "
                "empty for the most part; leave it out (--pattern, --where, --bbox) or put its "
                "pose right"
            )
        return ortho_grid(grids, crs=self.crs, resolution=self.placing.resolution)

    def write(self, viewer: Viewer, watch: Watch | None = None) -> Grid:
        """Write it.

        Raises:
            GeorefError, ArgumentError: see `grid`.
            ImageError, SourceError: a photo can no more be read.
            SinkError: it cannot be written; nothing of it stays.
        """
        if self._kind is None:
            raise ArgumentError("a mosaic is made of decoded photos, and there is none")
        grid, (dtype, bands, _) = self.grid(), self._kind
        spec = RasterSpec(
            size=grid.size,
            bands=bands + 1,
            dtype=dtype,
            crs=grid.crs,
            transform=grid.affine,
            colours=colours(bands),
            tags={"TIFFTAG_SOFTWARE": f"attachtrans {__version__}"},
        )
        options = RasterOptions(cog=self.placing.cog, overviews=True)
        boxes = np.array([_box(part.grid, grid) for part in self._parts])
        parts = windows(grid.size)
        with RasterWriter(self.path, spec, options) as writer:
            for count, window in enumerate(parts, start=1):
                which = _shown_in(boxes, window)
                if which:
                    writer.write(self._window(which, window, grid, viewer), window)
                if watch is not None:
                    watch(count, len(parts))
        return grid

    def _window(self, which: list[int], window: Window, grid: Grid, viewer: Viewer) -> Pixels:
        """(bands + 1, height, width) of a window, transparency last."""
        levels = [level for part in self._parts if (level := part.level_m) is not None]
        rectifiers = self._rectifiers(which, grid, viewer)
        mosaic = Mosaic(
            frames=[
                Frame(rectifier.georef, partial(self._read, self._parts[index].item))
                for index, rectifier in zip(which, rectifiers, strict=True)
            ],
            grid=grid,
            seam=self.seam,
            occlusion=self.placing.occlusion,
            level_m=float(np.median(levels)) if len(levels) == len(self._parts) else None,
            rectifiers=rectifiers,
        )
        array, mask, _ = mosaic.window(window)
        visible = array[-1] if self._clear else full_value(array.dtype)
        alpha = np.where(mask, visible, array.dtype.type(0))[None]
        return np.concatenate([array[: len(array) - self._clear], alpha])

    def _rectifiers(self, which: list[int], grid: Grid, viewer: Viewer) -> list[Rectifier]:
        """Those of some photos; others that were made before stay as long as there is room."""
        for index in which:
            if index not in self._live:
                part = self._parts[index]
                view = viewer.view(part.pose, part.size).view
                self._live[index] = Rectifier(
                    georef=view, grid=grid, occlusion=self.placing.occlusion
                )
            self._live.move_to_end(index)
        found = [self._live[index] for index in which]
        while len(self._live) > len(which) and _ground_bytes(self._live) > _HELD_BYTES:
            self._live.popitem(last=False)
        return found

    def _read(self, item: Item, window: Window) -> Pixels:
        """A window of a photo, with its transparency where any photo has some."""
        if item.key not in self._photos:
            pixels, alpha = self.fetch(item)
            if self._clear:
                if alpha is None:
                    alpha = np.full(pixels.shape[1:], full_value(pixels.dtype), pixels.dtype)
                pixels = np.concatenate([pixels, alpha[None]])
            self._photos[item.key] = pixels
            while len(self._photos) > 1 and sum(map(_nbytes, self._photos.values())) > _HELD_BYTES:
                self._photos.popitem(last=False)
        self._photos.move_to_end(item.key)
        return self._photos[item.key][:, *window.slices]

    def _stray(self) -> str:
        """The photo that lies furthest from where most are."""
        middles = np.array([part.grid.pixel_to_map([[0.0], [0.0]])[:, 0] for part in self._parts])
        away = np.hypot(*(middles - np.median(middles, axis=0)).T)
        return self._parts[int(away.argmax())].item.key


def _side(grid: Grid) -> float:
    """The longer side, in units of the CRS."""
    return max(grid.size.width * abs(grid.affine.a), grid.size.height * abs(grid.affine.e))


def _area(grid: Grid) -> float:
    return grid.size.width * grid.size.height * abs(grid.affine.a * grid.affine.e)


def _level_m(view: CameraView) -> float | None:
    if not isinstance(view.surface, DemGround):
        return None
    surface = view.surface.surface
    return 0.5 * (surface.lowest + surface.highest)


def _box(part: Grid, whole: Grid) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of one grid in pixels of another in the same CRS."""
    ends = part.pixel_to_map([[0.0, part.size.width], [0.0, part.size.height]])
    if whole.crs.is_geographic:  # which may run on beyond 180 degrees
        middle = whole.affine.c + 0.5 * whole.affine.a * whole.size.width
        ends[0] += 360.0 * np.round((middle - ends[0].mean()) / 360.0)
    (left, right), (top, bottom) = whole.map_to_pixel(ends)
    return float(left), float(top), float(right), float(bottom)


def _shown_in(boxes: NDArray[np.float64], window: Window) -> list[int]:
    """The boxes that touch a window."""
    left, top, right, bottom = boxes.T
    beside = (
        (right < window.col - _BESIDE_PX)
        | (left > window.col + window.width + _BESIDE_PX)
        | (bottom < window.row - _BESIDE_PX)
        | (top > window.row + window.height + _BESIDE_PX)
    )
    return [int(index) for index in np.flatnonzero(~beside)]


def _nbytes(array: Pixels) -> int:
    return array.nbytes


def _ground_bytes(rectifiers: OrderedDict[int, Rectifier]) -> int:
    """Of elevation models, each once, and of what they hide from cameras."""
    arrays: dict[int, int] = {}
    for rectifier in rectifiers.values():
        relief = rectifier.mapping.relief
        if relief is not None:
            heights = relief.dem.surface.heights
            arrays[id(heights)] = heights.nbytes
            if relief.horizon is not None:
                arrays[id(relief.horizon)] = relief.horizon.excess.nbytes
    return sum(arrays.values())
