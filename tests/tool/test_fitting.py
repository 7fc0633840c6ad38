"""What is refused before the net runs, and why."""

import io

import numpy as np
import pytest
import tifffile

from attachtrans.image import EncodeOptions, Limits, decode
from attachtrans.models.translator import TranslatorSpec
from attachtrans.tool.fitting import Fitting


def objection(array, in_range):
    target = io.BytesIO()
    tifffile.imwrite(target, array, photometric="minisblack", metadata=None)
    spec = TranslatorSpec(in_bands=1, out_bands=1, in_range=in_range, out_range=in_range)
    fitting = Fitting(spec=spec, overwrite=True, asked=EncodeOptions())
    data = target.getvalue()
    return fitting.objection(decode(data, Limits()))


@pytest.mark.parametrize(("low", "high"), [(148.5, 781.3), (-40.0, 0.5), (0.0, 255.0)])
def test_measurements_are_not_clipped_to_white(low, high):
    heights = np.linspace(low, high, 600, dtype=np.float32).reshape(20, 30)
    reason = objection(heights, (0.0, 1.0))
    assert reason
    assert f"{low:.6g} to {high:.6g}" in reason
    assert "InputRange" in reason
    assert objection(heights, None) is None


@pytest.mark.parametrize("odd", [0.5, np.nan, np.inf])
def test_floats_that_are_pictures_are_taken(odd):
    picture = np.linspace(-0.02, 1.1, 600, dtype=np.float32).reshape(20, 30)
    picture[3, 4] = odd
    assert objection(picture, (0.0, 1.0)) is None


def test_a_float_picture_of_nothing_but_gaps_is_left_to_the_net():
    assert objection(np.full((8, 8), np.nan, np.float32), (0.0, 1.0)) is None
