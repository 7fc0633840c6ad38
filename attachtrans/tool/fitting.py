"""Whether and how a photo's result fits into a file: decided before the net runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.image import EncodeOptions, Photo, needs_format
from attachtrans.infer.ranges import output_dtype
from attachtrans.models.translator import TranslatorSpec

_OVERSHOOT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What is known of the net and of what the user asked for.

    overwrite   results take the place of their photos, so they must keep the file's format
    labels      the net is fed class numbers, not light
    """

    spec: TranslatorSpec
    overwrite: bool
    asked: EncodeOptions
    labels: bool = False

    def objection(self, photo: Photo) -> str | None:
        """A reason not to translate this photo, None when there is none."""
        if self.labels and not _is_grey(photo.pixels):
            return (
                "it is in colour, and this net is fed class numbers in one band (the colours of a "
                "palette are not its numbers): save the label map as a grey image"
            )
        try:
            dtype = output_dtype(photo.pixels.dtype, self.spec)
        except ArgumentError as error:
            return str(error)
        if self.spec.in_range is not None and (reason := beyond_full_scale(photo.pixels)):
            return reason
        fitting = needs_format(photo, dtype, self.spec.out_bands, self.asked)
        if self.overwrite and fitting:
            return (
                f"the result ({self.spec.out_bands} bands of {dtype.name}) does not fit into its "
                f"format; write to a new feature class with --output, where it becomes {fitting}"
            )
        return None

    def options(self, photo: Photo, result: NDArray[np.generic]) -> EncodeOptions:
        """How to encode this result: as asked, or in the format that can hold it."""
        array: NDArray[Any] = result
        fitting = needs_format(photo, array.dtype, len(array), self.asked)
        return EncodeOptions(format=fitting, quality=self.asked.quality) if fitting else self.asked


def _is_grey(pixels: NDArray[Any]) -> bool:
    """Whether all bands (bands, height, width) are the same."""
    return bool((pixels[1:] == pixels[:1]).all())


def beyond_full_scale(pixels: NDArray[Any]) -> str | None:
    """Why floats such as heights or temperatures are no picture for a net that takes 0..1.

    The net would clip them all to white and lose them. What a sharpening net overshoots is let in.
    """
    if pixels.dtype.kind != "f":
        return None
    finite = pixels[np.isfinite(pixels)]
    if not finite.size or (finite.min() >= -_OVERSHOOT and finite.max() <= 1 + _OVERSHOOT):
        return None
    return (
        f"its values go from {finite.min():.6g} to {finite.max():.6g}, and this net takes floats "
        "as 0 (black) to 1 (white): scale the values, or use a net whose InputRange is raw"
    )
