from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.infer.blend import ramps
from attachtrans.infer.tiling import Tiling
from attachtrans.types import Size
from tests.infer.nets import spec


@given(
    width=st.integers(1, 900),
    tile=st.integers(8, 300),
    share=st.floats(0, 0.5),
    scale=st.sampled_from([1, 2]),
)
def test_weights_are_positive_and_add_up_to_one(width, tile, share, scale):
    plan = Tiling(tile_size=tile, padding=int(share * tile)).plan(Size(width, 1), spec(scale=scale))
    total = np.zeros(width * scale)
    for span, ramp in zip(plan.columns.spans, ramps(plan.columns), strict=True):
        place = slice(span.out_start, span.out_stop)
        assert (ramp.weight > 0).all()
        np.testing.assert_allclose(ramp.before, total[place], atol=1e-12)
        assert (ramp.before[total[place] == 0] == 0).all()
        total[place] += ramp.weight
    np.testing.assert_allclose(total, 1)


def test_image_borders_do_not_fade():
    plan = Tiling(tile_size=64, padding=16).plan(Size(96, 1), spec())
    first, last = ramps(plan.columns)
    assert len(plan.columns.spans) == 2
    assert (first.weight[:32] == 1).all()
    assert (last.weight[-32:] == 1).all()
    middle = plan.columns.overlap // 2
    np.testing.assert_allclose(last.weight[middle - 1] + last.weight[middle], 1)
    assert (np.diff(first.weight) <= 0).all()
