"""What a user wishes `model wrap` to do, and whether it can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attachtrans.errors import ArgumentError, OutputExistsError, SourceError
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.tool.wrap_files import check_output, check_packable

if TYPE_CHECKING:
    from attachtrans.models.guess import Limits

STATABLE = (
    "InputBands",
    "OutputBands",
    "Scale",
    "Margin",
    "MultipleOf",
    "MinSize",
    "FixedSize",
    "FixedBatch",
    "ReceptiveField",
    "ModelFormat",
    "Inputs",
    "Output",
    "ImageHeight",
    "ImageWidth",
)
"""Keys of a definition that a user may state instead of having them measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be wrapped, and what the user knows of it.

    output      the .emd or .dlpk to write
    sample      the photo to try the net on; None: a synthetic one
    model_type  None: what the file says
    in_range, out_range     (low, high) or "raw"; None: to be found out
    texts       Licence, Description
    stated      further keys of the definition (`STATABLE`), as JSON values
    preview     where to save a picture of before and after
    overwrite   whether files that are there are replaced
    dry_run     whether nothing is written, but the preview
    """

    weights: Path
    output: Path
    sample: Path | None = None
    model_type: str | None = None
    in_range: Limits | Literal["raw"] | None = None
    out_range: Limits | Literal["raw"] | None = None
    texts: Mapping[str, str]
    stated: Mapping[str, Any]
    preview: Path | None = None
    overwrite: bool = False
    dry_run: bool = False


def check_wish(wish: Wish) -> None:
    """Raise when a wish cannot be granted, before anything is loaded.

    Raises:
        ArgumentError: something in it is not allowed.
        OutputExistsError: a file that would be written is there already.
        SourceError: there are no weights.
        ModelError: weights that cannot be put into a package.
    """
    if not wish.weights.is_file():
        raise SourceError(f"There is no file of weights {wish.weights}.")
    check_output(wish.output, overwrite=wish.overwrite)
    if wish.preview is not None and wish.preview.exists() and not wish.overwrite:
        raise OutputExistsError(f"{wish.preview} is there already: give --overwrite to replace it.")
    if wish.model_type is not None and not _is_wrappable(wish.model_type):
        raise ArgumentError(
            f"--type {wish.model_type}: it must be one of {', '.join(wrappable_types())}."
        )
    unknown = [key for key in wish.stated if key not in STATABLE]
    if unknown:
        raise ArgumentError(f"--key {unknown[0]}: it must be one of {', '.join(STATABLE)}.")
    if "raw" in (wish.in_range, wish.out_range) and None in (wish.in_range, wish.out_range):
        raise ArgumentError(
            "Values that are no pixels cannot be told from a photo: with raw give both "
            "--input-range and --output-range."
        )
    if wish.output.suffix.lower() == ".dlpk":
        check_packable(wish.weights)


def wrappable_types() -> tuple[str, ...]:
    """The model types whose definitions are ours to write."""
    return tuple(name for name in MODEL_TYPES if _is_wrappable(name))


def _is_wrappable(name: str) -> bool:
    known = MODEL_TYPES.get(name)
    return known is not None and not known.follows_releases and not known.runs_code
