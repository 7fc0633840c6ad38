"""The pinhole camera with a lens: drones, phones, aerial frames, and the faces of a cube map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera.base import (
    checked_size,
    columns,
    into_camera,
    into_world,
)
from attachtrans.geo.camera.lens import LensCamera
from attachtrans.geo.distortion import BrownDistortion, Distortion
from attachtrans.types import Size

Floats = NDArray[np.float64]

PANNELLUM_FACES = ("front", "right", "back", "left", "up", "down")
"""The faces of a cube map in the order of pannellum, krpano and most others (files 0 to 5)."""
ESRI_FACES = ("front", "right", "back", "left", "down", "up")
"""The same in the order of Esri's 360 images."""

# A face's directions right, down and forward, in the axes of the panorama's middle.
_FACES = MappingProxyType(
    {
        "front": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "right": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
        "back": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
        "left": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
        "up": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
        "down": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class PerspectiveCamera(LensCamera[Distortion]):
    """A central projection onto a plane, bent by a lens.

    size        (width, height) of the image
    focal_px    (fx, fy)
    centre_px   (cx, cy) of the principal point; (0, 0) is the CENTRE of the first pixel
    distortion  OpenCV's 4, 5, 8, 12 or 14 coefficients (k1 k2 p1 p2 k3 ...), or any `Distortion`
    rotation    (3, 3): camera axes (x right, y down, z forward) -> world; see `pose_matrix`
    position    (x, y, z) of the perspective centre, metres
    shear_px    (d col/dy, d row/dx): 0 but for affine terms of calibrations

    Raises:
        ArgumentError: a value that no camera has; the message names it.
    """

    @staticmethod
    def _lens(distortion: Sequence[float] | Distortion) -> Distortion:
        if isinstance(distortion, Sequence | np.ndarray):
            return BrownDistortion.opencv([float(term) for term in distortion])
        return distortion

    @classmethod
    def metashape(  # noqa: PLR0913  # the numbers of a calibration file, one by one
        cls,
        size: Size,
        *,
        focal_px: float,
        centre_offset_px: tuple[float, float] = (0.0, 0.0),
        radial: Sequence[float] = (),
        tangential: tuple[float, float] = (0.0, 0.0),
        affinity_px: tuple[float, float] = (0.0, 0.0),
        rotation: ArrayLike,
        position: ArrayLike,
    ) -> Self:
        """From Metashape's f; cx, cy; K1..K4; P1, P2; B1, B2.

        Its cx, cy count from the image's middle and its pixels from their outer corner:
        col = w/2 + cx + x f + x B1 + y B2 - 0.5 here. Its axes are those of cameras here.
        """
        width, height = checked_size(size)
        return cls(
            Size(width, height),
            focal_px=(focal_px + affinity_px[0], focal_px),
            centre_px=(
                0.5 * width + centre_offset_px[0] - 0.5,
                0.5 * height + centre_offset_px[1] - 0.5,
            ),
            distortion=BrownDistortion.metashape(radial, tangential),
            rotation=np.asarray(rotation, dtype=np.float64),
            position=np.asarray(position, dtype=np.float64),
            shear_px=(affinity_px[1], 0.0),
        )

    @classmethod
    def cube_face(cls, name: str, width: int, *, rotation: ArrayLike, position: ArrayLike) -> Self:
        """One face of a cube map around a panorama's pose; 90 degrees from edge to edge.

        Args:
            name: front, right, back, left, up or down.
            width: of the square face, in pixels.
            rotation: of the panorama's centre, as of `PanoramaCamera`.
            position: of the panorama.

        Raises:
            ArgumentError: another name.
        """
        if name not in _FACES:
            raise ArgumentError(f"a cube has no face {name!r}; it has {', '.join(_FACES)}")
        turn = np.array(_FACES[name], dtype=np.float64).T
        middle = 0.5 * (width - 1)
        return cls(
            Size(width, width),
            focal_px=(0.5 * width, 0.5 * width),
            centre_px=(middle, middle),
            rotation=np.asarray(rotation, dtype=np.float64) @ turn,
            position=np.asarray(position, dtype=np.float64),
        )

    def project(self, xyz: ArrayLike) -> Floats:
        """(3, N) world points -> (2, N) pixels; nan behind the camera and beyond the fold."""
        x, y, z = into_camera(self, xyz)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = np.where(z > 0.0, 1.0 / z, np.nan)
            return self._plane.pixels(self.lens.distort(np.stack([x * inverse, y * inverse])))

    def rays(self, pixels: ArrayLike) -> Floats:
        """(2, N) pixels -> (3, N) unit directions in the world; nan where the lens has none."""
        x, y = self.lens.undistort(self._plane.plane(columns(pixels, 2)))
        return into_world(self, np.stack([x, y, np.ones_like(x)]))
