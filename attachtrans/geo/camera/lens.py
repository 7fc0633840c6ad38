"""What a pinhole camera and a fisheye have in common: a lens, a pixel plane and a pose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.geo.camera.base import PixelPlane, checked_pose, checked_size, ratios
from attachtrans.types import Size

Floats = NDArray[np.float64]
L = TypeVar("L")


@dataclass(frozen=True, slots=True, eq=False)
class LensCamera(ABC, Generic[L]):
    """A camera behind a lens of the kind L; see `PerspectiveCamera` and `FisheyeCamera`."""

    size: Size
    _: KW_ONLY
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: Sequence[float] | L = ()
    rotation: Floats
    position: Floats
    shear_px: tuple[float, float] = (0.0, 0.0)
    lens: L = field(init=False, repr=False)
    _plane: PixelPlane = field(init=False, repr=False)

    @staticmethod
    @abstractmethod
    def _lens(distortion: Sequence[float] | L) -> L:
        """The lens of coefficients, or the one given."""

    def __post_init__(self) -> None:
        plane = PixelPlane(focal_px=self.focal_px, shear_px=self.shear_px, centre_px=self.centre_px)
        rotation, position = checked_pose(self.rotation, self.position)
        for name, value in (
            ("size", checked_size(self.size)),
            ("focal_px", plane.focal_px),
            ("centre_px", plane.centre_px),
            ("shear_px", plane.shear_px),
            ("rotation", rotation),
            ("position", position),
            ("lens", self._lens(self.distortion)),
            ("_plane", plane),
        ):
            object.__setattr__(self, name, value)

    def resized(self, size: Size) -> Self:
        """The camera of the same picture at another size; the ratio is taken per axis."""
        size = checked_size(size)
        plane = self._plane.scaled(*ratios(self.size, size))
        return replace(
            self,
            size=size,
            focal_px=plane.focal_px,
            centre_px=plane.centre_px,
            shear_px=plane.shear_px,
        )

    def posed(self, rotation: ArrayLike, position: ArrayLike) -> Self:
        """The same camera with another rotation (3, 3) at another position (3,)."""
        return replace(self, rotation=np.asarray(rotation), position=np.asarray(position))
