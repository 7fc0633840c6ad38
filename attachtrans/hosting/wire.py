"""What goes between attachtrans and a worker: messages of JSON and arrays, never pickles.

A message is the length of its header (4 bytes, big-endian), the header (JSON in UTF-8), then the
bytes of its arrays, one after the other. The header says under "arrays" what they are:
[[name, type, shape], ...]. The other side runs code that nobody has read, so everything it says is
checked, sizes before anything is allocated for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

PIXEL_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")
"""Types of pixels by the names that raster functions use: kind and bytes."""

_MAX_HEADER_BYTES = 4 << 20
_MAX_AXES = 3
_LENGTH_BYTES = 4


class WireError(Exception):
    """Something came that is no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A JSON object and arrays by name."""

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def write(stream: IO[bytes], message: Message) -> None:
    """Send a message; its arrays are of `PIXEL_TYPES`, with at most three axes."""
    arrays = {
        name: np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        for name, array in message.arrays.items()
    }
    listed = [[name, pixel_type(array.dtype), array.shape] for name, array in arrays.items()]
    header = json.dumps({**message.header, "arrays": listed}).encode()
    stream.write(len(header).to_bytes(_LENGTH_BYTES, "big") + header)
    for array in arrays.values():
        if array.size:
            stream.write(array.data.cast("B"))
    stream.flush()


def read(stream: IO[bytes], *, limit_bytes: int) -> Message:
    """Receive a message whose arrays are `limit_bytes` long at most, all together.

    Raises:
        EOFError: the other side is gone.
        WireError: what came is no message, or one beyond the limits.
    """
    length = int.from_bytes(_exactly(stream, _LENGTH_BYTES), "big")
    if length > _MAX_HEADER_BYTES:
        raise WireError(f"a header of {length} bytes")
    try:
        header = json.loads(_exactly(stream, length))
    except (ValueError, RecursionError) as error:
        raise WireError(f"a header that is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("a header that is not an object")
    arrays: dict[str, NDArray[Any]] = {}
    left = limit_bytes
    for entry in _listed(header.pop("arrays", None)):
        name, dtype, shape = _declared(entry)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > left:
            raise WireError(f"arrays of more than {limit_bytes} bytes")
        left -= nbytes
        array = np.empty(shape, dtype)
        if array.size:
            _fill(stream, array.data.cast("B"))
        arrays[name] = array
    return Message(header=header, arrays=arrays)


def pixel_type(dtype: np.dtype[Any]) -> str:
    """The name of a type of pixels.

    Raises:
        WireError: none of `PIXEL_TYPES`.
    """
    name = f"{dtype.kind}{dtype.itemsize}"
    if name not in PIXEL_TYPES:
        raise WireError(f"an array of {dtype.name}, which is none of {', '.join(PIXEL_TYPES)}")
    return name


def _listed(entries: object) -> list[Any]:
    if not isinstance(entries, list):
        raise WireError("a header without a list of arrays")
    return entries


def _declared(entry: object) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    """Name, type and shape of an array as a header declares it."""
    if not isinstance(entry, list) or len(entry) != 3:
        raise WireError(f"an array declared as {entry!r:.80}")
    name, kind, shape = entry
    whole = isinstance(shape, list) and all(type(edge) is int and edge >= 0 for edge in shape)
    if not isinstance(name, str) or kind not in PIXEL_TYPES or not whole or len(shape) > _MAX_AXES:
        raise WireError(f"an array declared as {entry!r:.80}")
    return name, np.dtype(f"<{kind}"), tuple(shape)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = bytearray(length)
    _fill(stream, memoryview(content))
    return bytes(content)


def _fill(stream: Any, place: memoryview) -> None:
    done = 0
    while done < len(place):
        count = stream.readinto(place[done:])
        if not count:
            raise EOFError
        done += count
