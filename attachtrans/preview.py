"""Footprints on a map, as a picture to look at. Needs the extra `preview` (matplotlib)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.footprint import Footprint
from attachtrans.geo.frame import LocalFrame, horizontal, transform, unit_m
from attachtrans.geo.ground import DemGround
from attachtrans.geo.view import CameraView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Relief = Callable[[CRS, Floats, float], DemGround]
"""(CRS of the map, its middle, metres from there to its edges) -> the ground there."""

_COLOURS = ("#0b6e99", "#b5532a", "#3f7d3a", "#7a4a9c", "#a8861b", "#a03468", "#4d5a63")
_INCHES, _DPI = 9.0, 150
_MARGIN = 0.06
_ARROW = 0.07
"""Of the map's width: the length of a viewing direction."""
_BAR = 0.25
"""Of the map's width: about how long the scale is."""

_SUN_DEG = (315.0, 45.0)
"""Azimuth and height of the light on the ground: from where maps have it."""
_SHADED_PX = 1500


class _Eye(NamedTuple):
    """Where a camera stands on the map, and the map's direction that it looks in."""

    xy: Floats
    towards: Floats


def draw_footprints(
    footprints: Mapping[str, Footprint],
    path: str | Path,
    *,
    cameras: Mapping[str, CameraView] | None = None,
    relief: Relief | None = None,
) -> None:
    """Writes a map of footprints, the first one's place and north up, as PNG.

    The map is in metres: in the first footprint's CRS where that is true to scale, else in a
    frame about it.

    Args:
        footprints: by name; at least one.
        path: of the PNG.
        cameras: by the same names; their places and viewing directions are drawn.
        relief: the ground, which is drawn shaded under them; left out where it has no heights.

    Raises:
        ArgumentError: no footprints, or matplotlib is not installed.
    """
    if not footprints:
        raise ArgumentError("there are no footprints to draw")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ArgumentError(
            "a preview is drawn by matplotlib: pip install 'attachtrans[preview]'"
        ) from error
    crs = _map_crs(next(iter(footprints.values())))
    shapes = {name: one.to_crs(crs).geometry for name, one in footprints.items()}
    eyes = {name: _eye(view, crs) for name, view in (cameras or {}).items()}
    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    _frame(axes, shapes, eyes, unit_m(crs))
    if relief is not None:
        _draw_relief(axes, relief, crs)
    for colour, (name, shape) in zip(_cycle(len(shapes)), shapes.items(), strict=True):
        _draw_area(axes, shape, colour)
        _draw_name(axes, shape, name, colour)
        if name in eyes:
            _draw_eye(axes, eyes[name], colour)
    _draw_scale(axes, unit_m(crs))
    axes.set_title(crs.name, fontsize=8, loc="right")
    figure.savefig(path, format="png")


def _map_crs(footprint: Footprint) -> CRS:
    """Projected and true to scale: the footprint's own CRS, or the frame it was made in."""
    for crs in (footprint.crs, footprint.frame):
        shape = footprint.to_crs(crs).geometry
        here = np.array(shape.centroid.coords[0])
        frame = LocalFrame.at(crs, here)
        if frame.crs == horizontal(crs):
            return frame.crs
    return frame.crs


def _eye(view: CameraView, crs: CRS) -> _Eye:
    """The viewing direction's length is that of its level part."""
    place, forward = view.eye.position, view.eye.rotation[:, 2]
    ends = np.stack([place[:2], place[:2] + forward[:2]], axis=1)
    here, there = transform(view.world.crs, crs, ends).T
    return _Eye(here, there - here)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]


def _frame(
    axes: Axes, shapes: Mapping[str, Polygon | MultiPolygon], eyes: Mapping[str, _Eye], unit: float
) -> None:
    """Square limits about everything, and grid lines with coordinates."""
    everything = [*shapes.values(), *(shapely.Point(eye.xy) for eye in eyes.values())]
    west, south, east, north = shapely.total_bounds(np.array(everything, dtype=object))
    half = 0.5 * max(east - west, north - south, 1.0 / unit) * (1.0 + 2.0 * _MARGIN)
    x, y = 0.5 * (west + east), 0.5 * (south + north)
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y - half, y + half)
    axes.set_aspect("equal")
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.tick_params(labelsize=7, color="0.6")
    axes.grid(color="0.85", linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_relief(axes: Axes, relief: Relief, crs: CRS) -> None:
    from matplotlib.colors import LightSource
    from matplotlib.transforms import Affine2D

    limits = axes.get_xlim(), axes.get_ylim()
    middle = np.array([0.5 * sum(limits[0]), 0.5 * sum(limits[1])])
    try:
        ground = relief(crs, middle, 0.5 * (limits[0][1] - limits[0][0]))
    except GeorefError:  # a map without it is one as well
        return
    grid, heights = ground.grid, ground.surface.heights
    step = -(-max(heights.shape) // _SHADED_PX)
    heights = heights[::step, ::step]
    across, down = step * np.hypot(*grid.linear)
    light = LightSource(*_SUN_DEG).hillshade(heights, dx=across, dy=down)
    place = Affine2D.from_values(grid.a, grid.d, grid.b, grid.e, grid.c, grid.f)
    axes.imshow(
        np.where(np.isfinite(heights), light, np.nan),
        cmap="Greys_r",
        alpha=0.5,
        extent=(0, heights.shape[1] * step, heights.shape[0] * step, 0),
        transform=place + axes.transData,
        vmin=0.0,
        vmax=1.0,
        zorder=0,
    )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _draw_area(axes: Axes, shape: Polygon | MultiPolygon, colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    rings = [
        Outline(np.asarray(ring.coords)[:, :2], closed=True)
        for part in shapely.get_parts(shape)
        for ring in (part.exterior, *part.interiors)
    ]
    outline = Outline.make_compound_path(*rings)
    axes.add_patch(PathPatch(outline, facecolor=colour, edgecolor="none", alpha=0.18))
    axes.add_patch(PathPatch(outline, facecolor="none", edgecolor=colour, linewidth=1.2))


def _draw_name(axes: Axes, shape: Polygon | MultiPolygon, name: str, colour: str) -> None:
    place = shape.representative_point()
    axes.annotate(
        name,
        (place.x, place.y),
        ha="center",
        va="center",
        fontsize=7,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
    )


def _draw_eye(axes: Axes, eye: _Eye, colour: str) -> None:
    """A dot, and an arrow as long as the direction is level."""
    west, east = axes.get_xlim()
    axes.plot(*eye.xy, "o", color=colour, markersize=4, markeredgecolor="white")
    x, y = eye.xy
    dx, dy = eye.towards * _ARROW * (east - west)
    arrow = {"arrowstyle": "->", "color": colour, "lw": 1.4}
    axes.annotate("", xy=(x + dx, y + dy), xytext=(x, y), arrowprops=arrow)


def _draw_scale(axes: Axes, unit: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten metres, in the lower left corner."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    wish = _BAR * (east - west) * unit
    power = 10.0 ** np.floor(np.log10(wish))
    metres = power * max(step for step in (1.0, 2.0, 5.0) if step * power <= wish)
    x, y = west + 0.04 * (east - west), south + 0.04 * (north - south)
    axes.plot([x, x + metres / unit], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    text = f"{metres / 1000:g} km" if metres >= 1000.0 else f"{metres:g} m"
    axes.annotate(text, (x, y), xytext=(0, 4), textcoords="offset points", fontsize=8)
