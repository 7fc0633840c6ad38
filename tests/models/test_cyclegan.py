from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.cyclegan import build, generator
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from tests.models.nets import cyclegan, package, stats

torch.set_num_threads(1)


def run(translator, pixels):
    with torch.inference_mode():
        return translator(torch.as_tensor(pixels))


def photo(bands, size=32):
    return torch.randint(0, 256, (1, bands, size, size), dtype=torch.uint8)


def test_spec(tmp_path):
    keys = {"NormalizationStats_b": stats(3, -28.0, 9.0)}
    spec = load_model(cyclegan(tmp_path / "m.emd", **keys), device="cpu").spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 1)
    assert spec.in_range is None
    assert spec.out_range == (-28, 9)
    assert (spec.multiple_of, spec.min_size, spec.receptive_field_px) == (4, 8, None)


def test_the_smallest_tile_runs(tmp_path):
    translator = load_model(cyclegan(tmp_path / "m.emd"), device="cpu")
    size = translator.spec.min_size
    assert run(translator, photo(3, size)).shape == (1, 3, size, size)
    assert run(translator, photo(3, size + translator.spec.multiple_of)).isfinite().all()


def test_unequal_bands_in_both_directions(tmp_path):
    emd = cyclegan(tmp_path / "m.emd", bands_a=1, bands_b=3)
    there = load_model(emd, device="cpu")
    assert (there.spec.in_bands, there.spec.out_bands) == (1, 3)
    grey = photo(1)
    as_rgb = cyclegan(tmp_path / "rgb.emd", bands_a=3, bands_b=3)
    assert torch.equal(
        run(there, grey), run(load_model(as_rgb, device="cpu"), grey.expand(-1, 3, -1, -1))
    )
    back = load_model(emd, arguments={"direction": "BtoA"}, device="cpu")
    assert (back.spec.in_bands, back.spec.out_bands) == (3, 1)
    assert run(back, photo(3)).shape == (1, 1, 32, 32)


def test_units_are_those_of_the_domains(tmp_path):
    plain = load_model(cyclegan(tmp_path / "m.emd"), device="cpu")
    keys = {"NormalizationStats": stats(3, 100.0, 100.0 + 510.0)}
    shifted = load_model(cyclegan(tmp_path / "n.emd", **keys), device="cpu")
    pixels = photo(3)
    assert torch.allclose(
        run(plain, pixels), run(shifted, pixels.float() * 2 + 100), rtol=0, atol=1e-2
    )
    keys = {"NormalizationStats_b": stats(3, 1.0, 2.0)}
    scaled = load_model(cyclegan(tmp_path / "o.emd", **keys), device="cpu")
    expected = run(plain, pixels) / 255 + 1
    assert torch.allclose(run(scaled, pixels), expected, rtol=0, atol=1e-5)


def test_bytes_and_floats_are_the_same_values(tmp_path):
    translator = load_model(cyclegan(tmp_path / "m.emd"), device="cpu")
    pixels = photo(3)
    assert torch.equal(run(translator, pixels), run(translator, pixels.float()))


def test_old_definitions(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    raw = json.loads(emd.read_text())
    for key in (
        "ModelName",
        "n_intput_channel",
        "n_channel_rev",
        "NormalizationStats",
        "NormalizationStats_b",
        "ArcGISLearnVersion",
    ):
        del raw[key]
    shutil.copy(tmp_path / "m.pth", tmp_path / "old.pth")
    (tmp_path / "old.emd").write_text(json.dumps({**raw, "ModelFile": ".\\old.pth"}))
    old = load_model(tmp_path / "old.emd", device="cpu")
    assert old.spec.out_range == (0, 255)
    pixels = photo(3)
    assert torch.equal(run(old, pixels), run(load_model(emd, device="cpu"), pixels))


def test_extract_bands_pick_pixels_and_statistics(tmp_path):
    ranges = {
        "band_min_values": [0.0, 10.0, 20.0, 30.0],
        "band_max_values": [100.0, 110.0, 120.0, 130.0],
    }
    emd = cyclegan(tmp_path / "m.emd", ExtractBands=[3, 1, 0], NormalizationStats=ranges)
    picked = load_model(emd, device="cpu")
    assert picked.spec.in_bands == 4
    own = {
        "band_min_values": [30.0, 10.0, 0.0],
        "band_max_values": [130.0, 110.0, 100.0],
    }
    plain = load_model(cyclegan(tmp_path / "n.emd", NormalizationStats=own), device="cpu")
    pixels = photo(4)
    assert torch.equal(run(picked, pixels), run(plain, pixels[:, [3, 1, 0]]))


RANGED = {
    "band_min_values": [0.0, 10.0, 20.0, 30.0],
    "band_max_values": [100.0, 110.0, 140.0, 150.0],
}


@pytest.mark.parametrize("compat", ["arcgis-2.4.4", "arcgis-2.4.2"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_extract_bands_of_the_reference_pick_statistics_only(tmp_path, direction, compat):
    """Written from the formulas: the pixels come as they are, whatever ExtractBands says."""
    picked, target = [3, 1, 0], {key: values[:3] for key, values in RANGED.items()}
    keys = {"ExtractBands": picked, "NormalizationStats": RANGED, "NormalizationStats_b": target}
    emd = cyclegan(tmp_path / "m.emd", **keys)
    model = load_model(emd, arguments={"direction": direction}, device="cpu", compat=compat)
    assert (model.spec.in_bands, model.spec.out_bands) == (3, 3)
    forward = direction == "AtoB"
    # B has three bands, so ExtractBands fits its statistics only where they name those.
    order = picked if forward else [0, 1, 2]
    low, high = (
        torch.tensor([RANGED[key][band] for band in order], dtype=torch.float64).reshape(1, 3, 1, 1)
        for key in ("band_min_values", "band_max_values")
    )
    out_low, out_high = (
        torch.tensor(RANGED[key][:3]).reshape(1, 3, 1, 1)
        for key in ("band_min_values", "band_max_values")
    )
    net, prefix = generator(3, 4, 1), "G_B." if forward else "G_A."
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    net.load_state_dict(
        {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    )
    pixels = photo(3)
    with torch.inference_mode():
        y = net((-1 + 2 * (pixels.double() - low) / (high - low)).float())
    expected = (y + 1) / 2 * (out_high - out_low) + out_low
    assert torch.allclose(run(model, pixels), expected, rtol=0, atol=1e-3)


def test_the_reference_indexes_the_statistics_of_whatever_comes_in(tmp_path):
    stated = {"NormalizationStats_b": {key: values[:3] for key, values in RANGED.items()}}
    keys = {"ExtractBands": [2, 1, 0], **stated}
    options = {"arguments": {"direction": "BtoA"}, "device": "cpu"}
    model = load_model(cyclegan(tmp_path / "m.emd", **keys), compat="arcgis-2.4.4", **options)
    turned = {key: values[2::-1] for key, values in RANGED.items()}
    plain = load_model(cyclegan(tmp_path / "n.emd", NormalizationStats_b=turned), **options)
    pixels = photo(3)
    assert torch.equal(run(model, pixels), run(plain, pixels))
    ours = load_model(cyclegan(tmp_path / "o.emd", **keys), **options)
    straight = load_model(cyclegan(tmp_path / "p.emd", **stated), **options)
    assert torch.equal(run(ours, pixels), run(straight, pixels))


def test_all_releases_compute_the_same(tmp_path):
    emd = cyclegan(tmp_path / "m.emd", bands_a=1, bands_b=3)
    for direction, bands in (("AtoB", 1), ("BtoA", 3)):
        pixels = photo(bands)
        ours, *theirs = (
            load_model(emd, arguments={"direction": direction}, device="cpu", compat=compat)
            for compat in (None, "arcgis-2.4.4", "arcgis-2.4.2")
        )
        for model in theirs:
            assert model.spec == ours.spec
            assert torch.equal(run(model, pixels), run(ours, pixels))


def test_short_statistics_repeat_the_last(tmp_path):
    short = {"band_min_values": [0.0], "band_max_values": [255.0]}
    emd = cyclegan(tmp_path / "m.emd", NormalizationStats=short, NormalizationStats_b=short)
    full = load_model(cyclegan(tmp_path / "n.emd"), device="cpu")
    pixels = photo(3)
    assert torch.equal(run(load_model(emd, device="cpu"), pixels), run(full, pixels))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"NormalizationStats": stats(3, 5.0, 5.0)}, "input band 1"),
        ({"NormalizationStats": stats(3, 5.0, 4.0)}, "cannot be normalised"),
        ({"n_channel_rev": 4}, "states 4 bands, but the net has 3"),
        ({"n_channel": "three"}, "n_channel"),
        ({"ExtractBands": [0, 7, 1]}, "ExtractBands"),
        ({"ExtractBands": "all"}, "ExtractBands"),
        ({"ExtractBands": [-1]}, "ExtractBands"),
        ({"ExtractBands": []}, "ExtractBands"),
    ],
)
def test_definitions_that_cannot_be(tmp_path, keys, message):
    with pytest.raises(ModelError, match=message):
        load_model(cyclegan(tmp_path / "m.emd", **keys), device="cpu")


def test_weights_of_another_net(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    for change, message in (
        (lambda s: {k: v for k, v in s.items() if not k.startswith("G_B")}, "no CycleGAN"),
        (lambda s: {**s, "G_B.4.weight": torch.zeros(1)}, "do not fit"),
        (lambda s: {**s, "G_B.99.weight": torch.zeros(1)}, "do not fit"),
        (lambda s: {**s, "G_B.1.weight": torch.zeros(1)}, "no CycleGAN"),
    ):
        torch.save(change(state), tmp_path / "m.pth")
        with pytest.raises(ModelError, match=message):
            load_model(emd, device="cpu")


def test_checkpoints_with_optimizer_in_a_package(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    pixels = photo(3)
    expected = run(load_model(emd, device="cpu"), pixels)
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    # Trained with one learning rate per group of layers, the optimizer holds numpy's numbers.
    rates = {"step": 3, "param_groups": [{"lr": np.float64(1e-3), "betas": (np.float32(0.9), 1)}]}
    torch.save({"model": state, "opt": rates}, tmp_path / "m.pth")
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.pth")
    assert torch.equal(run(load_model(packed, device="cpu"), pixels), expected)


def test_arguments_of_another_type_are_refused(tmp_path):
    definition = ModelDefinition.read(cyclegan(tmp_path / "m.emd"))
    with pytest.raises(ArgumentError, match="CycleGANArguments"):
        build(definition, TilingArguments(), torch.device("cpu"))
