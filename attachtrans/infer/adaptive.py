"""Running translators whose facts depend on the image, one image at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from attachtrans.errors import InferenceError
from attachtrans.infer.delivery import Translated
from attachtrans.infer.engine import Engine
from attachtrans.infer.faults import failure
from attachtrans.models.translator import AdaptiveTranslator

K = TypeVar("K", bound=Hashable)


class AdaptiveEngine(Generic[K]):
    """Lets a translator adapt to each image and runs the result over it; driven as `Engine` is.

    on_pixels, stop     as for `Engine`
    """

    def __init__(
        self,
        translator: AdaptiveTranslator,
        *,
        on_pixels: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._translator = translator
        self._report = on_pixels or (lambda _pixels: None)
        self._stop = stop or threading.Event()

    def submit(self, key: K, array: NDArray[Any]) -> list[tuple[K, Translated | InferenceError]]:
        """Translate an opaque image (bands, height, width), here and now.

        Gives nothing when stopped, and an InferenceError as the result of an image that failed.
        Raises ModelError when the translator gives up.
        """
        return self._submit(key, array, None)

    def submit_masked(
        self, key: K, array: NDArray[Any], mask: NDArray[Any]
    ) -> list[tuple[K, Translated | InferenceError]]:
        """As `submit`, an image that is transparent where `mask` (height, width) is 0."""
        return self._submit(key, array, mask)

    def flush(self) -> list[tuple[K, Translated | InferenceError]]:
        """Nothing: every image is finished when it has been submitted."""
        return []

    def _submit(
        self, key: K, array: NDArray[Any], mask: NDArray[Any] | None
    ) -> list[tuple[K, Translated | InferenceError]]:
        if self._stop.is_set():
            return []
        try:
            adapted = self._translator.adapted(array, mask, self._stop)
        except InferenceError as error:
            self._report(array.shape[1] * array.shape[2])
            return [(key, failure(error))]
        engine = Engine[K](
            adapted,
            device=adapted.device,
            precision="fp32",
            on_pixels=self._report,
            stop=self._stop,
        )
        results = [*engine.submit(key, array), *engine.flush()]
        # Stopping ends a tile in the middle, which is no fault of the image.
        return [] if self._stop.is_set() else results
