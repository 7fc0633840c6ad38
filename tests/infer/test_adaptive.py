"""Images through a translator that adapts to each of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from attachtrans.errors import InferenceError, ModelError
from attachtrans.infer.adaptive import AdaptiveEngine
from attachtrans.infer.whole import translate_array
from attachtrans.models.translator import AdaptiveTranslator, TranslatorSpec

CPU = torch.device("cpu")


def spec(bands):
    return TranslatorSpec(
        in_bands=bands,
        out_bands=bands,
        in_range=None,
        out_range=(0, 255),
        margin_px=2,
        fixed_size=(12, 20),
        fixed_batch=1,
        receptive_field_px=2,
    )


@dataclass
class Adding:
    """Adds one per band, and two where the image is transparent."""

    spec: TranslatorSpec = field(default_factory=lambda: spec(3))
    device: torch.device = CPU
    mask: np.ndarray | None = None
    stop: threading.Event | None = None

    def adapted(self, image, mask, stop):
        if image.max() == 99:
            raise InferenceError("not this one")
        if image.max() == 98:
            raise ModelError("no more")
        return Adding(spec=spec(len(image)), mask=mask, stop=stop)

    def __call__(self, batch, positions=None):
        if self.stop is not None and batch.max() == 97:
            self.stop.set()
            raise InferenceError("stopped")
        result = batch[:, :, 2:-2, 2:-2] + batch.shape[1]
        if self.mask is not None:
            ((col, row),) = (positions + 2).tolist()
            part = torch.from_numpy(self.mask[row : row + 16, col : col + 8] == 0)
            result[:, :, : part.shape[0], : part.shape[1]] += 2 * part
        return result


def test_each_image_has_its_own_bands_and_mask():
    assert isinstance(Adding(), AdaptiveTranslator)
    pixels = []
    engine = AdaptiveEngine[str](Adding(), on_pixels=pixels.append)
    for bands in (1, 4):
        image = np.arange(bands * 17 * 31, dtype=np.uint8).reshape(bands, 17, 31) % 90
        ((key, result),) = engine.submit("a", image)
        assert key == "a"
        assert np.array_equal(result.array, image + bands)
        mask = np.eye(17, 31, dtype=np.uint8)
        ((_, result),) = engine.submit_masked("b", image, mask)
        assert np.array_equal(result.array, image + bands + 2 * (mask == 0))
        assert np.array_equal(translate_array(Adding(), image), image + bands)
    assert engine.flush() == []
    assert sum(pixels) == 4 * 17 * 31


def test_an_image_that_fails_is_its_own_result():
    pixels = []
    engine = AdaptiveEngine[int](Adding(), on_pixels=pixels.append)
    ((_, result),) = engine.submit(7, np.full((3, 9, 9), 99, np.uint8))
    assert isinstance(result, InferenceError)
    assert sum(pixels) == 81
    with pytest.raises(InferenceError, match="not this one"):
        translate_array(Adding(), np.full((3, 9, 9), 99, np.uint8))
    with pytest.raises(ModelError, match="no more"):
        engine.submit(8, np.full((3, 9, 9), 98, np.uint8))


def test_stopped_images_are_dropped():
    engine = AdaptiveEngine[int](Adding(), stop=threading.Event())
    assert engine.submit(1, np.full((3, 40, 40), 97, np.uint8)) == []
    assert engine.submit(2, np.zeros((3, 9, 9), np.uint8)) == []
