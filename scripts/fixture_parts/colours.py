"""The colours of the town as one sees it: in sun and shadow, with walls, and the country around.

Colours belong to places of the surface and not to views of it, so that each photo of a place shows
the same. All is RGB, 0..255.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fixture_parts import town
from fixture_parts.paint import PAINT_M, painted
from fixture_parts.scenes import Plane, texture
from fixture_parts.town import CELL_M, CORNER, HOUSES, SIDE_M, Floats

SUN_AZIMUTH_DEG, SUN_HEIGHT_DEG = 222.0, 41.0
SUNLIGHT, SKYLIGHT = np.float32([0.80, 0.77, 0.70]), np.float32([0.36, 0.40, 0.47])
STOREY_M, BAY_M = 2.8, 2.6
WALL_STEP_M = 1.2
"""Between neighbouring cells of the surface: more is a wall."""
FINE_PX_PER_M = 160
"""Of the grain that only photos from close by show."""
HAZE, HAZE_M = np.float32([196.0, 208.0, 220.0]), 1500.0


def towards_sun() -> Floats:
    """(3,) east, north, up."""
    azimuth, height = np.deg2rad([SUN_AZIMUTH_DEG, SUN_HEIGHT_DEG])
    level = np.cos(height)
    return np.array([np.sin(azimuth) * level, np.cos(azimuth) * level, np.sin(height)])


@cache
def light() -> Plane:
    """Sun and sky on the surface, (rows, cols, 3), in cells of half CELL_M; 1 is white paper."""
    z = town.surface().astype(np.float64)
    east, north = _slope(z, 1) / CELL_M, -_slope(z, 0) / CELL_M
    normal = np.stack([-east, -north, np.ones_like(z)]) / np.sqrt(1 + east**2 + north**2)
    facing = np.clip(np.tensordot(towards_sun(), normal, 1), 0, None).astype(np.float32)
    fine = cv2.resize(z.astype(np.float32), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    size = fine.shape[1], fine.shape[0]
    facing = cv2.resize(facing, size, interpolation=cv2.INTER_LINEAR)
    around = cv2.GaussianBlur(fine, (0, 0), 2.5 / (CELL_M / 2))
    open_sky = 1.0 - np.clip((around - fine) / 9.0, 0.0, 0.55)
    sun = (facing / np.sin(np.deg2rad(SUN_HEIGHT_DEG)) * _lit(fine))[..., None] * SUNLIGHT
    return sun + open_sky[..., None] * SKYLIGHT


def _slope(z: Floats, axis: int) -> Floats:
    """Rise from cell to cell: the smaller one of before and behind, so that walls do not count."""
    step = np.diff(z, axis=axis)
    ends = [(1, 0) if axis == 0 else (0, 0), (0, 0) if axis == 0 else (1, 0)]
    before = np.pad(step, ends, mode="edge")
    behind = np.pad(step, [pair[::-1] for pair in ends], mode="edge")
    return np.where(abs(before) < abs(behind), before, behind)


def _lit(z: Plane) -> Plane:
    """1 in the sun, 0 in a shadow: what rises towards the sun is followed step by step."""
    cell = CELL_M / 2
    east, north, up = towards_sun()
    level = np.hypot(east, north)
    over = np.full_like(z, -9.0)
    for step in range(1, int(24.0 / cell)):
        move = np.float32([[1, 0, step * east / level], [0, 1, -step * north / level]])
        seen = cv2.warpAffine(
            z, move, z.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0.0
        )
        over = np.maximum(over, seen - np.float32(step * cell * up / level) - z)
    return cv2.GaussianBlur(1.0 - np.clip((over - 0.12) / 0.25, 0.0, 1.0), (0, 0), 0.8)


@cache
def lit() -> Plane:
    """`painted` in its light."""
    size = (round(SIDE_M / PAINT_M),) * 2
    return painted() * cv2.resize(light(), size, interpolation=cv2.INTER_LINEAR)


@cache
def walls() -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Between four cells each: whose wall stands there, -1 for none; whether it runs north."""
    z, house = town.surface(), town.houses(CELL_M)
    corners = np.stack([z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]])
    owners = np.stack([house[:-1, :-1], house[:-1, 1:], house[1:, :-1], house[1:, 1:]])
    steep = np.ptp(corners, axis=0) > WALL_STEP_M
    east, south = abs(corners[1] - corners[0]), abs(corners[2] - corners[0])
    return np.where(steep, owners.max(axis=0), -1).astype(np.int16), east > south


def colours(points: Floats, away_m: Floats) -> Plane:
    """Colours of places on the surface.

    Args:
        points: (3, N) UTM.
        away_m: (N,) from the eye: what is close shows finer grain.

    Returns:
        (N, 3).
    """
    u, v = points[0] - CORNER[0], points[1] - CORNER[1]
    found = _sample(lit(), u, v)
    near = np.flatnonzero(away_m < 25.0)
    if near.size:
        fine = _fine_grain(u[near], v[near])
        weight = 0.5 * np.clip(1.0 - away_m[near] / 25.0, 0, 1).astype(np.float32)
        found[near] *= (1.0 + weight * (fine - 1.0))[:, None]
    house, along_v = walls()
    row = np.clip(((SIDE_M - v) / CELL_M - 0.5).astype(int), 0, house.shape[0] - 1)
    col = np.clip((u / CELL_M - 0.5).astype(int), 0, house.shape[1] - 1)
    owner = house[row, col]
    for index in np.unique(owner[owner >= 0]):
        which = np.flatnonzero(owner == index)
        place = u[which], v[which], points[2][which]
        found[which] = _wall(HOUSES[index], place, along_v[row[which], col[which]])
    return found


def _sample(plane: Plane, u: Floats, v: Floats) -> Plane:
    """(N, 3) bilinear, of a raster of the quarter."""
    scale = plane.shape[0] / SIDE_M
    col, row = (u * scale - 0.5).astype(np.float32), ((SIDE_M - v) * scale - 0.5).astype(np.float32)
    width = 4096
    rest = -len(col) % width
    shape = (-1, width)
    maps = (np.pad(part, (0, rest)).reshape(shape) for part in (col, row))
    found = cv2.remap(plane, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, 3)[: len(col)]


@cache
def _fine() -> Plane:
    """Grain without what the painted cells show already."""
    tile = texture("grass")
    coarse = cv2.GaussianBlur(tile, (0, 0), FINE_PX_PER_M * PAINT_M, borderType=cv2.BORDER_REFLECT)
    return tile / coarse


def _fine_grain(u: Floats, v: Floats) -> Plane:
    tile = _fine()
    edge = tile.shape[0]
    return tile[(v * FINE_PX_PER_M).astype(int) % edge, (u * FINE_PX_PER_M).astype(int) % edge]


def _wall(house: town.House, place: tuple[Floats, Floats, Floats], along_v: Plane) -> Plane:
    """(N, 3) plaster, windows and a door, lit as the wall faces."""
    u, v, z = place
    west, east, south, north = house.area
    middle = house.middle
    side = np.where(along_v, v - middle[1], u - middle[0])
    half = np.where(along_v, (north - south) / 2, (east - west) / 2)
    above = z - town.ground_of(house)
    faces = (
        np.where(along_v, np.sign(u - middle[0]), 0),
        np.where(along_v, 0, np.sign(v - middle[1])),
    )
    sun = towards_sun()
    facing = np.clip(faces[0] * sun[0] + faces[1] * sun[1], 0, None)
    shade = 0.95 * facing[:, None] * SUNLIGHT + 0.85 * SKYLIGHT
    bay, storey = (side + BAY_M / 2) % BAY_M - BAY_M / 2, above % STOREY_M
    glazed = (
        (above < house.eave_m // STOREY_M * STOREY_M) & (above > 0.3) & (abs(side) < half - 1.0)
    )
    pane = glazed & (abs(bay) < 0.5) & (storey > 0.95) & (storey < 2.25)
    frame = glazed & (abs(bay) < 0.65) & (storey > 0.8) & (storey < 2.4)
    door = (abs(side) < 0.6) & (above < 2.2) & (faces[1] != 0)
    plinth = above < 0.5
    rough = 0.92 + 0.08 * _fine_grain(side + 40.0, z)
    base = np.float32(house.wall) * rough[:, None]
    for where, colour in (
        (plinth, (120, 116, 112)),
        (frame, (240, 240, 236)),
        (pane, (58, 72, 86)),
        (door, (94, 60, 42)),
    ):
        base = np.where(where[:, None], np.float32(colour), base)
    return (base * shade).astype(np.float32)


def far_colours(points: Floats, away_m: Floats) -> Plane:
    """(N, 3) of the country around: fields and woods in haze."""
    u, v = points[0] - CORNER[0], points[1] - CORNER[1]
    acre = np.sin(u / 61.0 + np.sin(v / 90.0)) + np.sin(v / 47.0 + 1.3 * np.sin(u / 130.0))
    wood = (points[2] > 262.0 + 14.0 * np.sin(u / 53.0) * np.sin(v / 71.0))[:, None]
    field = np.where((acre > 0.4)[:, None], np.float32([168, 160, 104]), np.float32([112, 136, 72]))
    colour = np.where(wood, np.float32([62, 86, 52]), field)
    veil = (1.0 - np.exp(-away_m / HAZE_M))[:, None]
    return (colour * (1 - veil) + HAZE * veil).astype(np.float32)
