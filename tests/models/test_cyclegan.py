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


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_reproduces_the_reference_vectors(shared, direction):
    folder = shared / "arcgis" / "cyclegan_rgb"
    translator = load_model(
        folder / "cyclegan_rgb.dlpk", arguments={"direction": direction}, device="cpu"
    )
    with np.load(folder / "io.npz") as vectors:
        out = run(translator, vectors[f"{direction}_tile_in"]).numpy()
        assert np.abs(out - vectors[f"{direction}_tile_out"]).max() < 1e-5 * 255


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_reproduces_the_reference_blocks(shared, direction):
    infer = pytest.importorskip("attachtrans.infer.block")
    folder = shared / "arcgis" / "cyclegan_rgb"
    cases = json.loads((folder / "run.json").read_text())["cases"]
    scalars = next(case["scalars"] for case in cases if case["id"] == direction)
    translator = load_model(
        folder / "cyclegan_rgb.dlpk", arguments={"direction": direction}, device="cpu"
    )
    with np.load(folder / "io.npz") as vectors:
        out = infer.translate_block(
            translator,
            vectors[f"{direction}_block_in"],
            padding=int(scalars["padding"]),
            batch_size=int(scalars["batch_size"]),
        )
        assert np.abs(out - vectors[f"{direction}_block_out"]).max() < 5e-5 * 255


def test_layers_have_the_numbers_of_the_full_size_model(shared):
    spec = json.loads((shared / "arcgis/specs/cyclegan_3band_9blocks.json").read_text())
    expected = {
        name.removeprefix("G_B."): tuple(shape)
        for name, (_, shape) in dict(spec["keys"]).items()
        if name.startswith("G_B.")
    }
    with torch.device("meta"):
        net = generator(3, 64, 9)
    assert {name: tuple(value.shape) for name, value in net.state_dict().items()} == expected


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
    torch.save({"model": state, "opt": {"step": 3}}, tmp_path / "m.pth")
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.pth")
    assert torch.equal(run(load_model(packed, device="cpu"), pixels), expected)


def test_arguments_of_another_type_are_refused(tmp_path):
    definition = ModelDefinition.read(cyclegan(tmp_path / "m.emd"))
    with pytest.raises(ArgumentError, match="CycleGANArguments"):
        build(definition, TilingArguments(), torch.device("cpu"))
