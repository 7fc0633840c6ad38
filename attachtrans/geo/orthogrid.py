"""The grid of an ortho: which pixels, how large, from where to where.

The resolution is that of the images: the side of a square that as large an area on the ground fills
as a pixel does, on the median over the image. The mean would be that of the horizon. Origins are
snapped to whole pixels, so that the orthos of a project lie on one lattice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, HorizonError
from attachtrans.geo.frame import horizontal, read_crs, transform
from attachtrans.geo.view import Georef, Grid
from attachtrans.types import Size

Floats = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top)"""

_LINES = 65
"""Columns, and rows, of the lattice over an image on which its ground is looked for."""
_SAMPLES = 33
"""Columns, and rows, of pixels that are measured."""
_EDGE = 256
"""Points per edge of an image."""
_PARTS, _ROUNDS = 32, 4
"""Parts of a span that are looked at together, and how often at most: then the last pixel of ground
before the sky is known to a millionth of a lattice cell. A thousand rays take hardly longer than
one."""
_CLOSE_PX = 0.1
"""Of the grid: how near is near enough."""
_LEAP = 16.0
"""Steps to the border of all that is shown, from where on nothing more is looked for."""
MOST_PX = 1 << 40
"""More pixels than anybody wants: a resolution in the wrong unit."""


def ortho_grid(
    georefs: Georef | Sequence[Georef],
    *,
    crs: object = None,
    resolution: float | None = None,
    bounds: Bounds | None = None,
    snap: bool = True,
) -> Grid:
    """The grid for an ortho of one image, or for a mosaic of several.

    Args:
        georefs: of the images.
        crs: of the grid, anything that pyproj reads; None: that of the first image.
        resolution: size of a pixel in units of that CRS; None: the finest of the images' own, two
            digits of it.
        bounds: (left, bottom, right, top) in that CRS; None: what the images show of the ground.
        snap: grows the bounds to multiples of the resolution. Else left and top stay.

    Raises:
        HorizonError: an image shows no ground (within its far limit, on its elevation model).
        ArgumentError: no images; a resolution or bounds that make no grid.
        CrsError: the CRS cannot be read.
    """
    images = list(georefs) if isinstance(georefs, Sequence) else [georefs]
    if not images:
        raise ArgumentError("a grid is made for one or more images; none is given")
    target = horizontal(read_crs(images[0].crs if crs is None else crs))
    if resolution is None:
        resolution = _two_digits(min(ground_resolution(one, target) for one in images))
    if not (np.isfinite(resolution) and resolution > 0.0):
        raise ArgumentError(f"resolution is a positive number of map units, not {resolution}")
    if bounds is None:
        bounds = _union([_shown(one, target, resolution) for one in images], target)
    left, bottom, right, top = _snapped(bounds, resolution) if snap else bounds
    if not (np.isfinite(bounds).all() and left < right and bottom < top):
        raise ArgumentError(f"bounds are (left, bottom, right, top), not {bounds}")
    # A hair less: what is a multiple but for rounding gets no further pixel.
    across, down = (
        max(1.0, np.ceil(length / resolution - 1e-6)) for length in (right - left, top - bottom)
    )
    if across * down > MOST_PX:
        raise ArgumentError(
            f"a resolution of {resolution} ({target.axis_info[0].unit_name}) makes {across:.0f} x "
            f"{down:.0f} pixels; give a larger one, or bounds"
        )
    return Grid(
        (resolution, 0.0, left, 0.0, -resolution, top), Size(int(across), int(down)), target
    )


def ground_resolution(georef: Georef, crs: CRS) -> float:
    """Side of a square as large as the median pixel on the ground, in units of a CRS.

    Raises:
        HorizonError: no ground is shown.
    """
    width, height = georef.size
    cols, rows = (
        np.linspace(0.0, length - 1.0, min(_SAMPLES, length)) for length in (width, height)
    )
    first = np.stack([np.tile(cols, rows.size), np.repeat(rows, cols.size)])
    steps = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = _on_map(georef, crs, (first[:, None] + steps[:, :, None]).reshape(2, -1))
    here, right, below = np.moveaxis(found.reshape(2, 3, -1), 1, 0)
    across, down = right - here, below - here
    area = np.abs(across[0] * down[1] - across[1] * down[0])
    area = area[np.isfinite(area) & (area > 0.0)]
    if not area.size:
        raise HorizonError(_NOTHING)
    return float(np.sqrt(np.median(area)))


_NOTHING = (
    "the image shows no ground: it is sky, beyond the far limit, or off the elevation model; "
    "another ground or a larger far limit may help"
)


def _on_map(georef: Georef, crs: CRS, pixels: Floats) -> Floats:
    """(2, N) pixels in a CRS; longitudes run on beyond 180 degrees instead of jumping."""
    return _moved(georef, crs, georef.pixel_to_map(pixels))


def _moved(georef: Georef, crs: CRS, places: Floats) -> Floats:
    """(2, N) places of an image likewise."""
    found = transform(horizontal(georef.crs), crs, places)
    if crs.is_geographic and np.isfinite(found[0]).any():
        start = found[0, np.isfinite(found[0])][0]
        found[0] = start + (found[0] - start + 180.0) % 360.0 - 180.0
    return found


def _shown(georef: Georef, crs: CRS, resolution: float) -> Bounds:
    """What an image shows of the ground, in a CRS.

    Raises:
        HorizonError: nothing.
    """
    size = np.array(georef.size, dtype=np.float64)[:, None]
    along = np.linspace(0.0, 1.0, _EDGE)
    zero, one = np.zeros(_EDGE), np.ones(_EDGE)
    edges = np.concatenate([[along, zero], [along, one], [zero, along], [one, along]], axis=1)
    lines = np.linspace(0.0, 1.0, _LINES)
    lattice = np.stack(np.meshgrid(lines, lines)) * size[:, :, None]
    pixels = np.concatenate([lattice.reshape(2, -1), edges * size], axis=1)
    places = georef.pixel_to_map(pixels)
    inner = places[:, : _LINES**2].reshape(lattice.shape)
    last = _last_ground(georef, crs, lattice, inner, _CLOSE_PX * resolution)
    found = _moved(georef, crs, np.concatenate([places, last], axis=1))
    found = found[:, np.isfinite(found[0])]
    if not found.size:
        raise HorizonError(_NOTHING)
    (left, bottom), (right, top) = found.min(axis=1), found.max(axis=1)
    return float(left), float(bottom), float(right), float(top)


def _last_ground(georef: Georef, crs: CRS, lattice: Floats, places: Floats, close: float) -> Floats:
    """(2, N) places of an image where the ground ends between neighbours of a lattice.

    The nearer to the border of all that is shown, the more exactly: inside it makes no difference.

    Args:
        georef: of the image.
        crs: in which places are compared.
        lattice: (2, rows, cols) pixels.
        places: (2, rows, cols) what they show, nan where it is no ground.
        close: units of that CRS from the very last ground are near enough.
    """
    last, beyond, place = _ends(lattice, places)
    shares = (np.arange(1, _PARTS) / _PARTS)[:, None]
    inner, rest = places[:, np.isfinite(places[0])], np.arange(place.shape[1])
    reached = place.copy()
    # How far the next part would lead; towards the horizon that grows beyond all bounds, but not
    # from a step that is short.
    step = np.full(rest.size, np.inf)
    for _ in range(_ROUNDS):
        if not rest.size:
            break
        span = beyond - last
        between = last[:, None] + shares * span[:, None]
        found = georef.pixel_to_map(between.reshape(2, -1)).reshape(2, _PARTS - 1, -1)
        # How many places from the start show ground without a gap.
        shown = np.logical_and.accumulate(np.isfinite(found[0])).sum(axis=0)
        found = np.concatenate([place[:, None], found], axis=1)
        before, place = (
            np.take_along_axis(found, number[None, None], axis=1)[:, 0]
            for number in (np.maximum(shown - 1, 0), shown)
        )
        reached[:, rest] = place
        moved = _moved(georef, crs, np.concatenate([before, place, inner], axis=1))
        came, to = moved[:, : rest.size], moved[:, rest.size : 2 * rest.size]
        step = np.where(shown > 0, np.abs(to - came).max(axis=0), step / _PARTS)
        low, high = np.fmin.reduce(moved, axis=1), np.fmax.reduce(moved, axis=1)
        far = np.minimum(to - low[:, None], high[:, None] - to)
        last = last + span * (shown / _PARTS)
        beyond = last + span / _PARTS
        more = (step >= close) & (far < _LEAP * step).any(axis=0)
        rest, step = rest[more], step[more]
        last, beyond, place = last[:, more], beyond[:, more], place[:, more]
    return reached


def _ends(lattice: Floats, places: Floats) -> tuple[Floats, Floats, Floats]:
    """Neighbours of a lattice of which one shows ground and the other does not.

    Returns:
        (2, N) pixels with ground, (2, N) pixels without, (2, N) places of the former.
    """
    pairs, known = [], np.isfinite(places[0])
    for here, there in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        for on, off in ((here, there), (there, here)):
            ends = known[on] & ~known[off]
            three = lattice[:, *on], lattice[:, *off], places[:, *on]
            pairs.append(np.stack([one[:, ends] for one in three]))
    last, beyond, place = np.concatenate(pairs, axis=2)
    return last, beyond, place


def _union(bounds: list[Bounds], crs: CRS) -> Bounds:
    sides = np.array(bounds)
    if crs.is_geographic:
        # All on the side of the antimeridian on which the first one is.
        turns = np.round((sides[:, 0] - sides[0, 0]) / 360.0)
        sides[:, ::2] -= 360.0 * turns[:, None]
    left, bottom = sides[:, :2].min(axis=0)
    right, top = sides[:, 2:].max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def _snapped(bounds: Bounds, resolution: float) -> Bounds:
    low = np.floor(np.array(bounds[:2]) / resolution + 1e-6) * resolution
    high = np.ceil(np.array(bounds[2:]) / resolution - 1e-6) * resolution
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _two_digits(value: float) -> float:
    """Rounded to two significant digits: 0.1137 -> 0.11."""
    return float(f"{value:.1e}")
