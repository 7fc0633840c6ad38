from __future__ import annotations

import numpy as np
import pytest

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.whole import translate_array
from tests.infer.nets import Net, identity, nearest, spec

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 50, 70), np.uint8)


def test_translates_one_image():
    result = translate_array(nearest(2), PIXELS, tile_size=32, padding=4, batch_size=3)
    assert result.dtype == np.uint8
    assert (result == PIXELS.repeat(2, axis=1).repeat(2, axis=2)).all()


def test_seams_are_blended_or_exact():
    with pytest.raises(ArgumentError, match=r"'sharp' is unknown: use one of blend, exact"):
        translate_array(identity(), PIXELS, seams="sharp")


def test_a_failing_net_raises():
    def broken(batch):
        raise ValueError(f"no such weather in {len(batch)} tiles")

    with pytest.raises(InferenceError, match="ValueError: no such weather") as caught:
        translate_array(Net(broken, spec()), PIXELS)
    assert isinstance(caught.value.__cause__, ValueError)
