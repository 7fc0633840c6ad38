"""What is written beside a placed photo: its ortho, a copy with an RPC, its camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError, SinkError
from attachtrans.geo.orthogrid import ortho_grid
from attachtrans.geo.rectify import Rectifier
from attachtrans.geo.rpcfit import fit_rpc
from attachtrans.geo.undistort import undistorted_image
from attachtrans.geo.view import Grid
from attachtrans.stores.durable import replace_file
from attachtrans.stores.filenames import safe_stem, split_name
from attachtrans.stores.poses.camera_json import SUFFIX, CameraFile, write_camera
from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.viewer import Seen
from attachtrans.types import Size, Window

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Writes what `placing` wants beside the photos; crs is that of orthos, None: the view's."""

    placing: Placing
    crs: CRS | None = None

    def prepare(self) -> None:
        """Make the folders. Raises ArgumentError."""
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

    def grid(self, seen: Seen) -> Grid:
        """The map grid of a photo's ortho."""
        return ortho_grid(seen.view, crs=self.crs, resolution=self.placing.resolution)

    def write(self, key: str, seen: Seen, pixels: Pixels) -> None:
        """Write what is wanted of a photo.

        Args:
            key: of the photo: what files are called follows from it, "/" makes folders.
            seen: its view, of the size of `pixels`.
            pixels: (bands, height, width) in stored order.

        Raises:
            GeorefError: an RPC does not fit, the photo shows no ground.
            SinkError: a file cannot be written.
        """
        placing = self.placing
        if placing.cameras is not None:
            _write_camera(target(placing.cameras, key, None), key, seen)
        if placing.ortho is not None:
            self.write_ortho(target(placing.ortho, key, ".tif"), seen, pixels)
        if placing.rpc is not None:
            self._write_rpc(target(placing.rpc, key, ".tif"), seen, pixels)

    def _write_rpc(self, path: Path, seen: Seen, pixels: Pixels) -> None:
        view = seen.view
        if self.placing.undistort:
            pixels, view = undistorted_image(pixels, view)
        fit = fit_rpc(view, force=self.placing.force_rpc)
        spec = RasterSpec(
            size=Size(pixels.shape[2], pixels.shape[1]),
            bands=len(pixels),
            dtype=pixels.dtype,
            rpc=fit.rpc.to_tags(),
            tags=_tags(seen),
        )
        with RasterWriter(path, spec) as writer:
            writer.write(np.ascontiguousarray(pixels))

    def write_ortho(self, path: Path, seen: Seen, pixels: Pixels) -> Grid:
        """The photo on its map grid, with transparency as a last band; window by window."""
        grid = self.grid(seen)
        rectifier = Rectifier(georef=seen.view, grid=grid, occlusion=self.placing.occlusion)
        dtype = pixels.dtype
        full = np.iinfo(dtype).max if dtype.kind in "ui" else 1.0
        spec = RasterSpec(
            size=grid.size,
            bands=len(pixels) + 1,
            dtype=dtype,
            crs=grid.crs,
            transform=grid.affine,
            colours=colours(len(pixels)),
            tags=_tags(seen),
        )

        def read(window: Window) -> Pixels:
            rows, cols = window.slices
            return pixels[:, rows, cols]

        options = RasterOptions(cog=self.placing.cog, overviews=True)
        with RasterWriter(path, spec, options) as writer:
            for window in windows(grid.size):
                array, mask = rectifier.window(window, read)
                alpha = np.where(mask, dtype.type(full), dtype.type(0))[None]
                writer.write(np.concatenate([array, alpha]), window)
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


def target(folder: Path, key: str, ending: str | None) -> Path:
    """Where a product of a photo goes: its key, made safe, in the folder.

    ending: in the place of the photo's own; None: the photo's name with .camera.json behind it.

    Raises:
        SinkError: the folders on the way cannot be made.
    """
    *folders, name = [part for part in key.split("/") if part]
    stem, own = split_name(name)
    name = safe_stem(stem) + (own + SUFFIX if ending is None else ending)
    path = folder.joinpath(*map(safe_stem, folders), name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path.parent} cannot be made: {error}") from error
    return path


def _write_camera(path: Path, key: str, seen: Seen) -> None:
    """All that is known of the camera; its height is settled now."""
    found = CameraFile(
        camera=seen.view.eye,
        crs=seen.view.world.crs,
        name=key,
        ground={"source": seen.ground},
        pose=replace(seen.pose, rough_height=False),
    )
    try:
        replace_file(path, write_camera(found))
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error}") from error


def colours(bands: int) -> tuple[str, ...]:
    """What bands show, transparency last, in GDAL's words."""
    shown = {1: ("gray",), 3: ("red", "green", "blue")}.get(bands, ("undefined",) * bands)
    return (*shown, "alpha")


def _tags(seen: Seen) -> dict[str, str]:
    return {
        "TIFFTAG_SOFTWARE": f"attachtrans {__version__}",
        "POSE_SOURCE": seen.pose.source,
        "POSE_ASSUMED": "; ".join(seen.pose.assumed),
        "GROUND_SOURCE": seen.ground,
    }
