"""Rendered field scenes for the fixtures: seeded, with texture that super-resolution can sharpen.

Every scene is drawn at twice its size and averaged down, so its edges are smooth as in a photo.
Colours are RGB, images (height, width, 3). The ground and wall textures are the CC0 pictures
"gravel", "grass" and "brick" that scikit-image ships.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
Colour = tuple[float, float, float]
Rng = np.random.Generator

FONT = cv2.FONT_HERSHEY_DUPLEX
OVERSAMPLING = 2


@cache
def texture(name: str) -> Plane:
    """A tileable (1024, 1024) plane with mean 1, mirrored from scikit-image's 512 px picture."""
    plane = getattr(data, name)().astype(np.float32)
    plane = np.block([[plane, plane[:, ::-1]], [plane[::-1], plane[::-1, ::-1]]])
    return plane / plane.mean()


def clouds(rng: Rng, height: int, width: int, octaves: int = 6) -> Plane:
    """Smooth noise in 0..1 with detail at every scale."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        grid = rng.random((2 ** (octave + 1) + 1, 2 ** (octave + 1) + 1), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def sky(rng: Rng, height: int, width: int) -> Plane:
    """A blue gradient, paler downwards, under broken clouds."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue = (1 - down) * np.float32([96, 146, 205]) + down * np.float32([205, 220, 232])
    veil = np.clip(clouds(rng, height, width) * 2 - 0.9, 0, 1)[..., None]
    return blue * (1 - veil) + veil * np.float32([240, 242, 245])


def ground(rng: Rng, size: tuple[int, int], name: str, tint: Colour) -> Plane:
    """A textured plane (width, height) seen under a low angle, hazier towards the horizon."""
    width, height = size
    tile = texture(name)
    edge, shift = tile.shape[0], int(rng.integers(0, 400))
    tile = np.roll(tile, shift, axis=1)
    far = np.float32([[0, 0], [edge, 0], [edge, edge], [0, edge]])
    near = np.float32([[0, 0], [width, 0], [width * 1.9, height], [-width * 0.9, height]])
    warped = cv2.warpPerspective(
        tile,
        cv2.getPerspectiveTransform(far, near),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    haze = np.linspace(0.65, 0, height, dtype=np.float32)[:, None]
    shade = (warped * (1 - haze) + haze) * (0.8 + 0.35 * clouds(rng, height, width))
    return shade[..., None] * np.float32(tint)


def wall(rng: Rng, size: tuple[int, int], tint: Colour) -> Plane:
    """A brick wall (width, height) with patchy tint."""
    width, height = size
    edge = max(width, height)
    bricks = cv2.resize(texture("brick")[:512, :512].T, (edge, edge), interpolation=cv2.INTER_CUBIC)
    patches = 0.85 + 0.3 * clouds(rng, height, width)
    return (bricks[:height, :width] * patches)[..., None] * np.float32(tint)


def outdoors(rng: Rng, size: tuple[int, int], horizon: float) -> Plane:
    """Sky, a ragged line of trees and grass."""
    width, height = size
    row = int(height * horizon)
    canvas = np.concatenate(
        [sky(rng, row, width), ground(rng, (width, height - row), "grass", (104, 126, 62))]
    )
    crown = clouds(rng, height, width, 8)
    top = row - (0.09 + 0.08 * clouds(rng, 1, width, 5)[0]) * height
    rows = np.arange(height, dtype=np.float32)[:, None]
    trees = (rows > top[None] + 30 * crown) & (rows < row + 4)
    leaves = (0.45 + 0.8 * crown)[..., None] * np.float32([58, 84, 48])
    return np.where(trees[..., None], leaves, canvas)


def cylinder(canvas: Plane, rng: Rng, corners: list[tuple[float, float]], tint: Colour) -> None:
    """Paint an upright round body: (left, right) x at the top and the bottom row, lit from left."""
    (x0, x1), (x2, x3), (top, bottom) = corners
    grain = clouds(rng, 64, 256, 7)
    u = np.linspace(-1, 1, 256, dtype=np.float32)
    light = 0.35 + 0.75 * np.clip(np.sqrt(1 - 0.98 * u**2) * (1 - 0.45 * u), 0, None)
    body = light[None] * (0.7 + 0.6 * cv2.resize(grain, (256, 1024)))
    source = np.float32([[0, 0], [256, 0], [256, 1024], [0, 1024]])
    target = np.float32([[x0, top], [x1, top], [x3, bottom], [x2, bottom]])
    matrix = cv2.getPerspectiveTransform(source, target)
    place = (canvas.shape[1], canvas.shape[0])
    painted = cv2.warpPerspective(body, matrix, place, flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.ones_like(body), matrix, place)[..., None]
    canvas *= 1 - cover
    canvas += cover * painted[..., None] * np.float32(tint)


def write(canvas: Plane, text: str, at: tuple[int, int], scale: float) -> None:
    """Dark text with its lower left corner at `at`; OpenCV writes on 8-bit images only."""
    ink = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(ink, text, at, FONT, scale, (255,), max(1, int(scale * 2)), cv2.LINE_AA)
    cover = ink[..., None].astype(np.float32) / 255
    canvas *= 1 - cover
    canvas += cover * np.float32([25, 25, 28])


def plate(canvas: Plane, centre: tuple[float, float], width: float, lines: list[str]) -> None:
    """A white sign with a blue rim, text and an arrow that points up."""
    x, y = centre
    height = width * (0.45 + 0.22 * len(lines))
    corner = (int(x - width / 2), int(y - height / 2)), (int(x + width / 2), int(y + height / 2))
    rim = max(2, int(width / 40))
    cv2.rectangle(canvas, *corner, (238, 238, 230), cv2.FILLED, cv2.LINE_AA)
    cv2.rectangle(canvas, *corner, (24, 60, 140), rim, cv2.LINE_AA)
    for row, line in enumerate(lines):
        (wide, _), _ = cv2.getTextSize(line, FONT, 1, 2)
        scale = 0.82 * width / max(wide, 150)
        at = int(x - wide * scale / 2), int(y - height / 2 + width * (0.26 + 0.24 * row))
        write(canvas, line, at, scale)
    tip, tail = int(y + height / 2 - width * 0.32), int(y + height / 2 - width * 0.06)
    cv2.arrowedLine(
        canvas, (int(x), tail), (int(x), tip), (170, 30, 30), rim + 1, cv2.LINE_AA, 0, 0.4
    )


def sign(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """An asset plate on a post before a brick wall."""
    width, height = size
    row = int(height * 0.8)
    canvas = np.concatenate(
        [
            wall(rng, (width, row), (150, 92, 74)),
            ground(rng, (width, height - row), "gravel", (128, 124, 116)),
        ]
    )
    x = width * rng.uniform(0.4, 0.6)
    half = width * 0.018
    ends = [(x - half, x + half), (x - half, x + half), (height * 0.5, height * 0.9)]
    cylinder(canvas, rng, ends, (150, 152, 156))
    plate(canvas, (x, height * 0.36), width * 0.42, ["ASSET", label])
    return canvas


def pole(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """A utility pole seen from its foot: it narrows upwards and leans out of the vertical."""
    width, height = size
    canvas = outdoors(rng, size, 0.72)
    foot, top = width * rng.uniform(0.38, 0.45), width * rng.uniform(0.5, 0.58)
    arm = height * 0.2
    for offset in (-0.17, -0.1, 0.1, 0.17):
        start = int(top - width * 0.01 + offset * width), int(arm - height * 0.02)
        end = int(width * (1.1 if offset > 0 else -0.1)), int(arm * rng.uniform(0.2, 1.1))
        cv2.line(canvas, start, end, (42, 42, 46), 2, cv2.LINE_AA)
        cv2.ellipse(canvas, (start, (14, 26), 0.0), (196, 204, 210), cv2.FILLED, cv2.LINE_AA)
    beam = np.int32([[top - width * 0.2, arm], [top + width * 0.2, arm - 12]]).reshape(2, 2)
    cv2.line(
        canvas, tuple(beam[0].tolist()), tuple(beam[1].tolist()), (92, 74, 58), 15, cv2.LINE_AA
    )
    ends = [
        (top - width * 0.012, top + width * 0.012),
        (foot - width * 0.045, foot + width * 0.045),
        (height * 0.08, height * 0.97),
    ]
    cylinder(canvas, rng, ends, (142, 118, 92))
    plate(canvas, (foot + width * 0.012, height * 0.72), width * 0.16, [label])
    return canvas


def manhole(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """A cast iron cover in gravel, seen steeply from above."""
    width, height = size
    canvas = ground(rng, (width, height), "gravel", (112, 110, 108))
    centre = np.float32([width * rng.uniform(0.45, 0.55), height * 0.52])
    radius = width * 0.31
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    u, v = (cols - centre[0]) / radius, (rows - centre[1]) / (radius * 0.8)
    r = np.hypot(u, v)
    studs = (np.sin(u * 46) * np.sin(v * 46) > 0.1) & (r < 0.78)
    ribs = ((r > 0.82) & (r < 0.87)) | ((r > 0.94) & (r < 0.97))
    iron = 52 + 46 * studs + 38 * ribs + 26 * clouds(rng, height, width, 8)
    rust = np.clip(clouds(rng, height, width, 7) * 2 - 1, 0, 1)[..., None]
    cover = iron[..., None] * ((1 - rust) + rust * np.float32([1.35, 0.95, 0.7]))
    canvas = np.where((r < 1)[..., None], cover, canvas * np.where(r < 1.04, 0.35, 1)[..., None])
    canvas = np.ascontiguousarray(canvas, np.float32)
    plate(canvas, (float(centre[0]), float(centre[1])), width * 0.2, [label])
    return canvas


def tree(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """A trunk with a numbered tag below a crown of leaves."""
    width, height = size
    canvas = outdoors(rng, size, 0.6)
    x = width * rng.uniform(0.42, 0.58)
    ends = [
        (x - width * 0.045, x + width * 0.05),
        (x - width * 0.085, x + width * 0.085),
        (height * 0.2, height * 0.93),
    ]
    cylinder(canvas, rng, ends, (108, 88, 68))
    for _ in range(2600):
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.36
        at = (
            float(x + np.cos(angle) * away * width),
            float(height * 0.2 + np.sin(angle) * away * height * 0.62),
        )
        leaf = rng.uniform(5, 16), rng.uniform(4, 9)
        light = rng.uniform(0.4, 1.25) * (1.1 - 0.35 * np.sin(angle))
        colour = tuple(float(c) for c in np.float32([74, 118, 46]) * light)
        cv2.ellipse(canvas, (at, leaf, rng.uniform(0, 180)), colour, cv2.FILLED, cv2.LINE_AA)
    plate(canvas, (x, height * 0.64), width * 0.13, [label])
    return canvas


def hydrant(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """A red hydrant before a wall."""
    width, height = size
    row = int(height * 0.74)
    canvas = np.concatenate(
        [
            wall(rng, (width, row), (168, 160, 148)),
            ground(rng, (width, height - row), "gravel", (120, 118, 114)),
        ]
    )
    x = width * rng.uniform(0.42, 0.58)
    red = (196, 44, 36)
    for half, top, bottom in (
        (0.085, 0.34, 0.9),
        (0.11, 0.4, 0.46),
        (0.15, 0.5, 0.6),
        (0.12, 0.86, 0.92),
    ):
        side = width * half
        cylinder(canvas, rng, [(x - side, x + side)] * 2 + [(height * top, height * bottom)], red)
    cap = ((x, height * 0.34), (width * 0.17, height * 0.1), 0.0)
    cv2.ellipse(canvas, cap, (172, 38, 32), cv2.FILLED, cv2.LINE_AA)
    plate(canvas, (x + width * 0.3, height * 0.3), width * 0.2, [label])
    return canvas


def crack(rng: Rng, size: tuple[int, int], label: str) -> Plane:
    """A crack in concrete beside a ruler."""
    width, height = size
    concrete = texture("gravel")[:height, :width]
    concrete = cv2.resize(concrete, (width, height)) * 0.25 + 0.75
    speckle = 0.94 + 0.12 * clouds(rng, height, width, 9)
    canvas = (concrete * speckle)[..., None] * np.float32([168, 164, 156])
    canvas = np.ascontiguousarray(canvas, np.float32)
    steps = rng.normal(0, 7, 160).cumsum() * 0.7
    points = np.stack([np.linspace(0, width, 160), height * 0.4 + steps], axis=1).astype(np.int32)
    for start, end in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        cv2.line(canvas, start, end, (46, 42, 40), int(rng.integers(2, 7)), cv2.LINE_AA)
    top = int(height * 0.74)
    cv2.rectangle(canvas, (0, top), (width, top + int(height * 0.13)), (222, 196, 92), cv2.FILLED)
    for tick in range(0, width, 12):
        length = 34 if tick % 120 == 0 else 16
        cv2.line(canvas, (tick, top), (tick, top + length), (30, 30, 30), 2, cv2.LINE_AA)
        if tick % 120 == 0:
            digits = str(tick // 120)
            write(canvas, digits, (tick + 6, top + 56), 0.9)
    plate(canvas, (width * 0.8, height * 0.2), width * 0.22, [label])
    return canvas


SCENES: dict[str, Callable[[Rng, tuple[int, int], str], Plane]] = {
    "sign": sign,
    "pole": pole,
    "manhole": manhole,
    "tree": tree,
    "hydrant": hydrant,
    "crack": crack,
}


def render(kind: str, seed: int, size: tuple[int, int], label: str) -> Pixels:
    """One scene as (height, width, 3) uint8 RGB; the same arguments give the same pixels."""
    return (render_exact(kind, seed, size, label) + 0.5).astype(np.uint8)


def render_exact(kind: str, seed: int, size: tuple[int, int], label: str) -> Plane:
    """`render` before rounding: (height, width, 3) float32 in 0..255, for deeper photos."""
    width, height = size
    rng = np.random.default_rng(seed)
    canvas = SCENES[kind](rng, (width * OVERSAMPLING, height * OVERSAMPLING), label)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    image = image * (1 - 0.14 * (rows**2 + cols**2))[..., None]
    grain = rng.normal(0, 1.6, image.shape).astype(np.float32)
    return np.clip(image + grain, 0, 255)
