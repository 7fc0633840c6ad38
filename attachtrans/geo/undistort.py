"""Photos without their lens's distortion: what an RPC, and tools that know no lens, can follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.errors import GeorefError
from attachtrans.geo.camera import Camera, PerspectiveCamera, TurnedCamera
from attachtrans.geo.camera.base import columns
from attachtrans.geo.rectify import rectify
from attachtrans.geo.view import CameraView, Grid
from attachtrans.types import Size

Floats = NDArray[np.float64]
Pixels = NDArray[Any]

_EDGE = 256
"""Places per edge of the frame that tell how large the straight picture is."""
_LARGEST = 2.0
"""Times as wide and high: corners of a very wide lens are cut off there."""
_DUMMY = CRS.from_epsg(3857)


def undistorted(camera: Camera) -> PerspectiveCamera | TurnedCamera:
    """The pinhole camera in the place of one with a lens, with the same focal length.

    Its picture is as large as all of the old one needs, at most twice as wide and high. Around the
    principal point pixels stay where they are, but for a shift by whole pixels.

    Raises:
        GeorefError: no perspective camera, or a lens that has no picture at the frame's edge.
    """
    if isinstance(camera, TurnedCamera):
        return replace(camera, upright=undistorted(camera.upright))
    if not isinstance(camera, PerspectiveCamera):
        raise GeorefError(
            f"a {type(camera).__name__} has no picture in plain perspective; write an ortho instead"
        )
    x, y, z = camera.rotation.T @ camera.rays(_border(camera.size))
    plane = np.stack([x / z, y / z])
    if not np.isfinite(plane).all():
        raise GeorefError(
            "the lens has no picture at the frame's edge (its distortion folds over there), so the "
            "photo cannot be undistorted; check the distortion coefficients"
        )
    reach = plane * np.array(camera.focal_px)[:, None] + np.array(camera.centre_px)[:, None] + 0.5
    size = np.array(camera.size)
    spare = 0.5 * (_LARGEST - 1.0) * size
    # To whole pixels, with room for rounding: a camera without distortion keeps its frame.
    first = np.floor(np.maximum(reach.min(axis=1), -spare) + 1e-6).astype(int)
    behind = np.ceil(np.minimum(reach.max(axis=1), size + spare) - 1e-6).astype(int)
    width, height = (behind - first).tolist()
    return replace(
        camera,
        size=Size(width, height),
        centre_px=(camera.centre_px[0] - int(first[0]), camera.centre_px[1] - int(first[1])),
        distortion=(),
        shear_px=(0.0, 0.0),
    )


def undistorted_image(image: Pixels, view: CameraView) -> tuple[Pixels, CameraView]:
    """A photo and its view without the lens's distortion.

    Args:
        image: (bands, height, width) in stored order.
        view: of its size.

    Returns:
        (bands, height, width) in the same type, 0 where the photo shows nothing, and the view of
        its size.

    Raises:
        GeorefError: see `undistorted`.
        ArgumentError: the image is not of the view's size.
    """
    straight = replace(view, camera=undistorted(view.camera))
    grid = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), straight.size, _DUMMY)
    array, _ = rectify(
        image, _Redrawn(bent=view.camera, straight=straight.camera), grid, interpolation="cubic"
    )
    return array, straight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Redrawn:
    """A picture seen as a `Georef` whose map is another camera's picture, from outer corners."""

    bent: Camera
    straight: Camera

    @property
    def crs(self) -> CRS:
        """Of no meaning: it is the grid's own."""
        return _DUMMY

    @property
    def size(self) -> Size:
        return self.bent.size

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        return _through(self.bent, self.straight, columns(pixels, 2))

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        return _through(self.straight, self.bent, columns(xy, 2))

    def resized(self, size: Size) -> Self:
        return replace(self, bent=self.bent.resized(size))


def _through(source: Camera, target: Camera, pixels: Floats) -> Floats:
    rays = source.rays(pixels - 0.5)
    # About the origin: far from it positions lose the digits that directions need.
    turned = target.posed(target.rotation, np.zeros(3))
    placed: Floats = turned.project(rays) + 0.5
    return placed


def _border(size: Size) -> Floats:
    """(2, N) places on the outer edges of an image, from the first pixel's centre."""
    along = np.linspace(0.0, 1.0, _EDGE)
    zero, one = np.zeros_like(along), np.ones_like(along)
    cols, rows = (
        np.concatenate([along, one, along, zero]),
        np.concatenate([zero, along, one, along]),
    )
    return np.stack([cols * size.width, rows * size.height]) - 0.5
