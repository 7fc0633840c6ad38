from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from attachtrans.errors import InferenceError, ModelError
from attachtrans.infer.whole import translate_array
from attachtrans.models.load import load_model
from attachtrans.models.pix2pixhd import GlobalGenerator, HDPlan, LocalEnhancer, read_generator
from tests.models.arcgis_nets import SMALL_HD, listed, pix2pix_hd, reach_of, seeded
from tests.models.nets import stats

torch.set_num_threads(1)

LABELS = {"label_nc": 5, "mask_map": [0, 7, 20, 41]}


def run(translator, pixels):
    with torch.inference_mode():
        return translator(torch.as_tensor(pixels))


def photo(bands=3, height=64, width=64):
    return torch.randint(0, 256, (1, bands, height, width), dtype=torch.uint8)


def changed(**keys):
    return dataclasses.replace(SMALL_HD, **keys)


def make(plan):
    return (LocalEnhancer if plan.enhancers else GlobalGenerator)(plan)


def test_a_checkpoint_with_its_optimizer(shared, tmp_path):
    folder = shared / "arcgis" / "pix2pixhd_local_rgb"
    (tmp_path / "m.emd").write_bytes((folder / "pix2pixhd_local_rgb.emd").read_bytes())
    (tmp_path / "pix2pixhd_local_rgb.pth").write_bytes((folder / "with_optimizer.pth").read_bytes())
    with np.load(folder / "io.npz") as vectors:
        out = run(load_model(tmp_path / "m.emd", device="cpu"), vectors["p64_tile_in"]).numpy()
        assert np.abs(out - vectors["p64_tile_out"]).max() < 1e-5 * 255


@pytest.mark.parametrize(
    ("name", "enhancers", "local_blocks"),
    [("global", 0, 0), ("local", 1, 3)],
)
def test_full_size_listings_load(shared, name, enhancers, local_blocks):
    state = listed(shared / "arcgis" / "specs" / f"pix2pixhd_{name}_default.json", "G.")
    assert read_generator(state)[1] == HDPlan(
        bands=3,
        bands_out=3,
        features=64,
        halvings=4,
        blocks=9,
        enhancers=enhancers,
        local_blocks=local_blocks,
        batch_norm=False,
    )


VARIANTS = [
    SMALL_HD,
    changed(batch_norm=True),
    changed(enhancers=0, local_blocks=0),
    changed(enhancers=0, local_blocks=0, batch_norm=True),
    changed(enhancers=2, local_blocks=2, blocks=2, features=2),
    changed(bands=5, bands_out=1, halvings=3),
    changed(blocks=0, halvings=1),
    changed(enhancers=0, local_blocks=0, halvings=0),
]


@pytest.mark.parametrize("plan", VARIANTS)
def test_what_is_saved_is_what_is_read(plan):
    net = seeded(make(plan))
    read, found = read_generator(net.state_dict())
    assert found == plan
    pixels = torch.rand(2, plan.bands, plan.min_size, 2 * plan.min_size)
    with torch.inference_mode():
        out = read(pixels)
        assert out.shape == (2, plan.bands_out, *pixels.shape[2:])
        assert torch.equal(out, net(pixels))
        assert out.std() > 0


@pytest.mark.parametrize("plan", [plan for plan in VARIANTS if plan.batch_norm])
def test_the_reach_is_what_a_spoiled_pixel_shows(plan):
    period = plan.multiple_of
    length = -(-(2 * plan.receptive_field_px + 96) // period) * period
    assert (
        reach_of(seeded(make(plan)), 3, period, length, height=plan.min_size)
        == plan.receptive_field_px
    )


def test_spec_of_an_image_model(tmp_path):
    keys = {"NormalizationStats_b": stats(3, -28.0, 9.0), "label_nc": False}
    spec = load_model(pix2pix_hd(tmp_path / "m.emd", **keys), device="cpu").spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 1)
    assert (spec.in_range, spec.out_range) == (None, (-28, 9))
    assert (spec.multiple_of, spec.min_size, spec.receptive_field_px) == (8, 16, None)


def test_absurd_options_are_not_believed(tmp_path):
    absurd = {"n_gen_filters": 10**9, "n_blocks_global": 10**9, "n_downsample_global": 10**9}
    emd = pix2pix_hd(tmp_path / "m.emd", Kwargs=absurd)
    plain = load_model(pix2pix_hd(tmp_path / "n.emd"), device="cpu")
    pixels = photo()
    assert torch.equal(run(load_model(emd, device="cpu"), pixels), run(plain, pixels))


def test_extracted_bands(tmp_path):
    ranges = {"band_min_values": [0, 1, 2, 3], "band_max_values": [100, 101, 102, 103]}
    keys = {"ExtractBands": [3, 1, 0], "NormalizationStats": ranges}
    picked = load_model(pix2pix_hd(tmp_path / "m.emd", **keys), device="cpu")
    assert picked.spec.in_bands == 4
    own = {"band_min_values": [3, 1, 0], "band_max_values": [103, 101, 100]}
    plain = load_model(pix2pix_hd(tmp_path / "n.emd", NormalizationStats=own), device="cpu")
    pixels = photo(4)
    assert torch.equal(run(picked, pixels), run(plain, pixels[:, [3, 1, 0]]))
    reference = load_model(tmp_path / "m.emd", device="cpu", compat="arcgis-2.4.4")
    assert reference.spec.in_bands == 3
    assert torch.equal(run(reference, pixels[:, :3]), run(plain, pixels[:, :3]))


def test_label_maps(tmp_path):
    emd = pix2pix_hd(tmp_path / "m.emd", changed(bands=5), **LABELS)
    model = load_model(emd, device="cpu")
    assert (model.spec.in_bands, model.spec.out_bands) == (1, 3)
    assert (model.spec.in_range, model.spec.out_range) == (None, (0, 255))
    assert (model.spec.multiple_of, model.spec.min_size) == (32, 32)
    index = torch.randint(0, 5, (2, 1, 32, 64))
    labels = torch.tensor([0, 7, 20, 41, 4])[index]
    net, _ = read_generator(
        {
            name.removeprefix("G."): tensor
            for name, tensor in torch.load(tmp_path / "m.pth", weights_only=True).items()
            if name.startswith("G.")
        }
    )
    channels = torch.arange(5).reshape(1, 5, 1, 1)
    expected = run(net, (index == channels).float()) / 2 + 0.5
    assert torch.allclose(run(model, labels.float()), 255 * expected, atol=1e-3)
    assert torch.equal(run(model, labels.byte()), run(model, labels.float()))
    for compat in ("arcgis-2.4.4", "arcgis-2.4.2"):
        reference = load_model(emd, device="cpu", compat=compat)
        assert reference.spec.out_range == (0, 1)
        assert torch.allclose(run(reference, labels.float()), expected, atol=1e-6)
    drawn = translate_array(model, labels[0].numpy().astype(np.uint8))
    assert (drawn.shape, drawn.dtype) == ((3, 32, 64), np.uint8)


@pytest.mark.parametrize("value", [5, 40, 255, -1, float("nan")])
def test_a_value_that_is_no_class(tmp_path, value):
    emd = pix2pix_hd(tmp_path / "m.emd", changed(bands=5), **LABELS)
    labels = torch.zeros(1, 1, 32, 32)
    labels[..., 3, 4] = value
    with pytest.raises(InferenceError, match=f"the value {value}"):
        run(load_model(emd, device="cpu"), labels)


@pytest.mark.parametrize("mask_map", [None, [], [1, "2"], list(range(6)), "0,1"])
def test_classes_that_cannot_be(tmp_path, mask_map):
    emd = pix2pix_hd(tmp_path / "m.emd", changed(bands=5), label_nc=5, mask_map=mask_map)
    with pytest.raises(ModelError, match="mask_map"):
        load_model(emd, device="cpu")


def test_a_photo_in_tiles(tmp_path):
    model = load_model(pix2pix_hd(tmp_path / "m.emd"), device="cpu")
    image = photo(3, 100, 90)[0].numpy()
    out = translate_array(model, image, tile_size=64)
    assert (out.shape, out.dtype) == (image.shape, np.uint8)
    assert np.array_equal(out, translate_array(model, image, tile_size=64, batch_size=1))


def test_tiles_with_the_whole_reach_are_exact(tmp_path):
    model = load_model(pix2pix_hd(tmp_path / "m.emd", changed(batch_norm=True)), device="cpu")
    image = torch.rand(3, 200, 380).numpy() * 255
    tiled = translate_array(model, image, tile_size=320)
    whole = translate_array(model, image, tile_size=512)
    assert np.abs(tiled - whole).max() < 1e-4 * 255


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("G.model.1.weight"), "missing"),
        (lambda s: s.pop("G.model.4.weight"), "do not fit"),
        (lambda s: s.pop("G.model1_2.5.weight"), "do not fit"),
        (lambda s: s.update({"G.model2_1.1.weight": torch.zeros(1)}), "missing"),
        (lambda s: s.update({"G.model.99.weight": torch.zeros(1, 1, 1, 1)}), "do not fit"),
        (dict.clear, "missing"),
    ],
)
def test_weights_of_other_nets(tmp_path, change, message):
    emd = pix2pix_hd(tmp_path / "m.emd")
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    change(state)
    state["D.a"] = torch.zeros(1)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=message):
        load_model(emd, device="cpu")
