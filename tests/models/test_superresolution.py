from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.infer.whole import translate_array
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.resnet import ResNetPlan
from tests.models.arcgis_nets import super_resolution

torch.set_num_threads(1)

FOUR = ResNetPlan(blocks=(1, 1, 1, 1), bottleneck=False, bands=4, stem=4)
SPECTRAL = {
    "is_multispec": True,
    "image_stats": [[500.0, 600.0, 700.0, 800.0], [100.0, 110.0, 120.0, 130.0]],
    "image_stats2": [[510.0, 610.0, 710.0, 810.0], [101.0, 111.0, 121.0, 131.0]],
}


def run(translator, pixels):
    with torch.inference_mode():
        return translator(torch.as_tensor(pixels))


def photo(bands=3, height=64, width=64):
    return torch.randint(0, 256, (1, bands, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("attention", [False, True])
def test_spec_of_an_rgb_model(tmp_path, attention):
    emd = super_resolution(tmp_path / "m.emd", attention=attention)
    assert ModelDefinition.read(emd).enlarge == 4
    spec = load_model(emd, device="cpu").spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 1)
    assert spec.in_range == spec.out_range == (0, 255)
    assert (spec.multiple_of, spec.min_size) == (32, 32)
    assert (spec.receptive_field_px is None) == attention
    reference = load_model(emd, device="cpu", compat="arcgis-2.4.4").spec
    assert (reference.in_range, reference.out_range) == (None, (0, 1))


def test_units(tmp_path):
    emd = super_resolution(tmp_path / "m.emd")
    pixels = photo()
    ours = run(load_model(emd, device="cpu"), pixels)
    theirs = run(load_model(emd, device="cpu", compat="arcgis-2.4.4"), pixels)
    assert torch.allclose(ours, 255 * theirs, atol=1e-3)
    assert torch.equal(ours, run(load_model(emd, device="cpu"), pixels.float()))


def test_odd_training_sizes(tmp_path):
    plain = load_model(super_resolution(tmp_path / "m.emd"), device="cpu")
    odd = load_model(super_resolution(tmp_path / "n.emd", resized=True), device="cpu")
    pixels = photo(3, 63, 65)
    assert torch.equal(run(plain, pixels), run(odd, pixels))


def test_multispectral_models(tmp_path):
    emd = super_resolution(tmp_path / "m.emd", FOUR, attention=True, **SPECTRAL)
    model = load_model(emd, device="cpu")
    assert (model.spec.in_bands, model.spec.out_bands) == (4, 4)
    assert (model.spec.in_range, model.spec.out_range) == (None, None)
    assert model.spec.usual_range == (510, 810)
    (mean, deviation), (out_mean, out_deviation) = (
        (torch.tensor(row).reshape(1, 4, 1, 1) for row in SPECTRAL[key])
        for key in ("image_stats", "image_stats2")
    )
    same = {"image_stats": [[0] * 4, [1] * 4], "image_stats2": [[0] * 4, [1] * 4]}
    plain = load_model(
        super_resolution(tmp_path / "n.emd", FOUR, attention=True, is_multispec=True, **same),
        device="cpu",
    )
    pixels = torch.rand(1, 4, 32, 32) * 1000
    expected = run(plain, (pixels - mean) / deviation) * out_deviation + out_mean
    assert torch.allclose(run(model, pixels), expected, rtol=1e-5, atol=1e-2)
    reference = load_model(emd, device="cpu", compat="arcgis-2.4.2")
    assert torch.equal(run(reference, pixels), run(model, pixels))


def test_old_definitions(tmp_path):
    emd = super_resolution(tmp_path / "m.emd")
    raw = json.loads(emd.read_text())
    for key in ("ModelArch", "n_channel", "is_multispec", "ModelName", "downsample_factor"):
        del raw[key]
    (tmp_path / "old.emd").write_text(json.dumps(raw))
    definition = ModelDefinition.read(tmp_path / "old.emd")
    assert definition.enlarge is None
    pixels = photo()
    expected = run(load_model(emd, device="cpu"), pixels)
    assert torch.equal(run(load_model(definition, device="cpu"), pixels), expected)


@pytest.mark.parametrize(
    "keys",
    [
        {"is_multispec": True},
        {"is_multispec": True, "image_stats": [[1, 2, 3], [1, 2, 3]]},
        {**SPECTRAL, "image_stats": [[1, 2, 3, 4], [1, 2, 3, 0]]},
        {**SPECTRAL, "image_stats": [[1, 2, 3, 4], [1, 2, 3]]},
        {**SPECTRAL, "image_stats2": [[], []]},
        {**SPECTRAL, "image_stats2": {"band_min_values": [0]}},
        {**SPECTRAL, "image_stats2": [[1, 2, 3, "4"], [1, 2, 3, 4]]},
    ],
)
def test_statistics_that_cannot_be(tmp_path, keys):
    with pytest.raises(ModelError, match="image_stats"):
        load_model(super_resolution(tmp_path / "m.emd", FOUR, **keys), device="cpu")


@pytest.mark.parametrize("attention", [False, True])
def test_a_photo_in_tiles(tmp_path, attention):
    model = load_model(super_resolution(tmp_path / "m.emd", attention=attention), device="cpu")
    image = photo(3, 150, 130)[0].numpy()
    out = translate_array(model, image, tile_size=96)
    assert (out.shape, out.dtype) == (image.shape, np.uint8)
    assert np.array_equal(out, translate_array(model, image, tile_size=96, batch_size=1))
    assert out.std() > 0


def test_sixteen_bits_stay(tmp_path):
    model = load_model(super_resolution(tmp_path / "m.emd"), device="cpu")
    image = photo(3)[0].numpy()
    narrow = translate_array(model, image).astype(int)
    wide = translate_array(model, image.astype(np.uint16) * 257)
    assert wide.dtype == np.uint16
    assert np.abs(narrow * 257 - wide).max() <= 130
