"""The cells of a grid that a mask chooses, as polygons along their edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.footprint.outline import areas_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]


def cells_area(mask: NDArray[np.bool_], transform: PixelToMap | Sequence[float]) -> MultiPolygon:
    """The chosen cells, others among them left out as holes; exactly along the cells' edges.

    Args:
        mask: (height, width) True where a cell is chosen.
        transform: (a, b, c, d, e, f) of the cells' outer corners.

    Raises:
        ArgumentError: the mask is not two-dimensional.
    """
    cells = np.asarray(mask, dtype=np.bool_)
    if cells.ndim != 2:
        raise ArgumentError(f"a mask is an array (height, width), not one of shape {cells.shape}")
    faces = np.array(_faces(cells), dtype=object)
    inside = shapely.point_on_surface(faces)
    cols, rows = shapely.get_x(inside).astype(np.intp), shapely.get_y(inside).astype(np.intp)
    grid = PixelToMap.read(transform)

    def to_map(corners: Floats) -> Floats:
        return grid.to_map(corners.T).T

    area = areas_of(shapely.transform(MultiPolygon(list(faces[cells[rows, cols]])), to_map))
    return MultiPolygon(shapely.get_parts(area).tolist())


def _faces(cells: Flags) -> list[Polygon]:
    """What the edges between chosen and other cells enclose, in pixels from the outer corner."""
    padded = np.pad(cells, 1)
    level = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (height + 1, width): edges along rows
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]  # (height, width + 1)
    # Straight edges run through nodes that no edge across them ends at.
    across = np.pad(upright, ((1, 0), (0, 0))) | np.pad(upright, ((0, 1), (0, 0)))
    along = np.pad(level, ((0, 0), (1, 0))) | np.pad(level, ((0, 0), (0, 1)))
    y, x0, x1 = _runs(level, across)
    x, y0, y1 = _runs(upright.T, along.T)
    begins = np.concatenate([np.stack([x0, y], axis=1), np.stack([x, y0], axis=1)])
    ends = np.concatenate([np.stack([x1, y], axis=1), np.stack([x, y1], axis=1)])
    lines = np.asarray(
        shapely.linestrings(np.stack([begins, ends], axis=1).astype(np.float64)), dtype=object
    )
    return list(shapely.get_parts(shapely.polygonize(lines)))


def _runs(edges: Flags, nodes: Flags) -> tuple[Ints, Ints, Ints]:
    """Row, begin and end of runs of unit edges, cut at nodes (one column more)."""
    begins = edges & (nodes[:, :-1] | ~np.pad(edges, ((0, 0), (1, 0)))[:, :-1])
    ends = edges & (nodes[:, 1:] | ~np.pad(edges, ((0, 0), (0, 1)))[:, 1:])
    row, begin = np.nonzero(begins)
    return row, begin, np.nonzero(ends)[1] + 1
