from __future__ import annotations

import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.models.dynamicunet import DynamicUNet, SelfAttention, UNetPlan, read_unet
from attachtrans.models.resnet import ResNetPlan
from tests.models.arcgis_nets import BACKBONES, SMALL, listed, normed, reach_of, seeded

torch.set_num_threads(1)

LISTINGS = {
    f"pix2pix_{name}_3band_256": UNetPlan(encoder=BACKBONES[name], bands_out=3, batch_norm=True)
    for name in ("resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2")
} | {
    f"sr_unet_{name}_rgb_{size}_attn{attention}": UNetPlan(
        encoder=BACKBONES[name], bands_out=3, batch_norm=False, attention=bool(attention)
    )
    for name, size, attention in (
        ("resnet18", 256, 0),
        ("resnet18", 256, 1),
        ("resnet34", 250, 1),
        ("resnet34", 256, 0),
        ("resnet34", 256, 1),
        ("resnet50", 256, 0),
        ("resnet50", 256, 1),
    )
}


def small(**keys):
    return UNetPlan(**{"encoder": SMALL, "bands_out": 3, "batch_norm": False, **keys})


@pytest.mark.parametrize("name", LISTINGS)
def test_full_size_listings_load(shared, name):
    prefix = "G." if name.startswith("pix2pix") else ""
    state = listed(shared / "arcgis" / "specs" / f"{name}.json", prefix)
    assert read_unet(state, what="The listing")[1] == LISTINGS[name]


@pytest.mark.slow
@pytest.mark.parametrize("encoder", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_backbone_is_read_from_its_weights(encoder, batch_norm):
    plan = small(encoder=encoder, batch_norm=batch_norm, bands_out=5, attention=not batch_norm)
    with torch.device("meta"):
        net = DynamicUNet(plan)
    assert read_unet(normed(net.state_dict()), what="The weights")[1] == plan


@pytest.mark.parametrize(
    ("batch_norm", "attention"), [(False, False), (False, True), (True, False)]
)
@pytest.mark.parametrize("resized", [False, True])
def test_what_is_saved_is_what_is_read(batch_norm, attention, resized):
    plan = small(batch_norm=batch_norm, attention=attention, resized=resized)
    net = seeded(DynamicUNet(plan))
    pixels = torch.rand(2, 3, 64, 32)
    saved = normed(net.state_dict())
    read, found = read_unet(saved, what="The weights")
    assert found == plan
    with torch.inference_mode():
        out = read(pixels)
        assert out.shape == (2, 3, 64, 32)
        assert torch.equal(out, read(pixels))
        assert not torch.allclose(out, net(pixels))  # g is half as large again as |v|
    for name, value in net.state_dict().items():
        if f"{name}_g" in saved:
            value.mul_(1.5)
        elif f"{name}_orig" in saved:
            value.div_(value.mean() * value.numel() ** 0.5)
    with torch.inference_mode():
        assert torch.allclose(out, net(pixels), atol=1e-4)


def test_the_last_place_may_be_a_resizing_one():
    for resized, place in ((False, 10), (True, 11)):
        names = DynamicUNet(small(resized=resized)).state_dict()
        assert f"layers.{place}.layers.0.0.weight" in names
        assert f"layers.{place + 1}.0.weight" in names


@pytest.mark.parametrize("size", [(250, 100), (33, 65), (31, 1)])
def test_any_size_runs(size):
    net = seeded(DynamicUNet(small()))
    with torch.inference_mode():
        assert net(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_self_attention_by_its_formula():
    torch.manual_seed(1)
    attention = SelfAttention(16)
    attention.gamma.data.fill_(0.7)
    x = torch.rand(2, 16, 5, 3)
    flat = x.flatten(2)
    likeness = (attention.query(flat).mT @ attention.key(flat)).softmax(dim=1)
    expected = 0.7 * (attention.value(flat) @ likeness).reshape(x.shape) + x
    assert torch.allclose(attention(x), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_reach_is_what_a_spoiled_pixel_shows(batch_norm, bottleneck):
    encoder = ResNetPlan(blocks=(1, 1, 1, 2), bottleneck=bottleneck, stem=4)
    plan = small(encoder=encoder, batch_norm=batch_norm)
    reach = plan.receptive_field_px
    length = -(-(2 * reach + 96) // 64) * 64
    assert reach_of(seeded(DynamicUNet(plan)), 3, 32, length) == reach


def test_attention_sees_all():
    assert small(attention=True).receptive_field_px is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers.0.0.weight"), "missing"),
        (lambda s: s.pop("layers.11.0.weight_v"), "belong together"),
        (lambda s: s.update({"layers.5.bn.weight": torch.zeros(1)}), "do not fit"),
        (lambda s: s.update({"layers.13.weight": torch.zeros(1)}), "do not fit"),
        (lambda s: s.update({"layers.0.4.1.conv1.weight": torch.zeros(1)}), "do not fit"),
        (dict.clear, "missing"),
    ],
)
def test_weights_of_other_nets(change, message):
    state = normed(DynamicUNet(small()).state_dict())
    change(state)
    with pytest.raises(ModelError, match=message):
        read_unet(state, what="The weights")
