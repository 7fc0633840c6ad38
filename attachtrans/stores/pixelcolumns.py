"""Attributes of photos that are measured in pixels: they follow a photo that becomes larger.

Esri's oriented imagery has them: CameraOrientation strings with affine terms, and A0 to B2 as
columns of their own. `geo.carriers` knows what scales how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attachtrans.errors import GeorefError
from attachtrans.geo.carriers import scale_oriented_imagery_row
from attachtrans.image.arrays import turned
from attachtrans.image.probe import probe
from attachtrans.stores.geopackage import read_schema, reading
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.types import Draft, Size

_STRINGS = frozenset({"cameraorientation", "camori"})
_AFFINE = ("a0", "a1", "a2", "b0", "b1", "b2")
_OF_CAMERAS = _STRINGS | {
    *("cameraheading", "camheading", "camerapitch", "campitch", "omega", "matrix"),
    *("focallength", "horizontalfieldofview", "hfov"),
}


def pixel_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns among these that are measured in pixels.

    A0 to B2 count where all six are there, and something else that speaks of a camera.
    """
    known = {name.lower(): name for name in names}
    found = [known[key] for key in known if key in _STRINGS]
    if known.keys() >= set(_AFFINE) and known.keys() & _OF_CAMERAS:
        found += [known[key] for key in _AFFINE]
    return tuple(found)


def layer_pixel_columns(path: Path, tables: Iterable[PhotoTable]) -> tuple[str, ...]:
    """Those of the layers of a GeoPackage that photos hang on. Raises SourceError."""
    layers = dict.fromkeys(layer for table in tables for layer in table.layers)
    if not layers:
        return ()
    with reading(path) as connection:
        schema = read_schema(connection, path)
    found = [table for name in layers if (table := schema.table(name)) is not None]
    per_layer = (pixel_columns(column.name for column in table.columns) for table in found)
    return tuple(dict.fromkeys(name for names in per_layer for name in names))


def stored_sizes(draft: Draft) -> tuple[Size, Size]:
    """The photo's and the result's sizes as their files have them, before they are turned."""
    orientation = probe(draft.data).orientation
    return turned(draft.size_in, orientation), turned(draft.size_out, orientation)


def scaled_columns(
    row: Mapping[str, Any], columns: Sequence[str], before: Size, after: Size
) -> dict[str, Any]:
    """The values of `columns` (see `pixel_columns`) of a row for a photo of another size.

    Raises:
        GeorefError: they are not what Esri says they are.
    """
    values = {name: row[name] for name in columns if row.get(name) is not None}
    texts = [name for name, value in values.items() if isinstance(value, bytes)]
    if texts:
        raise GeorefError(f"{texts[0]} is no text")
    return scale_oriented_imagery_row(values, before, after)


def kept_note(columns: Sequence[str]) -> str:
    """What to say where such columns stay as they are, though the photos become larger."""
    return (
        f"{', '.join(columns)} still speak of the photos' original size in pixels; the features of "
        "--geometry footprint have them rescaled"
    )
