from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attachtrans.errors import InferenceError
from attachtrans.models import cyclegan, dynamicunet, pix2pixhd
from attachtrans.models.dynamicunet import DynamicUNet
from attachtrans.models.stages import with_stages
from attachtrans.models.translator import Moments, Part, Region
from attachtrans.types import Size
from tests.models.arcgis_nets import SMALL, seeded
from tests.models.whole_nets import HD_BATCH_NORM, NETS, spec, translator


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return translator(request.param)


def run(parts: list[Part], image: Tensor, cuts: list[tuple[list[int], list[int]]]) -> Tensor:
    """The parts one after the other, each in the tiles of its cuts."""
    values: dict[int, Tensor] = {0: image}
    moments: dict[int, Moments] = {}
    for number, part in enumerate(parts, start=1):
        whole = torch.empty((1, *part.shape))
        rows, cols = (
            sorted({0, length, *(cut % length for cut in places)})
            for length, places in zip(part.shape[1:], cuts[number % len(cuts)], strict=True)
        )
        for top, bottom in pairwise(rows):
            for left, right in pairwise(cols):
                region = Region(range(top, bottom), range(left, right))

                def read(source: int, wanted: Region, part: Part = part) -> Tensor:
                    assert source in part.reads
                    return values[source][..., *wanted.slices]

                tile = part.compute(region, read, moments)
                assert tile.shape == (1, part.shape.channels, len(region.rows), len(region.cols))
                assert part.scratch_bytes(region) >= tile.nbytes
                whole[..., *region.slices] = tile
        if part.kept:
            values[number] = whole
        if part.counted:
            variance, mean = torch.var_mean(whole.double(), (0, 2, 3), correction=0)
            moments[number] = Moments(mean=mean.float(), variance=variance.float())
    return values[len(parts)]


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.lists(
        st.tuples(*(st.lists(st.integers(0, 10_000), max_size=3) for _ in range(2))),
        min_size=1,
        max_size=4,
    ),
)
@torch.inference_mode()
def test_parts_in_any_tiles_give_what_the_net_gives(net, units, cuts):
    facts = net.spec
    width, height = (
        facts.multiple_of * -(-max(facts.min_size, 8 * n) // facts.multiple_of) for n in units
    )
    if facts.multiple_of == 256:
        width, height = 256, 512
    image = torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(width))
    expected = net(image)
    got = run(list(facts.stages.parts(Size(width, height))), image, cuts)
    span = float(expected.max() - expected.min())
    assert float((got - expected).abs().max()) <= 1e-5 * span


def test_first_layers_are_computed_twice_rather_than_kept():
    """Of a CycleGAN: at full size nothing is kept, and sums replace what was added up."""
    net = cyclegan.generator(3, 64, 9)
    parts = with_stages(spec(multiple_of=4, min_size=8), net).stages.parts(Size(512, 256))
    first, *_, last_counted, last = parts
    assert first.shape == (64, 256, 512)
    assert (first.counted, first.kept, first.reads) == (True, False, (0,))
    assert (last_counted.counted, last_counted.kept) == (True, False)
    assert (last.shape, last.kept, last.counted) == ((3, 256, 512), True, False)
    assert sum(part.shape == (256, 64, 128) and not part.counted for part in parts) == 9
    work = sum(part.work for part in parts)
    assert 740e3 < work / (512 * 256) < 850e3  # multiply-adds per pixel, by hand: 756 thousand


def test_each_costly_layer_is_run_once():
    """Without statistics to gather, too: batch norm nets look far."""
    net = pix2pixhd.LocalEnhancer(HD_BATCH_NORM).eval()
    parts = with_stages(spec(multiple_of=16, min_size=32), net).stages.parts(Size(64, 64))
    assert not any(part.counted for part in parts)
    layers = sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in net.modules())
    assert len(parts) >= layers


def test_label_maps():
    generator = pix2pixhd.GlobalGenerator(
        pix2pixhd.HDPlan(
            bands=4, bands_out=3, features=4, halvings=1, blocks=1, enhancers=0, local_blocks=0,
            batch_norm=False,
        )
    )  # fmt: skip
    net = pix2pixhd.FromLabels(
        seeded(generator), classes=(10.0, 20.0, 30.0, 50.0), channels=4, full_scale=255.0
    )
    facts = with_stages(spec(in_bands=1, multiple_of=2, min_size=8), net)
    labels = torch.tensor([10.0, 20.0, 30.0, 50.0])[torch.arange(16 * 20) % 7 % 4]
    labels = labels.reshape(1, 1, 16, 20)
    with torch.inference_mode():
        parts = list(facts.stages.parts(Size(20, 16)))
        got = run(parts, labels, [([3], [9])])
        torch.testing.assert_close(got, net(labels), rtol=0, atol=1e-5 * 255)
        labels[0, 0, 5, 5] = 11
        with pytest.raises(InferenceError, match="holds the value 11"):
            run(parts, labels, [([3], [9])])


def test_attention_has_no_parts():
    plan = dynamicunet.UNetPlan(
        encoder=SMALL, bands_out=3, batch_norm=False, attention=True, resized=False
    )
    facts = with_stages(spec(multiple_of=32, min_size=32), DynamicUNet(plan).eval())
    assert facts.stages is None
    assert facts.no_stages.startswith("its part SelfAttention uses flatten, which is not known")


def test_a_net_of_another_size_than_stated():
    facts = with_stages(spec(), nn.Conv2d(3, 3, 3).eval())
    assert facts.stages is None
    assert "it gives (3, 14, 14) for (16, 17)" in facts.no_stages.replace("15", "14")
