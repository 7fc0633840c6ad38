"""Which bands of a raster a net gets, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attachtrans.errors import ArgumentError
from attachtrans.stores.raster.base import Raster

_NUMBERED = re.compile(r"(?:band[ _]?)?0*(\d{1,6})", re.IGNORECASE)
"""3, "3", and "Band_3" as Esri names it."""
_UNKNOWN = {"", "u", "o", "unknown", "other", "undefined"}
"""Names by which definitions say that they do not know a band."""
_ALIASES = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "grey": "gray",
    "nearinfrared": "nir",
    "near infrared": "nir",
    "panchromatic": "pan",
}


def data_bands(raster: Raster) -> tuple[int, ...]:
    """The numbers (from 1) of the bands that are not transparency."""
    return tuple(band for band, colour in enumerate(raster.colours, start=1) if colour != "alpha")


def choose_bands(
    raster: Raster,
    wanted: str | Sequence[str | int] | None = None,
    *,
    count: int | None = None,
    names: Sequence[str] | None = None,
) -> tuple[int, ...]:
    """The numbers (from 1) of the bands for a net, in its order.

    Args:
        raster: whose bands they are.
        wanted: "3,2,1", "red,green,blue" or the same as a sequence: numbers, names of bands, or
            the colours that they show; None: as the model has it.
        count: how many the model takes, None for all.
        names: what the model calls its bands (its definition's Bands); where the raster has them
            all, each once, they are taken, else its first ones.

    Returns:
        As many as are wanted. Without a wish fewer than `count` where the raster has fewer.

    Raises:
        ArgumentError: there is no such band, or several; another number than `count`.
    """
    if wanted is None:
        return _of_model(raster, count, names)
    words = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    chosen = tuple(_number(raster, str(word).strip()) for word in words)
    if count is not None and len(chosen) != count:
        raise ArgumentError(
            f"--bands names {len(chosen)} bands and the model takes {count}: name {count} of "
            f"{_listed(raster)}"
        )
    return chosen


def _of_model(raster: Raster, count: int | None, names: Sequence[str] | None) -> tuple[int, ...]:
    data = data_bands(raster)
    if names and (count is None or len(names) == count):
        found = [_named(raster, name) for name in names]
        numbers = tuple(bands[0] for bands in found if len(bands) == 1)
        if len(set(numbers)) == len(names) and not any(map(_is_unknown, names)):
            return numbers
    return data if count is None else data[:count]


def _number(raster: Raster, word: str) -> int:
    """A band by what the user calls it; a name goes before a number."""
    bands = _named(raster, word)
    numbered = _NUMBERED.fullmatch(word)
    if not bands and numbered and 1 <= int(numbered[1]) <= raster.bands:
        bands = [int(numbered[1])]
    if len(bands) == 1:
        return bands[0]
    problem = f"{len(bands)} of its bands are called {word!r}" if bands else f"no band {word!r}"
    raise ArgumentError(f"--bands: {raster.name} has {problem}: it has {_listed(raster)}")


def _named(raster: Raster, word: str) -> list[int]:
    """The bands of a name; where there are none, those that show such a colour."""
    wanted = _plain(word)
    names = [_plain(name or "") for name in raster.names]
    colours = [_plain(colour) for colour in raster.colours]
    if wanted in _UNKNOWN:
        return []
    for words in (names, colours):
        if wanted in words:
            return [band for band, name in enumerate(words, start=1) if name == wanted]
    return []


def _plain(word: str) -> str:
    text = word.strip().casefold()
    return _ALIASES.get(text, text)


def _is_unknown(name: str) -> bool:
    return _plain(name) in _UNKNOWN


def _listed(raster: Raster) -> str:
    """The bands as a person reads them: "1 (red), 2 (green), 3 (nir)"."""
    shown = []
    for band, (name, colour) in enumerate(zip(raster.names, raster.colours, strict=True), start=1):
        word = name or (colour if colour != "undefined" else "")
        shown.append(f"{band} ({word})" if word else str(band))
    return ", ".join(shown)
