"""What is written beside a placed photo: its ortho, a copy with an RPC, its camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError, GeorefError, SinkError
from attachtrans.geo.orthogrid import ortho_grid
from attachtrans.geo.rectify import Rectifier
from attachtrans.geo.view import Grid
from attachtrans.journal import digest_of
from attachtrans.stores.durable import held, replace_file
from attachtrans.stores.filenames import safe_stem, split_name
from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.viewer import Seen
from attachtrans.types import Size, Window

Pixels = NDArray[Any]

_MOST_PX = 1 << 32
"""Of one photo's ortho: 16 GB before it is compressed."""
_FEWEST_PX = 2
"""Along the longer side: then metres were taken for degrees."""
_DRAWN_WHOLE_PX = 1 << 24
"""Up to here viewers are as quick without overviews, which take a third more time and space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Writes what `placing` wants beside the photos.

    crs    of orthos; None: `Seen.crs`
    names  of products without their ending, by the photo's key, where the key alone would give two
           photos the same (`product_names`)
    stop   set when the run ends: orthos that are not done are given up
    """

    placing: Placing
    crs: CRS | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    stop: Event = field(default_factory=Event)

    def prepare(self, stack: ExitStack) -> None:
        """Make the folders, and keep other runs out of them until the stack is left.

        Raises ArgumentError, BusyError, SinkError.
        """
        folders = dict[Path, None]()
        for flag, folder in (
            ("--ortho", self.placing.ortho),
            ("--rpc", self.placing.rpc),
            ("--cameras", self.placing.cameras),
        ):
            if folder is None:
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArgumentError(f"{flag} {folder}: cannot be made: {error}") from error
            folders[folder.resolve()] = None
        for folder in folders:
            stack.enter_context(held(folder))

    def grid(self, seen: Seen) -> Grid:
        """The map grid of a photo's ortho.

        Raises:
            GeorefError: the photo shows no ground, or so much of it that nobody wants the file.
        """
        return photo_grid(seen, self.placing, seen.crs if self.crs is None else self.crs)

    def name(self, key: str) -> str:
        """Of a photo's products, without their ending."""
        return self.names.get(key) or _without_ending(key)

    def write(self, key: str, seen: Seen, pixels: Pixels, alpha: Pixels | None = None) -> None:
        """Write what is wanted of a photo.

        Args:
            key: of the photo: what files are called follows from it, "/" makes folders.
            seen: its view, of the size of `pixels`.
            pixels: (bands, height, width) in stored order.
            alpha: (height, width) of its own transparency, in the pixels' type.

        Raises:
            GeorefError: an RPC does not fit, the photo shows no ground.
            SinkError: a file cannot be written.
        """
        placing, name = self.placing, self.name(key)
        if placing.cameras is not None:
            _write_camera(placing.cameras, key, seen)
        if placing.ortho is not None:
            self.write_ortho(target(placing.ortho, name, ".tif"), seen, pixels, alpha)
        if placing.rpc is not None:
            self._write_rpc(target(placing.rpc, name, ".tif"), seen, pixels)

    def _write_rpc(self, path: Path, seen: Seen, pixels: Pixels) -> None:
        from attachtrans.geo.rpcfit import fit_rpc
        from attachtrans.geo.undistort import undistorted_image

        view = seen.view
        if self.placing.undistort:
            pixels, view = undistorted_image(pixels, view)
        fit = fit_rpc(view, force=self.placing.force_rpc)
        spec = RasterSpec(
            size=Size(pixels.shape[2], pixels.shape[1]),
            bands=len(pixels),
            dtype=pixels.dtype,
            rpc=fit.rpc.to_tags(),
            tags=tags(seen),
        )
        with RasterWriter(path, spec) as writer:
            writer.write(np.ascontiguousarray(pixels))

    def write_ortho(
        self, path: Path, seen: Seen, pixels: Pixels, alpha: Pixels | None = None
    ) -> Grid:
        """The photo on its map grid, with transparency as a last band; window by window."""
        grid = self.grid(seen)
        rectifier = Rectifier(georef=seen.view, grid=grid, occlusion=self.placing.occlusion)
        dtype = pixels.dtype
        spec = RasterSpec(
            size=grid.size,
            bands=len(pixels) + 1,
            dtype=dtype,
            crs=grid.crs,
            transform=grid.affine,
            colours=colours(len(pixels)),
            tags=tags(seen),
        )

        def read(window: Window) -> Pixels:
            found = pixels[:, *window.slices]
            return found if alpha is None else np.concatenate([found, alpha[None, *window.slices]])

        large = grid.size.width * grid.size.height > _DRAWN_WHOLE_PX
        options = RasterOptions(cog=self.placing.cog, overviews=large)
        with RasterWriter(path, spec, options) as writer:
            for window in windows(grid.size):
                if self.stop.is_set():
                    raise SinkError(f"{path} was given up, as the run ended before it was done")
                array, mask = rectifier.window(window, read)
                own = full_value(dtype) if alpha is None else array[-1]
                shown = np.where(mask, own, dtype.type(0))[None]
                writer.write(np.concatenate([array[: len(pixels)], shown]), window)
        return grid


def photo_grid(seen: Seen, placing: Placing, crs: CRS, *, snap: bool = True) -> Grid:
    """The grid of a photo's ortho in a CRS; `snap`: see `ortho_grid`. Raises as `Products.grid`."""
    name, resolution = seen.pose.name or "the photo", placing.resolution
    try:
        grid = ortho_grid(seen.view, crs=crs, resolution=resolution, snap=snap)
    except ArgumentError as error:  # the resolution, for a photo that sees very far
        raise GeorefError(f"{name}: {error}") from error
    width, height = grid.size
    if resolution is not None and max(width, height) <= _FEWEST_PX:
        raise GeorefError(
            f"{name}: a --resolution of {resolution:g} leaves {width} x {height} pixels of it: it "
            f"is in units of {grid.crs.name} ({grid.crs.axis_info[0].unit_name})"
        )
    if width * height > _MOST_PX:
        raise GeorefError(
            f"{name}: its ortho would have {width} x {height} pixels; give a larger --resolution "
            "or a nearer --far"
        )
    return grid


def windows(size: Size, side: int = 1024) -> list[Window]:
    """A raster cut into windows, row by row."""
    return [
        Window(
            col=col,
            row=row,
            width=min(side, size.width - col),
            height=min(side, size.height - row),
        )
        for row in range(0, size.height, side)
        for col in range(0, size.width, side)
    ]


def product_names(keys: Iterable[str]) -> dict[str, str]:
    """Names without ending for the products of photos whose keys alone would give two the same.

    a.jpg and a.png keep their endings (a.jpg.tif), what is not told apart by these gets a number of
    its own. Each name depends on the keys alone, not on which of them are done in this run.
    """
    listed = list(keys)
    plain = Counter(_folded(_without_ending(key)) for key in listed)
    whole = Counter(map(_folded, listed))
    found = {}
    for key in listed:
        if plain[_folded(_without_ending(key))] == 1:
            continue
        if whole[_folded(key)] == 1 and _folded(key) not in plain:
            found[key] = key
        else:
            head, slash, last = key.rpartition("/")
            number = digest_of(key.encode("utf-8", "backslashreplace"))[:8]
            # Before the name, which may be so long that its end is cut off.
            found[key] = f"{head}{slash}{number}_{last}"
    return found


def _without_ending(key: str) -> str:
    head, slash, name = key.rpartition("/")
    return head + slash + split_name(name)[0]


def _folded(name: str) -> str:
    """As file systems without case see it."""
    return str(safe_path(name, "")).casefold()


def safe_path(name: str, ending: str) -> PurePosixPath:
    """A product's name as a path that stays where it is put, on every system."""
    *folders, last = [part for part in name.split("/") if part] or [""]
    return PurePosixPath(*map(safe_stem, folders), safe_stem(last) + ending)


def target(folder: Path, name: str, ending: str) -> Path:
    """Where a product goes: its name, made safe part by part ("/" makes folders), in the folder.

    Raises:
        SinkError: the folders on the way cannot be made.
    """
    path = folder / safe_path(name, ending)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path.parent} cannot be made: {error}") from error
    return path


def _write_camera(folder: Path, key: str, seen: Seen) -> None:
    """All that is known of the camera; its height is settled now."""
    from attachtrans.stores.poses.camera_json import SUFFIX, CameraFile, write_camera

    path = target(folder, key, SUFFIX)
    found = CameraFile(
        camera=seen.view.eye,
        crs=seen.datum,
        name=key,
        ground={"source": seen.ground},
        pose=replace(seen.pose, rough_height=False),
    )
    try:
        replace_file(path, write_camera(found))
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error}") from error


def full_value(dtype: np.dtype[Any]) -> Any:
    """What stands for "not transparent at all" in a type."""
    return dtype.type(np.iinfo(dtype).max if dtype.kind in "ui" else 1.0)


def colours(bands: int) -> tuple[str, ...]:
    """What bands show, transparency last, in GDAL's words."""
    shown = {1: ("gray",), 3: ("red", "green", "blue")}.get(bands, ("undefined",) * bands)
    return (*shown, "alpha")


def tags(seen: Seen) -> dict[str, str]:
    """What a GeoTIFF of a photo says of its place."""
    return {
        "TIFFTAG_SOFTWARE": f"attachtrans {__version__}",
        "POSE_SOURCE": seen.pose.source,
        "POSE_ASSUMED": "; ".join(seen.pose.assumed),
        "GROUND_SOURCE": seen.ground,
    }
