"""The quarter of a town that the oblique fixtures show: its surface, metre by metre.

Places are (u, v): metres east and north of CORNER, in UTM. The surface is one height per place, as
a surface model has it: the bilinear one through cells of CELL_M. Walls are the ramps between two
cells, trees are domes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.ground import DemGround
from fixture_parts.scenes import clouds

Floats = NDArray[np.float64]
Area = tuple[float, float, float, float]
"""u from, u to, v from, v to."""

CORNER = 560_900.0, 5_652_700.0
SIDE_M, CELL_M = 200.0, 0.5
SHAPE = int(SIDE_M / CELL_M), int(SIDE_M / CELL_M)
STEP_M = 2.0**-7
"""Heights are rounded to this, which makes the file small."""
PLAZA = 78.0, 98.0, 92.0, 112.0
"""u from, u to, v from, v to; 2 m squares of light and dark stone."""
PLAZA_Z, POND_Z = 212.5, 210.4
POND = 174.0, 106.0, 10.0, 7.0
"""u, v, half axes."""
SIDE_STREET, LOT = 122.0, (114.0, 134.0, 61.0, 75.0)
TARGETS = {
    "T1": (74.0, 72.0),
    "T2": (106.0, 75.0),
    "T3": (60.0, 92.0),
    "T4": (75.0, 96.0),
    "T5": (101.0, 93.0),
    "T6": (128.0, 92.0),
    "T7": (74.0, 116.0),
    "T8": (101.0, 116.5),
}
"""Ground control: crosses of black and white quadrants, TARGET_M wide."""
TARGET_M = 1.6


def within(area: Area, u: Floats, v: Floats) -> NDArray[np.bool_]:
    """Whether places lie in a box."""
    west, east, south, north = area
    return (u > west) & (u < east) & (v > south) & (v < north)


def outside(area: Area, u: Floats, v: Floats) -> Floats:
    """How far places lie from a box; 0 inside."""
    west, east, south, north = area
    across, along = np.maximum(west - u, u - east), np.maximum(south - v, v - north)
    return np.hypot(np.maximum(across, 0.0), np.maximum(along, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """An upright box with a roof.

    area   u from, u to, v from, v to
    eave_m, slope   of the walls above the ground, and of the roof (0: flat)
    ridge  the axis that the ridge runs along, "u" or "v"; "" for a pyramid
    roof, wall   colours
    """

    area: Area
    eave_m: float
    slope: float = 0.75
    ridge: str = "u"
    roof: tuple[float, float, float] = (150.0, 78.0, 58.0)
    wall: tuple[float, float, float] = (226.0, 216.0, 196.0)

    @property
    def middle(self) -> tuple[float, float]:
        """(u, v)."""
        return (self.area[0] + self.area[1]) / 2, (self.area[2] + self.area[3]) / 2

    def roof_m(self, u: Floats, v: Floats) -> Floats:
        """Height of the roof above that of the eaves."""
        west, east, south, north = self.area
        across = np.minimum(u - west, east - u), np.minimum(v - south, north - v)
        run = {"u": across[1], "v": across[0], "": np.minimum(*across)}[self.ridge]
        return self.slope * run


SLATE, RED, BROWN = (92.0, 98.0, 108.0), (168.0, 84.0, 58.0), (126.0, 78.0, 60.0)
BRICK, ROSE, WHITE = (158.0, 96.0, 76.0), (222.0, 190.0, 176.0), (232.0, 228.0, 218.0)
HOUSES = (
    House(area=(40.0, 54.0, 96.0, 106.0), eave_m=5.6, roof=RED),
    House(area=(58.0, 68.0, 101.0, 115.0), eave_m=5.6, ridge="v", roof=BROWN, wall=ROSE),
    House(area=(103.0, 116.0, 98.0, 110.0), eave_m=8.4, slope=0.0, roof=(150, 148, 142)),
    House(area=(130.0, 144.0, 97.0, 107.0), eave_m=5.6, roof=RED, wall=WHITE),
    House(area=(150.0, 160.0, 104.0, 118.0), eave_m=5.6, ridge="v", roof=SLATE),
    House(area=(42.0, 54.0, 120.0, 130.0), eave_m=2.9, slope=0.9, roof=BROWN, wall=WHITE),
    House(area=(82.0, 99.0, 120.0, 130.0), eave_m=7.0, slope=1.1, roof=SLATE, wall=BRICK),
    House(
        area=(76.0, 82.0, 122.0, 128.0), eave_m=16.0, slope=2.2, ridge="", roof=SLATE, wall=BRICK
    ),
    House(area=(132.0, 146.0, 124.0, 134.0), eave_m=5.6, roof=BROWN, wall=ROSE),
    House(area=(58.0, 70.0, 58.0, 68.0), eave_m=5.6, roof=RED, wall=WHITE),
    House(area=(92.0, 104.0, 60.0, 70.0), eave_m=5.6, ridge="v", roof=BROWN),
    House(area=(142.0, 154.0, 58.0, 69.0), eave_m=5.6, roof=SLATE, wall=ROSE),
    House(area=(20.0, 32.0, 98.0, 108.0), eave_m=5.6, ridge="v", roof=SLATE, wall=WHITE),
    House(area=(24.0, 36.0, 58.0, 68.0), eave_m=5.6, roof=RED, wall=ROSE),
    House(
        area=(106.0, 114.0, 134.0, 146.0), eave_m=2.9, slope=0.9, ridge="v", roof=RED, wall=WHITE
    ),
)
CHIMNEYS = ((44.0, 102.5), (61.5, 106.0), (134.0, 103.5), (46.0, 126.5), (66.0, 64.5), (96.0, 66.0))
CARS = (
    *((116.5, 68.0, 0), (119.5, 68.0, 1), (125.5, 68.0, 2), (131.5, 68.0, 3)),
    *((119.0, 126.0, 4), (125.0, 138.0, 0), (119.0, 148.0, 2)),
)
"""u, v, colour; all stand north to south."""
PAINTS = ((172, 30, 34), (228, 230, 232), (34, 58, 112), (64, 66, 70), (196, 164, 40))
HEDGES = (
    *((37.0, 72.0, 117.0, 118.0), (56.0, 57.0, 95.0, 117.0), (146.5, 147.5, 95.0, 122.0)),
    *((72.0, 73.0, 56.0, 70.0), (87.0, 88.0, 57.0, 72.0), (128.0, 162.0, 120.5, 121.5)),
)
HEDGE_M = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A dome of leaves."""

    u: float
    v: float
    radius_m: float
    height_m: float
    tint: float


def road_v(u: Floats) -> Floats:
    """Where the main road's middle runs."""
    return 84.0 + 2.5 * np.sin(u / 31.0 + 0.6)


def terrain(u: Floats, v: Floats) -> Floats:
    """The bare ground: hills in the north-east and north-west, a level plaza, a pond."""

    def hill(place: tuple[float, float], height: float, width: float) -> Floats:
        away = (u - place[0]) ** 2 + (v - place[1]) ** 2
        return height * np.exp(-away / (2 * width**2))

    z = 212.0 + 0.5 * np.sin(u / 17 + 0.3) * np.cos(v / 23) + 0.012 * (u - 100.0)
    z = z + hill((188.0, 196.0), 17.0, 40.0) + hill((4.0, 178.0), 9.0, 30.0)
    z = _blend(z, PLAZA_Z, 1.0 - outside(PLAZA, u, v) / 9.0)
    shore = np.hypot((u - POND[0]) / POND[2], (v - POND[1]) / POND[3])
    return _blend(z, POND_Z, (1.7 - shore) / 0.7)


def _blend(z: Floats, level: float, weight: Floats) -> Floats:
    smooth = np.clip(weight, 0.0, 1.0)
    smooth = smooth * smooth * (3.0 - 2.0 * smooth)
    return z * (1.0 - smooth) + level * smooth


def window(area: Area, step_m: float) -> tuple[slice, slice]:
    """Rows and columns of such a raster that hold a box (u from, u to, v from, v to)."""
    west, east, south, north = area
    count = round(SIDE_M / step_m)
    ends = (SIDE_M - north, SIDE_M - south), (west, east)
    rows, cols = (
        slice(max(0, int(low / step_m)), min(count, int(high / step_m) + 1)) for low, high in ends
    )
    return rows, cols


def around(u: float, v: float, reach_m: float) -> Area:
    """The box about a place."""
    return u - reach_m, u + reach_m, v - reach_m, v + reach_m


@cache
def grid(step_m: float) -> tuple[Floats, Floats]:
    """(u, v) of cells of a raster of the whole quarter, north up."""
    along = (np.arange(round(SIDE_M / step_m)) + 0.5) * step_m
    u, v = np.meshgrid(along, along[::-1])
    return u, v


@cache
def trees() -> tuple[Tree, ...]:
    """Seeded: along the road, in gardens, and a wood on the hill."""
    rng = np.random.default_rng(7)
    found: list[Tree] = []
    while len(found) < 150:
        u, v = rng.uniform(3.0, 197.0, 2)
        wood = np.hypot(u - 186.0, v - 192.0) < 52.0
        if not wood and rng.random() < 0.55:
            continue
        radius = rng.uniform(2.0, 3.6)
        if _is_free(u, v, radius, found, 0.75 if wood else 1.6):
            height = radius * rng.uniform(1.9, 2.6)
            found.append(Tree(u=u, v=v, radius_m=radius, height_m=height, tint=rng.random()))
    return tuple(found)


def _is_free(u: float, v: float, radius: float, others: list[Tree], crowded: float) -> bool:
    """Whether a tree may grow there."""
    in_field = u < 66.0 and v > 136.0
    on_road = abs(v - road_v(np.float64(u))) < 5.0 + radius
    on_street = v > 82.0 and abs(u - SIDE_STREET) < 4.0 + radius
    in_pond = np.hypot((u - POND[0]) / POND[2], (v - POND[1]) / POND[3]) < 1.3
    if in_field or on_road or on_street or in_pond:
        return False
    taken = [house.area for house in HOUSES] + [PLAZA, LOT]
    if any(outside(area, u, v) < radius + 1.0 for area in taken):
        return False
    if any(np.hypot(u - x, v - y) < radius + 3.5 for x, y in TARGETS.values()):
        return False
    return all(np.hypot(u - t.u, v - t.v) > crowded * (radius + t.radius_m) for t in others)


def crowns(step_m: float) -> NDArray[np.int16]:
    """Which tree covers each cell, -1 for none."""
    u, v = grid(step_m)
    found = np.full(u.shape, -1, np.int16)
    for index, tree in enumerate(trees()):
        near = window(around(tree.u, tree.v, tree.radius_m), step_m)
        found[near][np.hypot(u[near] - tree.u, v[near] - tree.v) < tree.radius_m] = index
    return found


def houses(step_m: float) -> NDArray[np.int16]:
    """Which house covers each cell, -1 for none."""
    u, v = grid(step_m)
    found = np.full(u.shape, -1, np.int16)
    for index, house in enumerate(HOUSES):
        found[within(house.area, u, v)] = index
    return found


@cache
def surface() -> NDArray[np.float32]:
    """The surface model, north up."""
    u, v = grid(CELL_M)
    bare = terrain(u, v)
    z = bare.copy()
    leaves = clouds(np.random.default_rng(11), *SHAPE, octaves=8)
    for tree in trees():
        near = window(around(tree.u, tree.v, tree.radius_m), CELL_M)
        away = np.hypot(u[near] - tree.u, v[near] - tree.v) / tree.radius_m
        dome = np.clip(1.0 - away**2, 0.0, None) ** 0.4 * (0.75 + 0.5 * leaves[near])
        z[near] = np.maximum(z[near], bare[near] + tree.height_m * dome)
    for area in HEDGES:
        _raise(z, area, bare + HEDGE_M * (0.85 + 0.3 * leaves))
    for house in HOUSES:
        _raise(z, house.area, ground_of(house) + house.eave_m + house.roof_m(u, v))
    for x, y in CHIMNEYS:
        _raise(z, around(x, y, 0.5), z + 1.5)
    for x, y, _ in CARS:
        _raise(z, (x - 1.0, x + 1.0, y - 2.25, y + 2.25), bare + 0.85)
        _raise(z, (x - 1.0, x + 1.0, y - 1.5, y + 1.0), bare + 1.45)
    return (np.round(z / STEP_M) * STEP_M).astype(np.float32)


def _raise(z: Floats, area: Area, height: Floats) -> None:
    """Set the cells whose centres lie in a box."""
    u, v = grid(CELL_M)
    inside = within(area, u, v)
    z[inside] = height[inside]


@cache
def ground_of(house: House) -> float:
    """The height that a house stands on."""
    return float(terrain(*map(np.float64, house.middle)))


@cache
def ground() -> DemGround:
    """The surface in UTM."""
    west, north = CORNER[0], CORNER[1] + SIDE_M
    return DemGround(surface(), (CELL_M, 0.0, west, 0.0, -CELL_M, north))


@cache
def backdrop() -> DemGround:
    """The country around, out to the horizon: coarse, and sunk under the quarter."""
    step, count = 6.0, 520
    middle = np.array([SIDE_M / 2, SIDE_M / 2])
    along = (np.arange(count) + 0.5 - count / 2) * step
    u, v = np.meshgrid(middle[0] + along, middle[1] - along)
    away = np.hypot(u - middle[0], v - middle[1])
    ridges = cv2.resize(clouds(np.random.default_rng(5), 64, 64, 5), (count, count))
    z = terrain(u, v) + ridges * np.clip((away - 250.0) / 900.0, 0.0, 1.0) * 130.0
    inside = (abs(u - middle[0]) < SIDE_M / 2 - step) & (abs(v - middle[1]) < SIDE_M / 2 - step)
    z = np.where(inside, z - 30.0, z)
    left, top = CORNER[0] + middle[0] - count / 2 * step, CORNER[1] + middle[1] + count / 2 * step
    return DemGround(z.astype(np.float32), (step, 0.0, left, 0.0, -step, top))
