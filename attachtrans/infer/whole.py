"""Translating one image that is in memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from attachtrans.errors import InferenceError
from attachtrans.infer.adaptive import AdaptiveEngine
from attachtrans.infer.delivery import Translated
from attachtrans.infer.engine import Engine
from attachtrans.models.translator import AdaptiveTranslator, Translator


def translate_array(
    translator: Translator,
    array: NDArray[Any],
    *,
    tile_size: int | None = None,
    padding: int | None = None,
    batch_size: int | None = None,
    seams: str = "blend",
) -> NDArray[Any]:
    """Translate an image (bands, height, width) in source units and give it in target units.

    tile_size, padding and batch_size as in `Engine`; it runs on the translator's device, in the
    precision that it was loaded with, which is fp32 when none was asked for.

    The result is (out_bands, height * scale, width * scale) in the input's data type where the
    values fit, else float32. seams is "blend" (neighbouring tiles fade into each other; nets with a
    bounded receptive field have no seams anyway) or "exact" (as one pass over the whole image).
    Raises ArgumentError, and InferenceError when the net fails on this image.
    """
    if isinstance(translator, AdaptiveTranslator):
        adaptive = AdaptiveEngine[int](translator)
        ((_, result),) = adaptive.submit(0, array)
        return _array(result)
    engine = Engine[int](
        translator,
        tile_size=tile_size,
        padding=padding,
        batch_size=batch_size,
        device=translator.device,
        precision="fp32",
        seams=seams,
    )
    ((_, result),) = (*engine.submit(0, array), *engine.flush())
    return _array(result)


def _array(result: Translated | InferenceError) -> NDArray[Any]:
    if isinstance(result, InferenceError):
        raise result
    return result.array
