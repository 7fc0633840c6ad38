from __future__ import annotations

import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.models.resnet import ResNetPlan, encoder, read_plan
from tests.models.arcgis_nets import BACKBONES, reach_of, seeded

torch.set_num_threads(1)

# Of the published classifiers, less their last layer: 512 or 2048 times 1000 weights, 1000 biases.
PARAMETERS = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
    "resnet152": 60_192_808 - 2_049_000,
    "resnext50_32x4d": 25_028_904 - 2_049_000,
    "wide_resnet50_2": 68_883_240 - 2_049_000,
}


def on_meta(plan):
    with torch.device("meta"):
        return encoder(plan)


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_sizes(name):
    net = on_meta(BACKBONES[name])
    assert sum(value.numel() for value in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("plan", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("bands", [1, 3, 8])
def test_sizes_are_read_from_the_weights(plan, bands):
    plan = ResNetPlan(
        blocks=plan.blocks,
        bottleneck=plan.bottleneck,
        bands=bands,
        stem=32,
        groups=plan.groups,
        widening=plan.widening,
    )
    assert read_plan(on_meta(plan).state_dict()) == plan


@pytest.mark.slow
@pytest.mark.parametrize("bottleneck", [False, True])
def test_channels_and_extents(bottleneck):
    plan = ResNetPlan(blocks=(1, 2, 1, 1), bottleneck=bottleneck, stem=4, groups=2, widening=2)
    parts = list(seeded(encoder(plan)))
    pixels = torch.rand(1, 3, 64, 96)
    found = []
    for index, part in enumerate(parts):
        pixels = part(pixels)
        if index in (2, 4, 5, 6, 7):
            found.append(pixels.shape[1:])
    assert found == [
        (channels, 64 // step, 96 // step)
        for channels, step in zip(plan.channels, (2, 4, 8, 16, 32), strict=True)
    ]
    assert [extent.step for extent in plan.extents()] == [2, 4, 8, 16, 32]
    reach = plan.extents()[-1].reach_px
    back = torch.nn.Sequential(*parts, torch.nn.Upsample(scale_factor=32))
    assert reach_of(back, 3, 32, 1024) == reach + 31  # nearest: the last of 32 sees as the first


def state_of(**sizes):
    return on_meta(ResNetPlan(blocks=(1, 1, 1, 1), bottleneck=True, stem=4, **sizes)).state_dict()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"0\.weight is missing"),
        ({"0.weight": torch.zeros(4, 3)}, "has the shape"),
        ({"0.weight": torch.zeros(4, 0, 7, 7)}, "has the shape"),
        ({"0.weight": torch.zeros(4, 3, 7, 7)}, "stages"),
        ({**state_of(), "0.weight": torch.zeros(3, 3, 7, 7)}, "no known ResNet"),
        ({**state_of(), "4.0.conv2.weight": torch.zeros(4, 3, 3, 3)}, "no known ResNet"),
    ],
)
def test_weights_of_other_nets(state, message):
    with pytest.raises(ModelError, match=message):
        read_plan(state)
