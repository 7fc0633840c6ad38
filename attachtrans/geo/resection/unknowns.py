"""What a resection may change about a camera, and what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import Camera, FisheyeCamera, PerspectiveCamera, TurnedCamera

Floats = NDArray[np.float64]


class Part(StrEnum):
    """A part of a camera that may be free.

    ROTATION  three small turns about the camera's own axes (right, down, forward), radians
    POSITION  x, y, z in the world, metres
    FOCAL     the logarithm of one factor of both focal lengths
    """

    ROTATION = "rotation"
    POSITION = "position"
    FOCAL = "focal"


COUNTS = {Part.ROTATION: 3, Part.POSITION: 3, Part.FOCAL: 1}
"""Numbers per part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Standard deviations of the starting camera, None where nothing is known.

    A part that has one may be free with fewer points: what these do not say, the start does.

    rotation_deg  about each of its axes
    xy_m, z_m     of its position
    focal         of its focal length, relative: 0.03 for 3 percent
    """

    rotation_deg: float | None = None
    xy_m: float | None = None
    z_m: float | None = None
    focal: float | None = None

    def __post_init__(self) -> None:
        for name in ("rotation_deg", "xy_m", "z_m", "focal"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise ArgumentError(f"the prior's {name} is above 0 or None, not {value}")

    def weights(self, parts: tuple[Part, ...]) -> Floats:
        """(unknowns,) 1/sigma in the order of the parts; 0 where nothing is known."""
        sigmas = {
            Part.ROTATION: [_radians(self.rotation_deg)] * 3,
            Part.POSITION: [self.xy_m, self.xy_m, self.z_m],
            Part.FOCAL: [self.focal],
        }
        known = [sigma for part in parts for sigma in sigmas[part]]
        return np.array([0.0 if sigma is None else 1.0 / sigma for sigma in known])


def checked_parts(free: Iterable[str]) -> tuple[Part, ...]:
    """The parts named, in the order of `Part`.

    Raises:
        ArgumentError: none, or an unknown one.
    """
    wanted = {free} if isinstance(free, str) else set(free)
    unknown = wanted - set(Part)
    if unknown or not wanted:
        raise ArgumentError(
            f"free is some of {', '.join(Part)}, not {', '.join(sorted(unknown)) or 'nothing'}"
        )
    return tuple(part for part in Part if part in wanted)


class Stand(NamedTuple):
    """What is sought: how the camera is turned, where it stands, its focal lengths' factor."""

    rotation: Floats
    position: Floats
    zoom: float = 1.0

    @classmethod
    def of(cls, camera: Camera) -> Stand:
        """Of a camera as it is."""
        return cls(camera.rotation, camera.position)

    def moved(self, parts: tuple[Part, ...], step: Floats) -> Stand:
        """Changed by a step (unknowns,) of the free parts."""
        rotation, position, zoom = self
        begin = 0
        for part in parts:
            change = step[begin : begin + COUNTS[part]]
            begin += COUNTS[part]
            if part is Part.ROTATION:
                rotation = rotation @ turned(change)
            elif part is Part.POSITION:
                position = position + change
            else:
                zoom *= float(np.exp(change[0]))
        return Stand(rotation, position, zoom)

    def to(self, other: Stand, parts: tuple[Part, ...]) -> Floats:
        """(unknowns,) the step that leads to another."""
        steps = {
            Part.ROTATION: cv2.Rodrigues(self.rotation.T @ other.rotation)[0].ravel(),
            Part.POSITION: other.position - self.position,
            Part.FOCAL: np.log([other.zoom / self.zoom]),
        }
        return np.concatenate([steps[part] for part in parts])

    def camera(self, lens: Camera) -> Camera:
        """A camera that stands so."""
        camera = lens if self.zoom == 1.0 else zoomed(lens, self.zoom)
        return camera.posed(self.rotation, self.position)


def turned(angles_rad: Floats) -> Floats:
    """(3, 3) rotation about the axis that a vector (3,) points along, by its length."""
    return np.asarray(cv2.Rodrigues(angles_rad)[0], dtype=np.float64)


def zoomed(camera: Camera, factor: float) -> Camera:
    """The camera with focal lengths and shear times a factor.

    Raises:
        ArgumentError: the camera has no focal length.
    """
    if isinstance(camera, TurnedCamera):
        return replace(camera, upright=zoomed(camera.upright, factor))
    lens = _with_lens(camera)
    return replace(
        lens,
        focal_px=(lens.focal_px[0] * factor, lens.focal_px[1] * factor),
        shear_px=(lens.shear_px[0] * factor, lens.shear_px[1] * factor),
    )


def _with_lens(camera: Camera) -> PerspectiveCamera | FisheyeCamera:
    inner = camera.upright if isinstance(camera, TurnedCamera) else camera
    if not isinstance(inner, PerspectiveCamera | FisheyeCamera):
        raise ArgumentError("a panorama has no focal length to fit; leave 'focal' out of free")
    return inner


def _radians(degrees: float | None) -> float | None:
    return None if degrees is None else float(np.deg2rad(degrees))
