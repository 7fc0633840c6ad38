"""What lies on the ground and on the roofs of the town, before light falls on it. RGB, 0..255."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import cv2
import numpy as np

from fixture_parts import town
from fixture_parts.scenes import Colour, Plane, clouds, texture
from fixture_parts.town import HOUSES, SIDE_M, Area

PAINT_M = 0.1
"""Cells of what is painted."""
SOLAR = {0, 2, 8}
"""Houses with panels on their roofs."""


def grain(name: str, px_per_m: int) -> Plane:
    """A texture, tiled over the quarter's painted cells, as large as that many pixels per metre."""
    edge = round(1024 / px_per_m / PAINT_M)
    tile = cv2.resize(texture(name), (edge, edge), interpolation=cv2.INTER_AREA)
    count = round(SIDE_M / PAINT_M)
    repeats = -(-count // edge)
    return np.tile(tile, (repeats, repeats))[:count, :count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What is painted so far, and what it is painted with: planes of one shape.

    u, v      places
    colour    (height, width, 3), painted on
    patches, speckle   smooth noise in 0..1, the second with finer detail
    grass, gravel      grain about 1
    """

    u: Plane
    v: Plane
    colour: Plane
    patches: Plane
    speckle: Plane
    grass: Plane
    gravel: Plane

    def part(self, area: Area) -> Canvas:
        """The canvas about a box (u from, u to, v from, v to); what is painted on it shows here."""
        near = town.window(area, PAINT_M)
        return Canvas(**{field.name: getattr(self, field.name)[near] for field in fields(self)})

    def paint(self, where: Plane, colour: Plane) -> None:
        """Cover cells, softly where `where` lies between 0 and 1."""
        cover = np.clip(where, 0, 1).astype(np.float32)[..., None]
        self.colour[:] = self.colour * (1 - cover) + cover * colour

    def fill(self, area: Area, colour: Colour, shade: float | Plane = 1.0) -> None:
        """Cover a box."""
        part = self.part(area)
        near = town.window(area, PAINT_M)
        tint = np.broadcast_to(shade, self.u.shape)[near] if np.ndim(shade) else shade
        part.paint(town.within(area, part.u, part.v), tinted(colour, tint))


def tinted(colour: Colour, shade: float | Plane) -> Plane:
    """A colour, lighter and darker."""
    return np.asarray(shade, np.float32)[..., None] * np.float32(colour)


def mixed(first: Colour | Plane, second: Colour | Plane, share: Plane) -> Plane:
    """From the first colour to the second."""
    start = np.float32(first)
    return start + (np.float32(second) - start) * np.asarray(share, np.float32)[..., None]


def meadow() -> Canvas:
    """The canvas to begin with."""
    u, v = (plane.astype(np.float32) for plane in town.grid(PAINT_M))
    rng = np.random.default_rng(3)
    patches, speckle = clouds(rng, *u.shape, 9), clouds(rng, *u.shape, 11)
    grass = grain("grass", 60)
    colour = mixed((92, 122, 56), (158, 150, 92), np.clip(1.7 * patches - 0.45, 0, 1))
    return Canvas(
        u=u,
        v=v,
        colour=colour * (0.55 + 0.45 * grass)[..., None],
        patches=patches,
        speckle=speckle,
        grass=grass,
        gravel=grain("gravel", 90),
    )


@cache
def painted() -> Plane:
    """The unlit colours of ground and roofs, north up, in cells of PAINT_M."""
    canvas = meadow()
    for paint in (_field, _gardens, _pond, _roads, _plaza, _lot, _targets, _leaves, _roofs, _cars):
        paint(canvas)
    return canvas.colour


def _field(whole: Canvas) -> None:
    canvas = whole.part((0.0, 70.0, 130.0, 200.0))
    along = 0.94 * canvas.u + 0.34 * canvas.v
    rows = 0.5 + 0.5 * np.sin(2 * np.pi * along / 1.5 + 0.6 * canvas.patches * np.pi)
    crop = mixed((146, 118, 82), (108, 138, 62), rows)
    inside = np.minimum(64.0 - canvas.u + 3.0 * canvas.patches, canvas.v - 138.0)
    shade = 0.7 + 0.3 * canvas.gravel + 0.2 * canvas.speckle
    canvas.paint(inside / 0.6, crop * shade[..., None])


def _gardens(canvas: Canvas) -> None:
    lawn, path = 0.7 + 0.3 * canvas.grass, 0.75 + 0.25 * canvas.gravel
    for house in HOUSES:
        west, east, south, north = house.area
        canvas.fill((west - 4, east + 4, south - 5, north + 5), (104, 140, 62), lawn)
        canvas.fill((west - 0.8, east + 0.8, south - 0.8, north + 0.8), (190, 178, 156), path)
        middle = house.middle[0]
        road = float(town.road_v(np.float64(middle)))
        ends = (road, south) if south > road else (north, road)
        canvas.fill((middle - 0.9, middle + 0.9, *ends), (190, 178, 156), path)
    for area in town.HEDGES:
        canvas.fill(area, (50, 78, 36), 0.4 + 0.6 * canvas.grass + 0.3 * canvas.speckle)


def _pond(whole: Canvas) -> None:
    u, v, across, along = town.POND
    canvas = whole.part(town.around(u, v, 1.5 * across))
    away = np.hypot((canvas.u - u) / across, (canvas.v - v) / along) + 0.06 * canvas.patches
    water = mixed((110, 122, 104), (52, 84, 104), np.clip((1.0 - away) * 3.0, 0, 1))
    canvas.paint((1.14 - away) / 0.05, tinted((108, 112, 66), 0.6 + 0.4 * canvas.grass))
    canvas.paint((1.0 - away) / 0.02, water * (0.94 + 0.12 * canvas.speckle)[..., None])


def _roads(whole: Canvas) -> None:
    _road(whole.part((117.0, 127.0, 82.0, SIDE_M)), along_u=False)
    _road(whole.part((0.0, SIDE_M, 76.0, 93.0)), along_u=True)
    # The junction: no kerb and no line of the main road there.
    canvas = whole.part((118.0, 126.0, 80.0, 92.0))
    main = canvas.v - town.road_v(canvas.u)
    open_to = (main > 2.8) & (main < 5.0) & (abs(canvas.u - town.SIDE_STREET) < 2.6)
    canvas.paint(open_to, _asphalt(canvas))


def _asphalt(canvas: Canvas) -> Plane:
    return tinted((104, 104, 108), 0.72 + 0.16 * canvas.gravel + 0.2 * canvas.patches)


def _road(canvas: Canvas, *, along_u: bool) -> None:
    away = canvas.v - town.road_v(canvas.u) if along_u else canvas.u - town.SIDE_STREET
    half = 3.3 if along_u else 2.6
    joints = np.minimum(canvas.u % 1.5, canvas.v % 1.5) < 0.1
    slabs = tinted((170, 166, 158), (0.8 + 0.2 * canvas.gravel) * np.where(joints, 0.8, 1.0))
    canvas.paint((half + 1.5 - abs(away)) / 0.1, slabs)
    canvas.paint((half - abs(away)) / 0.1, _asphalt(canvas))
    if not along_u:
        return
    white = tinted((226, 226, 220), 0.75 + 0.3 * canvas.speckle)
    dashes = (canvas.u % 6.0 < 3.0) & (abs(canvas.u - 90.0) > 3.0)
    canvas.paint(np.where(dashes, (0.08 - abs(away)) / 0.08 + 0.5, 0), white)
    canvas.paint((0.07 - abs(abs(away) - 3.0)) / 0.07 + 0.5, white)
    zebra = (abs(canvas.u - 90.0) < 2.0) & (abs(away) < 2.8) & (away % 1.0 < 0.5)
    canvas.paint(zebra, white)


def _plaza(whole: Canvas) -> None:
    area = town.PLAZA
    whole.fill((76.0, 100.0, 86.5, 114.0), (164, 156, 146), 0.8 + 0.2 * whole.gravel)
    canvas = whole.part(area)
    odd = (np.floor((canvas.u - area[0]) / 2) + np.floor((canvas.v - area[2]) / 2)) % 2
    stone = mixed((206, 196, 176), (124, 112, 104), odd)
    inside = town.within(area, canvas.u, canvas.v)
    canvas.paint(inside, stone * (0.84 + 0.16 * canvas.gravel)[..., None])


def _lot(whole: Canvas) -> None:
    west, east, south, north = town.LOT
    asphalt = 0.75 + 0.25 * whole.gravel
    whole.fill(town.LOT, (92, 92, 96), asphalt)
    whole.fill((121.0, 125.0, north, 79.5), (92, 92, 96), asphalt)
    canvas = whole.part((west + 0.5, east - 0.5, south + 4.0, north - 4.0))
    lines = np.minimum((canvas.u - 115.0) % 3.0, 3.0 - (canvas.u - 115.0) % 3.0)
    canvas.paint((0.06 - lines) / 0.06 + 0.5, tinted((222, 222, 218), 0.8 + 0.2 * canvas.speckle))


def _targets(whole: Canvas) -> None:
    half = town.TARGET_M / 2
    for u, v in town.TARGETS.values():
        canvas = whole.part(town.around(u, v, half))
        cross = mixed((236, 236, 232), (28, 28, 30), (canvas.u > u) == (canvas.v > v))
        canvas.paint(town.within(town.around(u, v, half), canvas.u, canvas.v), cross)


def _leaves(canvas: Canvas) -> None:
    index = town.crowns(PAINT_M)
    tints = np.array([tree.tint for tree in town.trees()], np.float32)[np.maximum(index, 0)]
    green = mixed((54, 88, 40), (112, 122, 50), tints)
    shade = 0.35 + 0.55 * canvas.grass + 0.5 * canvas.speckle
    canvas.paint(index >= 0, green * shade[..., None])


def _roofs(whole: Canvas) -> None:
    for index, house in enumerate(HOUSES):
        canvas = whole.part(house.area)
        if house.slope == 0.0:
            tiles = 0.8 + 0.2 * canvas.gravel + 0.2 * canvas.patches
        else:
            up = house.roof_m(canvas.u, canvas.v) / house.slope
            side = canvas.u if house.ridge == "u" else canvas.v
            courses = 0.72 + 0.28 * np.minimum(up % 0.6, 0.35) / 0.35
            columns = 0.86 + 0.14 * np.sign(np.sin(2 * np.pi * side / 0.8))
            tiles = courses * columns * (0.8 + 0.45 * canvas.patches)
            tiles = np.where(up > up.max() - 0.22, 1.25, tiles)
        canvas.paint(town.within(house.area, canvas.u, canvas.v), tinted(house.roof, tiles))
        if index in SOLAR:
            _panels(whole, house)
    for u, v in town.CHIMNEYS:
        whole.fill(town.around(u, v, 0.5), (112, 66, 54))


def _panels(whole: Canvas, house: town.House) -> None:
    """Solar panels on the southern half of a roof."""
    west, east, south, north = house.area
    north = north if house.slope == 0.0 else (south + north) / 2
    area = west + 2.0, east - 2.0, south + 1.4, north - 1.0
    canvas = whole.part(area)
    frames = np.minimum((canvas.u - area[0]) % 1.8, (canvas.v - area[2]) % 1.1) < 0.1
    silicon = tinted((34, 48, 82), 0.9 + 0.3 * canvas.patches)
    panel = mixed(silicon, (150, 156, 166), frames)
    canvas.paint(town.within(area, canvas.u, canvas.v), panel)


def _cars(canvas: Canvas) -> None:
    for u, v, colour in town.CARS:
        canvas.fill((u - 1.0, u + 1.0, v - 2.25, v + 2.25), town.PAINTS[colour])
        for middle in (v - 1.4, v + 0.9):
            canvas.fill((u - 0.9, u + 0.9, middle - 0.3, middle + 0.3), (36, 44, 54))
