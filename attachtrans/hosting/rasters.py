"""What a raster function is told of rasters, and what it says of its own: infos, configuration.

Photos have no place on the map here: x is the column and y the row, downwards and so negative; the
cell size is 1, and the spatial reference 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from attachtrans.errors import ModelError
from attachtrans.hosting.statistics import BandStatistics
from attachtrans.hosting.wire import PIXEL_TYPES

MAX_EDGE_PX = 1 << 14
"""Largest block and padding that a function may ask for."""
MAX_BANDS = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterInfo:
    """A raster: bands, a type of `PIXEL_TYPES`, its size in pixels, and the space it fills.

    span    (width, height) in map units
    statistics  of each band, or of none
    """

    bands: int
    pixel_type: str
    size: tuple[int, int]
    span: tuple[float, float]
    no_data: float | None = None
    statistics: tuple[BandStatistics, ...] = ()

    @property
    def cell_size(self) -> tuple[float, float]:
        """Width and height of a pixel, in map units."""
        return self.span[0] / self.size[0], self.span[1] / self.size[1]

    def to_json(self) -> dict[str, Any]:
        """The info as `updateRasterInfo` gets it."""
        width, height = (float(edge) for edge in self.span)
        extent = (0.0, -height, width, 0.0)
        return {
            "bandCount": self.bands,
            "pixelType": self.pixel_type,
            "noData": self.no_data,
            "cellSize": self.cell_size,
            "extent": extent,
            "nativeExtent": extent,
            "spatialReference": 0,
            "nativeSpatialReference": 0,
            "geodataXform": "",
            "colormap": (),
            "rasterAttributeTable": (),
            "origin": (0.0, 0.0),
            "bandSelection": False,
            "histogram": (),
            "statistics": tuple(one.to_json() for one in self.statistics),
        }

    def props(self) -> dict[str, Any]:
        """The properties of an output raster as `updatePixels` gets them."""
        info = self.to_json()
        shared = ("extent", "pixelType", "spatialReference", "cellSize", "noData")
        return {
            **{key: info[key] for key in shared},
            "width": self.size[0],
            "height": self.size[1],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What `getConfiguration` asks for; sizes in pixels.

    block       (width, height) of a block without padding, None = any
    padding     pixels around a block that the function gets besides
    extract_bands   indices of the bands that it gets, None = all
    data_range  (low, high) that full scale is mapped to before; None: values come as they are
    composite   all rasters come together as one as well, under the name "compositeraster"
    """

    block: tuple[int, int] | None
    padding: int
    extract_bands: tuple[int, ...] | None
    data_range: tuple[float, float] | None
    composite: bool

    @classmethod
    def read(cls, values: object) -> Configuration:
        """The configuration that a worker reports. Keys that decide nothing here are ignored.

        Raises:
            ModelError: a value that its key cannot have.
        """
        if not isinstance(values, dict):
            raise ModelError(f"getConfiguration gave {values!r:.80}: it must give a dict.")
        width, height = (_whole(values, key, least=1, most=MAX_EDGE_PX) for key in ("tx", "ty"))
        extract = values.get("extractBands")
        bands = None
        if extract:
            listed = extract if isinstance(extract, list) else [extract]
            bands = tuple(
                _whole({"extractBands": one}, "extractBands", least=0, most=MAX_BANDS) or 0
                for one in listed
            )
        return cls(
            block=(width, height) if width and height else None,
            padding=_whole(values, "padding", least=0, most=MAX_EDGE_PX) or 0,
            extract_bands=bands,
            data_range=_range(values.get("dataRange")),
            composite=bool(values.get("compositeRasters")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputInfo:
    """What `updateRasterInfo` makes of the output.

    enlarge     pixels of the output per pixel of the photo, along an axis
    """

    bands: int
    pixel_type: str
    no_data: float | None
    enlarge: float

    @classmethod
    def read(cls, values: object, prefilled: RasterInfo) -> OutputInfo:
        """The output that a worker reports, after it was told `prefilled`.

        Raises:
            ModelError: a value that its key cannot have, another extent, or pixels that are not
                square.
        """
        before = prefilled.to_json()
        if not isinstance(values, dict):
            raise ModelError(f"updateRasterInfo gave {values!r:.80}: it must give a dict.")
        after = {**before, **values}
        bands = _whole(after, "bandCount", least=1, most=MAX_BANDS)
        if bands is None or after["pixelType"] not in PIXEL_TYPES:
            raise ModelError(
                f"updateRasterInfo gave {after['bandCount']!r:.40} bands of the type "
                f"{after['pixelType']!r:.40}: neither may be missing."
            )
        if _numbers(after["extent"], 4) != list(before["extent"]):
            raise ModelError(
                f"updateRasterInfo changed the extent to {after['extent']!r:.120}: results must "
                "cover the photo, no more and no less."
            )
        cell = _numbers(after["cellSize"], 2)
        if not (cell[0] > 0 and math.isclose(cell[0], cell[1], rel_tol=1e-6)):
            raise ModelError(f"updateRasterInfo gave the cell size {cell}: pixels must be square.")
        return cls(
            bands=bands,
            pixel_type=after["pixelType"],
            no_data=_first(after["noData"]),
            enlarge=before["cellSize"][0] / cell[0],
        )


def _first(value: object) -> float | None:
    """A number, or the first of a list of them (NoData may be given per band); else None."""
    if isinstance(value, list):
        return _first(value[0]) if value else None
    return float(value) if _is_number(value) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _whole(values: Mapping[str, Any], key: str, *, least: int, most: int) -> int | None:
    """A whole number, maybe as text or float; None where the key is absent, None or 0."""
    value = values.get(key)
    if value is None or value == "":
        return None
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        number, whole = math.nan, least
    if number != whole or not least <= whole <= most:
        raise ModelError(
            f"{key} of the function is {value!r:.40}: it must be a whole number from {least} to "
            f"{most}."
        )
    return whole


def _range(value: object) -> tuple[float, float] | None:
    if not value:
        return None
    low, high = _numbers(value, 2)
    if not low < high:
        raise ModelError(f"dataRange of the function is {value!r:.60}: it must be (low, high).")
    return low, high


def _numbers(value: object, count: int) -> list[float]:
    numbers = [float(v) for v in value if _is_number(v)] if isinstance(value, list | tuple) else []
    if len(numbers) != count:
        raise ModelError(f"The function gave {value!r:.80} where {count} numbers are needed.")
    return numbers
