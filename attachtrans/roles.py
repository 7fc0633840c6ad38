"""What the pipeline asks of those it connects: engines, sights, rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attachtrans.image import Encoded, EncodeOptions, Limits, Photo
from attachtrans.types import Item, Placement


class Translated(Protocol):
    """What an engine gives for one photo."""

    @property
    def array(self) -> NDArray[np.generic]: ...

    @property
    def seam_ratio(self) -> float | None: ...


class PhotoEngine(Protocol):
    """A tile engine on one device; used by one thread only."""

    def submit(
        self, key: int, array: NDArray[np.generic]
    ) -> Sequence[tuple[int, Translated | Exception]]:
        """Take a photo in; returns those that are finished by now."""
        ...

    def flush(self) -> Sequence[tuple[int, Translated | Exception]]:
        """Finish everything that was taken in."""
        ...


@runtime_checkable
class MaskingEngine(PhotoEngine, Protocol):
    """An engine that wants to know where a photo is transparent."""

    def submit_masked(
        self, key: int, array: NDArray[np.generic], mask: NDArray[np.generic]
    ) -> Sequence[tuple[int, Translated | Exception]]:
        """As `submit`, a photo that is transparent where `mask` (height, width) is 0."""
        ...


class Sight(Protocol):
    """A photo on the map, from when it is decoded until its result is encoded.

    photo      what the net is fed: the photo itself, or the photo rectified to the map's grid
    objection  a reason not to translate it, None when there is none
    """

    @property
    def photo(self) -> Photo: ...

    @property
    def objection(self) -> str | None: ...

    def encode(self, result: NDArray[np.generic]) -> Encoded | None:
        """The file of a result (bands, height, width) on the map's grid; None: encode the photo."""
        ...

    def place(self, result: NDArray[np.generic]) -> Placement | None:
        """Where the result lies; writes what was asked for beside it (orthos, cameras)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRules:
    """How photos are read and written.

    objection   looks at a decoded photo; a reason not to translate it, or None
    options     how to encode this result (bands, height, width) of this photo
    history     the line that goes into each result's ImageHistory, None for none
    anonymise   drop what may show the original: thumbnails, previews, maker notes
    enlarge     factor by which photos are enlarged before the net sees them
    growth      bytes of result per byte of photo, for the memory budget
    look        finds a photo's place on the map from its item, content and pixels; None: it is of
                no account
    """

    limits: Limits
    objection: Callable[[Photo], str | None]
    options: Callable[[Photo, NDArray[np.generic]], EncodeOptions]
    history: str | None = None
    anonymise: bool = False
    enlarge: float = 1.0
    growth: float = 1.0
    look: Callable[[Item, bytes, Photo], Sight] | None = None
