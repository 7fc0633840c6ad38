from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.infer.whole import translate_array
from attachtrans.models.load import load_model
from attachtrans.models.resnet import ResNetPlan
from tests.models.arcgis_nets import pix2pix, pix2pix_resnet
from tests.models.nets import stats

torch.set_num_threads(1)


def run(translator, pixels):
    with torch.inference_mode():
        return translator(torch.as_tensor(pixels))


def photo(bands=3, height=256, width=256):
    return torch.randint(0, 256, (1, bands, height, width), dtype=torch.uint8)


def test_spec_of_the_default_generator(tmp_path):
    keys = {"NormalizationStats_b": stats(2, -28.0, 9.0)}
    model = load_model(pix2pix(tmp_path / "m.emd", bands=4, bands_out=2, **keys), device="cpu")
    spec = model.spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (4, 2, 1)
    assert (spec.in_range, spec.out_range) == (None, (-28, 9))
    assert (spec.multiple_of, spec.min_size, spec.receptive_field_px) == (256, 256, None)
    out = run(model, photo(4, 256, 512))
    assert out.shape == (1, 2, 256, 512)
    assert -28 <= out.min() < out.max() <= 9


def test_spec_with_a_backbone(tmp_path):
    encoder = ResNetPlan(blocks=(1, 1, 1, 1), bottleneck=True, bands=4, stem=4)
    model = load_model(pix2pix_resnet(tmp_path / "m.emd", encoder, bands_out=2), device="cpu")
    spec = model.spec
    assert (spec.in_bands, spec.out_bands, spec.out_range) == (4, 2, (0, 255))
    assert (spec.multiple_of, spec.min_size) == (32, 32)
    assert spec.receptive_field_px > 100
    assert run(model, photo(4, 32, 64)).shape == (1, 2, 32, 64)


def test_all_releases_compute_the_same(tmp_path):
    emd = pix2pix_resnet(tmp_path / "m.emd")
    pixels = photo(3, 64, 64)
    outs = [
        run(load_model(emd, device="cpu", compat=compat), pixels)
        for compat in (None, "arcgis-2.4.4", "arcgis-2.4.2")
    ]
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("write", [pix2pix, pix2pix_resnet])
def test_a_photo_in_tiles(tmp_path, write):
    model = load_model(write(tmp_path / "m.emd"), device="cpu")
    image = photo(3, 300, 280)[0].numpy()
    out = translate_array(model, image, tile_size=256)
    assert (out.shape, out.dtype) == (image.shape, np.uint8)
    assert np.array_equal(out, translate_array(model, image, tile_size=256, batch_size=1))
    assert out.std() > 0


def test_tiles_with_the_whole_reach_are_exact(tmp_path):
    model = load_model(pix2pix_resnet(tmp_path / "m.emd"), device="cpu")
    reach = model.spec.receptive_field_px
    tile = -(-(2 * reach + 128) // 32) * 32
    image = torch.rand(3, 64, tile + 300).numpy() * 255
    tiled = translate_array(model, image, tile_size=tile, padding=reach)
    whole = translate_array(model, image, tile_size=2 * tile)
    assert np.abs(tiled - whole).max() < 1e-4 * 255


def test_bands_are_the_first_ones(tmp_path):
    plain = load_model(pix2pix(tmp_path / "m.emd"), device="cpu")
    picked = load_model(pix2pix(tmp_path / "n.emd", ExtractBands=[3, 2, 1]), device="cpu")
    pixels = photo()
    assert torch.equal(run(plain, pixels), run(picked, pixels))
    one = load_model(pix2pix(tmp_path / "o.emd", NormalizationStats=stats(1, 0, 255)), device="cpu")
    assert one.spec.in_bands == 1
    grey = pixels[:, :1]
    assert torch.equal(run(one, grey), run(plain, grey.expand(-1, 3, -1, -1)))


def test_old_definitions(tmp_path):
    emd = pix2pix(tmp_path / "m.emd")
    raw = json.loads(emd.read_text())
    for key in ("ModelName", "n_intput_channel", "NormalizationStats", "NormalizationStats_b"):
        del raw[key]
    (tmp_path / "old.emd").write_text(json.dumps(raw))
    pixels = photo()
    expected = run(load_model(emd, device="cpu"), pixels)
    assert torch.equal(run(load_model(tmp_path / "old.emd", device="cpu"), pixels), expected)


def test_a_definition_that_lies_about_its_backbone(tmp_path):
    emd = pix2pix(tmp_path / "m.emd", backbone="resnet152", n_intput_channel=77)
    assert load_model(emd, device="cpu").spec.multiple_of == 256


def test_definitions_that_cannot_be(tmp_path):
    for keys, message in (
        ({"NormalizationStats": stats(3, 5.0, 5.0)}, "input band 1"),
        ({"n_channel": 4}, "states 4 bands"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(pix2pix(tmp_path / "m.emd", **keys), device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("G.down3.model.0.weight"), "missing"),
        (lambda s: s.pop("G.up3.model.0.weight"), "do not fit"),
        (lambda s: s.pop("G.down1.model.0.weight"), "missing"),
        (lambda s: s.update({"G.down9.model.0.weight": torch.zeros(1)}), "do not fit"),
        (lambda s: s.update({"G.final.2.weight": torch.zeros(3)}), "has the shape"),
        (lambda s: s.update({"G.up1.model.0.weight": torch.zeros(1, dtype=torch.int)}), "not fit"),
    ],
)
def test_weights_of_other_nets(tmp_path, change, message):
    emd = pix2pix(tmp_path / "m.emd")
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=message):
        load_model(emd, device="cpu")
