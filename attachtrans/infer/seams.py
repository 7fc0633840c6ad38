"""How visible the borders of tiles are in a result."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.infer.tiling import Axis, Plan

# Lines looked at across each border: enough for a mean, and quick on a photo of any size.
LINES = 512


def seam_ratio(image: NDArray[Any], plan: Plan) -> float | None:
    """Mean absolute step across tile borders over the mean step elsewhere, 1 = nothing to see.

    image: (bands, height, width), the result of the plan. The borders are where tiles begin and
    end (inside the image). None for plans without seams: one tile, or exact ones. Where the rest
    of the image is flat the step is counted in 1/1000 of the image's range.
    """
    if plan.exact or len(plan) == 1:
        return None
    across = [
        _steps(image, plan.columns),
        _steps(image.swapaxes(1, 2), plan.rows),
    ]
    at = np.concatenate([border for border, _ in across])
    elsewhere = np.concatenate([rest for _, rest in across])
    if at.size == 0 or elsewhere.size == 0:
        return None
    floor = (float(image.max()) - float(image.min())) / 1000
    if floor == 0:
        return 1.0
    return float(at.mean() / max(float(elsewhere.mean()), floor))


def _steps(image: NDArray[Any], axis: Axis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean step between neighbouring columns, (at borders, elsewhere), along the last axis."""
    lines = image[:, :: max(image.shape[1] // LINES, 1)].astype(np.float32)
    steps = np.abs(np.diff(lines, axis=2)).mean(axis=(0, 1), dtype=np.float64)
    borders = np.zeros(steps.size, dtype=bool)
    for before, after in pairwise(axis.spans):
        for place in (after.out_start, before.out_stop):
            if 0 < place <= steps.size:
                borders[place - 1] = True
    return steps[borders], steps[~borders]
