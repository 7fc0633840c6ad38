"""Esri's interior orientation: film coordinates, affine terms, polynomials and tables.

A point of the picture goes from the camera's axes to film coordinates (photo axes: the film's x
and y, z backwards) and from there, by an affine, to the pixel, whose centre has whole numbers.
The film's x may run in four directions of the picture; which of them, the affine itself says.

Esri does not say in which unit the radius of the polynomials is, nor which way they lead. Taken
is the unit of the focal length (`PoseOptions.radius_unit` for another) and the way from the ideal
to the real picture; a note warns where a corner moves by more than a fifth of its radius.

Sources: Esri, cameras and frames table schemas, oriented imagery table (CameraOrientation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.distortion import BrownDistortion
from attachtrans.types import Size

Floats = NDArray[np.float64]

FILM_SYSTEMS = MappingProxyType(
    {
        1: ((1.0, 0.0), (0.0, 1.0)),
        2: ((0.0, -1.0), (1.0, 0.0)),
        3: ((-1.0, 0.0), (0.0, -1.0)),
        4: ((0.0, 1.0), (-1.0, 0.0)),
    }
)
"""FilmCoordinateSystem -> (2, 2) from film x, y to right and up in the picture.

1 x right, y up  2 x up, y left  3 x left, y down  4 x down, y right
"""
RADIUS_UNITS = ("um", "mm", "focal")
_MUCH = 0.2
"""Of the radius in the corner."""
_TABLE_TERMS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmCamera:
    """An interior orientation in one unit of length.

    size       of the image, pixels
    focal      length
    principal  film coordinates of the principal point
    to_image   (2, 3): film x, y, 1 -> col, row from the CENTRE of the first pixel
    radial     k0, k1, k2, k3 of 1, r2, r4, r6 with r in focal lengths
    tangential p1, p2, likewise
    """

    size: Size
    focal: float
    principal: tuple[float, float] = (0.0, 0.0)
    to_image: Floats
    radial: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)


def lens_and_turn(film: FilmCamera) -> tuple[PerspectiveCamera, Floats]:
    """The camera, at the origin, and (3, 3) from its axes to those of the film.

    A rotation of photo axes x, y (of the film), z that leads to the world becomes one of the
    camera's as `camera_axes(rotation) @ turn`.

    Raises:
        SourceError: the affine mirrors the picture or flattens it.
        ArgumentError: a value that no camera has.
    """
    linear, shift = film.to_image[:, :2], film.to_image[:, 2]
    if np.linalg.det(linear) >= 0.0:
        raise SourceError(
            "the affine terms between film and image mirror the picture: rows run down, film y up; "
            "check their order and AffineDirection"
        )
    # Of the four quarter turns the one after which x runs right and y runs up.
    quarters = [np.array(turn) for turn in FILM_SYSTEMS.values()]
    upright = max(quarters, key=lambda turn: float(np.trace(linear @ turn.T @ np.diag([1, -1]))))
    # From camera axes (x right, y down) in focal lengths to pixels.
    plane = film.focal * linear @ upright.T @ np.diag([1.0, -1.0])
    centre = linear @ np.array(film.principal) + shift
    scale = 1.0 + (film.radial[0] if film.radial else 0.0)
    if scale <= 0.0:
        raise ArgumentError(f"a radial term K0 of {film.radial[0]} turns the picture inside out")
    # P1 belongs to r2 + 2 x2, as a vector along the film's x; OpenCV's order is the other.
    along_x, along_y = np.diag([1.0, -1.0]) @ upright @ np.array(film.tangential) / scale
    camera = PerspectiveCamera(
        film.size,
        focal_px=(scale * plane[0, 0], scale * plane[1, 1]),
        shear_px=(scale * plane[0, 1], scale * plane[1, 0]),
        centre_px=(float(centre[0]), float(centre[1])),
        distortion=BrownDistortion(
            radial=tuple(term / scale for term in film.radial[1:]), tangential=(along_y, along_x)
        ),
        rotation=np.eye(3),
        position=np.zeros(3),
    )
    turn = np.eye(3)
    turn[:2, :2] = np.diag([1.0, -1.0]) @ upright.T @ np.diag([1.0, -1.0])
    return camera, turn


def pixel_affine(size: Size, pixel: tuple[float, float], system: int = 1) -> Floats:
    """(2, 3) film -> image for pixels of a size about the middle of the image.

    Raises:
        SourceError: no such film coordinate system.
    """
    if system not in FILM_SYSTEMS:
        raise SourceError(f"FilmCoordinateSystem {system}: there are 1, 2, 3 and 4")
    linear = np.diag([1.0 / pixel[0], -1.0 / pixel[1]]) @ np.array(FILM_SYSTEMS[system])
    middle = [0.5 * (size.width - 1), 0.5 * (size.height - 1)]
    return np.column_stack([linear, middle])


def affine_to_image(terms: Sequence[float], *, from_image: bool) -> Floats:
    """(2, 3) film -> image from A0, A1, A2, B0, B1, B2, which may lead the other way.

    Raises:
        SourceError: it cannot be turned round.
    """
    a0, a1, a2, b0, b1, b2 = terms
    linear, shift = np.array([[a1, a2], [b1, b2]]), np.array([a0, b0])
    if not np.abs(np.linalg.det(linear)) > 0.0:
        raise SourceError(f"the affine terms {list(terms)} flatten the picture")
    if from_image:
        linear = np.linalg.inv(linear)
        shift = -linear @ shift
    return np.column_stack([linear, shift])


def radius_factor(unit: str, focal_um: float) -> float:
    """Focal lengths per unit of the radius of a polynomial.

    Raises:
        ArgumentError: no such unit.
    """
    factors = {"um": focal_um, "mm": focal_um / 1000.0, "focal": 1.0}
    if unit not in factors:
        raise ArgumentError(f"distortion radius unit {unit!r}: one of {', '.join(RADIUS_UNITS)}")
    return factors[unit]


def in_focal_lengths(
    radial: Sequence[float], tangential: Sequence[float], unit_per_focal: float
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """K0..K3 and P1, P2 of radii in a unit, for radii in focal lengths."""
    k = tuple(term * unit_per_focal ** (2 * power) for power, term in enumerate(radial))
    p1, p2 = (*tangential, 0.0, 0.0)[:2]
    return k, (p1 * unit_per_focal, p2 * unit_per_focal)


def radial_of_table(
    distances: Sequence[float], distortions: Sequence[float], focal: float
) -> tuple[float, ...]:
    """K0..K3, for radii in focal lengths, that go through a table of radial distortions.

    Args:
        distances: from the principal point.
        distortions: by how much a point there is moved outwards.
        focal: length in the same unit.

    Raises:
        SourceError: tables of different length, or of no distance.
    """
    radii, moved = np.array(distances) / focal, np.array(distortions) / focal
    if radii.shape != moved.shape or not (radii > 0.0).any():
        raise SourceError("RadialDistances and RadialDistortions do not belong together")
    terms = min(_TABLE_TERMS, int(np.count_nonzero(radii > 0.0)))
    powers = np.stack([radii ** (2 * power + 1) for power in range(terms)], axis=1)
    scale = np.abs(powers).max(axis=0)
    solved = np.linalg.lstsq(powers / scale, moved, rcond=None)[0] / scale
    return tuple(float(term) for term in solved)


def distortion_warning(camera: PerspectiveCamera) -> str:
    """What to tell where a corner of the picture is moved by a lot, "" where none is."""
    width, height = camera.size
    corners = np.array([[-0.5, width - 0.5, -0.5, width - 0.5], [-0.5, -0.5, *[height - 0.5] * 2]])
    bare = PerspectiveCamera(
        camera.size,
        focal_px=camera.focal_px,
        centre_px=camera.centre_px,
        shear_px=camera.shear_px,
        rotation=np.eye(3),
        position=np.zeros(3),
    )
    radii = [_radius(each.rays(corners)) for each in (bare, camera)]
    share = np.abs(radii[1] / radii[0] - 1.0)
    if np.isfinite(share).all() and share.max() <= _MUCH:
        return ""
    much = "beyond all bounds" if not np.isfinite(share).all() else f"by {share.max():.0%}"
    return (
        f"its lens moves a corner of the picture {much} of the radius: the terms may be for "
        "radii in another unit; name it with --distortion-radius-unit"
    )


def _radius(rays: ArrayLike) -> Floats:
    x, y, z = np.asarray(rays)
    radius: Floats = np.hypot(x, y) / z
    return radius
