"""Several images as one raster: each pixel from the image that shows it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.geo.rectify import Interpolation, Rectifier, lattice
from attachtrans.geo.rectify.mapping import Mapping, Placed
from attachtrans.geo.rectify.picture import Read
from attachtrans.geo.rectify.rectifier import BLOCKS, VALID, check_window
from attachtrans.geo.view import CameraView, Georef, Grid
from attachtrans.types import Window

Pixels = NDArray[Any]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]
Ints = NDArray[np.intp]

Seam = Literal["nearest", "sharpest"]

NO_FRAME = -1
"""Index where no image shows anything."""


class Frame(NamedTuple):
    """One image of a mosaic.

    georef  of it
    read    window of it -> (bands, height, width)
    """

    georef: Georef
    read: Read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mosaic:
    """Images on one grid; where several show a place, one is chosen.

    The choice depends on the place alone, on the mean height of the ground, so that seams are
    smooth lines; the first image wins where two are equal. What an image hides, masks or does not
    reach is left to the others.

    frames         the images, of one type and number of bands
    grid           of the mosaic
    seam           nearest: the image whose camera is nearest; sharpest: the image that has most
                   pixels there
    occlusion, interpolation, antialias, nodata   see `Rectifier`
    level_m        height, instead of the mean one of each image's ground, that the choice is made
                   for: the same for all parts of a mosaic that is made of several
    rectifiers     of the images on the grid, in their order; made where none are given

    Raises:
        ArgumentError: no images; a seam that there is not, or `nearest` without cameras; see
            `Rectifier`.
    """

    frames: Sequence[Frame]
    grid: Grid
    seam: Seam = "nearest"
    occlusion: bool = False
    interpolation: Interpolation = "cubic"
    antialias: bool = True
    nodata: float | None = None
    level_m: float | None = None
    rectifiers: Sequence[Rectifier] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.seam not in get_args(Seam):
            raise ArgumentError(f"seam is one of {', '.join(get_args(Seam))}, not {self.seam!r}")
        if not self.frames:
            raise ArgumentError("a mosaic is made of one or more images; none is given")
        others = {type(frame.georef).__name__ for frame in self.frames} - {CameraView.__name__}
        if self.seam == "nearest" and others:
            raise ArgumentError(
                f"seam: {', '.join(sorted(others))} has no camera that could be nearest; take "
                "'sharpest'"
            )
        if self.rectifiers:
            return
        rectifiers = tuple(
            Rectifier(
                georef=frame.georef,
                grid=self.grid,
                occlusion=self.occlusion,
                interpolation=self.interpolation,
                antialias=self.antialias,
                nodata=self.nodata,
            )
            for frame in self.frames
        )
        object.__setattr__(self, "rectifiers", rectifiers)

    def window(self, window: Window) -> tuple[Pixels, NDArray[np.uint8], NDArray[np.int32]]:
        """A part of the mosaic; the same pixels as of the whole.

        Returns:
            (bands, height, width) in the images' type, the mask (height, width) of 255 and 0, and
            (height, width) the index of the image that each pixel is from, or `NO_FRAME`.

        Raises:
            ArgumentError: a window that reaches out of the grid.
            ImageError: images of different types or numbers of bands.
        """
        check_window(window, self.grid)
        shape = (1, window.height, window.width)
        values: Pixels | None = None
        mask, index = np.zeros(shape, dtype=np.uint8), np.empty(shape, dtype=np.int32)
        for blocks in lattice.pieces(lattice.covering(window), BLOCKS):
            found, chosen = self._blocks(lattice.corners(blocks))
            if values is None:
                values = np.empty((found.shape[-1], *shape[1:]), dtype=found.dtype)
            lattice.paste(found, blocks, values, window)
            lattice.paste((chosen != NO_FRAME) * VALID, blocks, mask, window)
            lattice.paste(chosen, blocks, index, window)
        if values is None:
            raise ArgumentError(f"{window} has no pixels")
        self.rectifiers[0].sampler.fill(values, mask[0] == 0)
        return values, mask[0], index[0]

    def _blocks(self, corners: Ints) -> tuple[Pixels, NDArray[np.int32]]:
        """(N, SIDE, SIDE, bands) of N blocks, and (N, SIDE, SIDE) the images they are from."""
        shape = (corners.shape[1], lattice.SIDE, lattice.SIDE)
        index = np.full(shape, NO_FRAME, dtype=np.int32)
        undecided = np.ones(shape, dtype=np.bool_)
        values: Pixels | None = None
        candidates = self._candidates(corners)
        # Once, unless images have pixels without a value: those are left to the others.
        while chosen := _best(candidates, undecided):
            for number, mine in chosen.items():
                placed = candidates[number].placed
                rectifier = self.rectifiers[number]
                found, known = rectifier.sampler.sample(
                    placed._replace(seen=mine), self.frames[number].read
                )
                if values is None:
                    values = found
                _check_alike(number, found, values)
                values[known], index[known] = found[known], number
                undecided &= ~known
                placed.seen[mine] = False
        if values is None:
            values = self.rectifiers[0].sampler.nothing(shape, self.frames[0].read)
        return values, index

    def _candidates(self, corners: Ints) -> dict[int, _Candidate]:
        """The images that show something of N blocks; no pixel of them is read yet."""
        found = {}
        score = _nearness if self.seam == "nearest" else _sharpness
        for number, rectifier in enumerate(self.rectifiers):
            mapping = rectifier.mapping
            placed = mapping.placed(mapping.paths(corners))
            if placed.seen.any():
                level_m = _mean_height(mapping) if self.level_m is None else self.level_m
                found[number] = _Candidate(placed, score(mapping, corners, level_m))
        return found


class _Candidate(NamedTuple):
    """What an image has to offer for N blocks; merit (N, SIDE, SIDE), the larger the better."""

    placed: Placed
    merit: Singles


def _best(candidates: dict[int, _Candidate], undecided: Flags) -> dict[int, Flags]:
    """Which of the undecided pixels (N, SIDE, SIDE) each image shows best; those with any."""
    best = np.full(undecided.shape, -np.inf, dtype=np.float32)
    winner = np.full(undecided.shape, NO_FRAME, dtype=np.int32)
    for number, (placed, merit) in candidates.items():
        better = undecided & placed.seen & (merit > best)
        best[better], winner[better] = merit[better], number
    return {int(n): winner == n for n in np.unique(winner) if n != NO_FRAME}


def _check_alike(number: int, found: Pixels, values: Pixels) -> None:
    if (values.dtype, values.shape) != (found.dtype, found.shape):
        raise ImageError(
            f"image {number} of the mosaic has {found.shape[-1]} bands of {found.dtype}, others "
            f"have {values.shape[-1]} of {values.dtype}"
        )


def _nearness(mapping: Mapping, corners: Ints, level_m: float) -> Singles:
    """(N, SIDE, SIDE) larger the nearer the camera is to the pixels of blocks."""
    places = mapping.located(corners, lattice.NODES_PX)
    away = mapping.way.distance_m(places.reshape(2, -1), level_m)
    return -lattice.spread(away.reshape(places.shape[1:]))


def _sharpness(mapping: Mapping, corners: Ints, level_m: float) -> Singles:
    """(N, SIDE, SIDE) how many pixels of the image one of the grid's covers."""
    covered = _covered(mapping, corners, lattice.NODES_PX, level_m)
    merit = lattice.spread(covered)
    rough = np.flatnonzero(~np.isfinite(covered).all(axis=1))
    if rough.size:
        exact = _covered(mapping, corners[:, rough], lattice.CENTRES_PX, level_m)
        merit[rough] = np.nan_to_num(exact).reshape(-1, *merit.shape[1:])
    return merit


def _covered(mapping: Mapping, corners: Ints, within_px: Floats, level_m: float) -> Floats:
    """(N, K) pixels of the image per pixel of the grid, at K points of N blocks."""
    z = np.full(corners.shape[1] * within_px.shape[1], level_m)
    seen = []
    for step in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        places = mapping.located(corners, within_px + np.array(step)[:, None])
        seen.append(mapping.way.pixels(places.reshape(2, -1), z))
    across, down = seen[1] - seen[0], seen[2] - seen[0]
    covered: Floats = np.abs(across[0] * down[1] - across[1] * down[0])
    return covered.reshape(corners.shape[1], -1)


def _mean_height(mapping: Mapping) -> float:
    return 0.5 * sum(mapping.limits)
