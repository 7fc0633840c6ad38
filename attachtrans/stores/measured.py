"""Reading vector files where M values do not matter.

pyogrio has no M and warns for each layer that has it (its documentation, "Known issues"): a
reader that wants only names, fields, extents or the x and y of polygons loses nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measures_aside() -> Iterator[None]:
    """Within it, that a layer has measures is no warning; not for readers that copy geometries."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Measured")
        yield
