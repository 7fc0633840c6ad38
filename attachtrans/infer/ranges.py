"""From a data type's values to the net's units and back: numbers only.

A data type's full scale is the largest value of an integer type (255, 65535) and 1.0 for floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attachtrans.errors import ArgumentError

if TYPE_CHECKING:
    from attachtrans.models.translator import TranslatorSpec

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Net units = value / divisor + offset."""

    divisor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Value = net units * gain + offset; for integers then rounded half up and clipped.

    dtype  data type of the result, an integer type or float32
    """

    dtype: np.dtype[Any]
    gain: float = 1.0
    offset: float = 0.0

    @property
    def limits(self) -> tuple[int, int] | None:
        """(lowest, highest) value of an integer type; None for floats, which are not clipped."""
        if self.dtype.kind == "f":
            return None
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)


def decoding(dtype: np.dtype[Any], spec: TranslatorSpec) -> Decoding:
    """How this data type's values become the net's input (`spec.in_range`).

    Raises ArgumentError for a data type that holds no pixels (complex, 64-bit integers, bool).
    """
    full = _full_scale(dtype)
    if spec.in_range is None:
        return Decoding()
    low, high = spec.in_range
    return Decoding(divisor=full / (high - low), offset=low)


def encoding(dtype: np.dtype[Any], spec: TranslatorSpec) -> Encoding:
    """How the net's output becomes values for an image that came in this data type.

    The data type is kept when the net's range (`spec.out_range`) belongs to it: because the input
    was scaled too, because the range is 0..1 and meant for pictures, or because the values fit.
    Otherwise, and for floats, the result is float32: values are never wrapped.
    """
    full = _full_scale(dtype)
    span = spec.out_range or spec.usual_range
    if span is None:
        return Encoding(dtype=np.dtype(np.float32))
    low, high = span
    integer = dtype.kind in "iu"
    scaled = spec.in_range is not None or (integer and (low, high) == (0, 1))
    if spec.out_range is not None and scaled:
        gain = full / (high - low)
        kept = np.dtype(dtype.name) if integer else np.dtype(np.float32)
        return Encoding(dtype=kept, gain=gain, offset=-low * gain)
    if integer and np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
        return Encoding(dtype=np.dtype(dtype.name))
    return Encoding(dtype=np.dtype(np.float32))


def output_dtype(dtype: np.dtype[Any], spec: TranslatorSpec) -> np.dtype[Any]:
    """Data type of the result for an image of this data type, known before anything runs."""
    return encoding(dtype, spec).dtype


def _full_scale(dtype: np.dtype[Any]) -> float:
    if dtype.name in FLOATS:
        return 1.0
    if dtype.name in INTEGERS:
        return float(np.iinfo(dtype).max)
    raise ArgumentError(
        f"pixels of data type {dtype.name} cannot be translated: "
        f"convert them to one of {', '.join((*INTEGERS, *FLOATS))}"
    )
