from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.sr3 import build
from attachtrans.models.translator import StepwiseTranslator
from tests.models.arcgis_nets import super_resolution
from tests.models.diffusion_nets import UVIT_EDGE, sr3, state_of
from tests.models.nets import package, stats

torch.set_num_threads(1)

TYPES = ("SR3", "SR3_UViT", "SR3_Wavelet")
NEW, OLD = "arcgis-2.4.4", "arcgis-2.4.2"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def run(translator, pixels, positions=None):
    with torch.inference_mode():
        return translator(torch.as_tensor(pixels), positions)


def photo(bands=3, size=UVIT_EDGE, count=1):
    return torch.randint(0, 256, (count, bands, size, size), dtype=torch.uint8)


def load(emd, **keys):
    return load_model(emd, device="cpu", **{"arguments": {"n_timestep": 3}, **keys})


def case_of(folder, case):
    cases = json.loads((folder / "run.json").read_text())["cases"]
    scalars = next(entry["scalars"] for entry in cases if entry["id"] == case)
    return scalars, {name: scalars[name] for name in ("sampling_type", "n_timestep")}


def test_our_ddim_is_that_of_the_old_releases(shared):
    folder = shared / "arcgis" / "sr3_rgb"
    _, arguments = case_of(folder, "ddim")
    with np.load(folder / "io.npz") as vectors:
        noise = vectors["ddim_tile_noise_rel242"]
        translator = load(folder / "sr3_rgb.emd", arguments=arguments, noise=noise)
        out = run(translator, vectors["ddim_tile_in"]).numpy()
        assert np.abs(out - vectors["ddim_tile_out_rel242"]).max() < 1e-5 * 255


@pytest.mark.parametrize("model_type", TYPES)
def test_spec(tmp_path, model_type):
    translator = load(sr3(tmp_path / "m.emd", model_type))
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 1)
    assert spec.in_range == spec.out_range == (0, 255)
    assert spec.receptive_field_px is None
    fixed = (UVIT_EDGE, UVIT_EDGE) if model_type == "SR3_UViT" else None
    assert spec.fixed_size == fixed
    assert spec.multiple_of == {"SR3": 2, "SR3_UViT": 1, "SR3_Wavelet": 4}[model_type]
    out = run(translator, photo(size=spec.min_size))
    assert out.shape == (1, 3, spec.min_size, spec.min_size)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("sampling_type", ["ddim", "ddpm"])
def test_the_batch_changes_nothing_and_the_seed_does(tmp_path, model_type, sampling_type):
    emd = sr3(tmp_path / "m.emd", model_type)
    arguments = {"sampling_type": sampling_type, "n_timestep": 3}
    translator = load(emd, arguments=arguments)
    pixels = photo(count=3)
    positions = torch.tensor([[0, 0], [8, 0], [8, 24]])
    together = run(translator, pixels, positions)
    for i in range(3):
        alone = run(translator, pixels[i : i + 1], positions[i : i + 1])
        assert torch.allclose(alone[0], together[i], rtol=0, atol=1e-2)
    again = run(load(emd, arguments=arguments), pixels, positions)
    assert torch.equal(again, together)
    other = run(load(emd, arguments={**arguments, "seed": 1}), pixels, positions)
    assert not torch.allclose(other, together, rtol=0, atol=1)


@pytest.mark.parametrize("model_type", TYPES)
def test_overlapping_tiles_begin_with_the_same_noise(tmp_path, model_type):
    translator = load(sr3(tmp_path / "m.emd", model_type))
    condition = translator.condition(photo(count=2))
    positions = torch.tensor([[0, 0], [8, 4]])
    start = translator.begin(condition, positions)
    step = UVIT_EDGE // condition.shape[-1]
    assert torch.equal(
        start[0, :, 4 // step :, 8 // step :], start[1, :, : -4 // step, : -8 // step]
    )


@pytest.mark.parametrize("model_type", TYPES)
def test_the_steps_can_be_made_one_by_one(tmp_path, model_type):
    translator = load(sr3(tmp_path / "m.emd", model_type))
    pixels, positions = photo(), torch.tensor([[4, 8]])
    with torch.inference_mode():
        condition = translator.condition(pixels)
        latent = translator.begin(condition, positions)
        for number in range(3):
            latent = translator.advance(number, latent, condition, positions)
        assert torch.equal(translator.finish(latent, condition), translator(pixels, positions))
    assert translator.step_count == 3
    assert isinstance(translator, StepwiseTranslator)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_through_the_engine_the_batch_size_does_not_matter(tmp_path, model_type):
    infer = pytest.importorskip("attachtrans.infer.whole")
    translator = load(sr3(tmp_path / "m.emd", model_type))
    image = np.random.default_rng(1).integers(0, 256, (3, 30, 41), dtype=np.uint8)
    one, other = (
        infer.translate_array(translator, image, tile_size=UVIT_EDGE, batch_size=size)
        for size in (1, 5)
    )
    assert one.dtype == np.uint8
    assert one.shape == image.shape
    assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("model_type", TYPES)
def test_old_definitions(tmp_path, model_type):
    emd = sr3(tmp_path / "m.emd", model_type, ArcGISLearnVersion="2.3.0")
    raw = json.loads(emd.read_text())
    for key in ("is_multispec", "image_stats", "image_stats2", "ModelName", "n_channel"):
        del raw[key]
    (tmp_path / "old.emd").write_text(json.dumps(raw))
    pixels = photo()
    assert torch.equal(run(load(tmp_path / "old.emd"), pixels), run(load(emd), pixels))


@pytest.mark.parametrize("model_type", TYPES)
def test_checkpoints_with_optimizer_in_a_package(tmp_path, model_type):
    emd = sr3(tmp_path / "m.emd", model_type)
    pixels = photo()
    expected = run(load(emd), pixels)
    torch.save({"model": state_of(model_type), "opt": {"step": 3}}, tmp_path / "m.pth")
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.pth")
    assert torch.equal(run(load(packed), pixels), expected)


def test_units_of_multispectral_models(tmp_path):
    pixels = photo(bands=2).float()
    plain = sr3(tmp_path / "m.emd", bands=2, is_multispec=True)
    expected = run(load(plain), pixels)
    assert load(plain).spec.in_range is None
    keys = {"image_stats": stats(1, 100.0, 610.0), "image_stats2": stats(2, 0.0, 1.0)}
    shifted = load(sr3(tmp_path / "n.emd", bands=2, is_multispec=True, **keys))
    assert shifted.spec.out_range == (0, 1)
    found = run(shifted, pixels * 2 + 100)
    assert torch.allclose(found * 255, expected, rtol=0, atol=0.05)


def test_photos_are_bytes_whatever_their_statistics(tmp_path):
    pixels = photo()
    expected = run(load(sr3(tmp_path / "m.emd")), pixels)
    narrow = sr3(tmp_path / "n.emd", image_stats=stats(3, 20.0, 90.0))
    assert torch.equal(run(load(narrow), pixels), expected)
    assert torch.equal(run(load(narrow), pixels.float()), expected)


@pytest.mark.slow
def test_a_narrow_target_is_not_stretched_to_full_scale(tmp_path):
    infer = pytest.importorskip("attachtrans.infer.whole")
    narrow = load(sr3(tmp_path / "m.emd", image_stats2=stats(3, 20.0, 90.0)))
    image = photo()[0].numpy()
    found = infer.translate_array(narrow, image)
    assert found.dtype == np.uint8
    assert 20 <= found.min() <= found.max() <= 90
    plain = load(sr3(tmp_path / "n.emd"))
    expected = infer.translate_array(plain, image) * (70 / 255) + 20
    assert np.abs(found - expected).max() <= 1
    wide = load(sr3(tmp_path / "o.emd", image_stats2=stats(3, 0.0, 10_000.0)))
    assert (wide.spec.in_range, wide.spec.out_range) == (None, (0, 10_000))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", TYPES)
def test_a_definition_that_lies_about_its_architecture(tmp_path, model_type):
    pixels = photo()
    expected = run(load(sr3(tmp_path / "m.emd", model_type)), pixels)
    absurd = {"inner_channel": 24, "res_blocks": 5, "attn_res": [7], "channel_mults": [3]}
    for arch in TYPES:
        emd = sr3(tmp_path / "n.emd", model_type, ModelArch=arch, kwargs=absurd)
        assert torch.equal(run(load(emd), pixels), expected)
    with pytest.raises(ModelError, match='must be "SR3", "SR3_UViT" or "SR3_Wavelet"'):
        load(sr3(tmp_path / "n.emd", model_type, ModelArch="UNet"), arguments={})


def test_weights_of_the_other_super_resolution_net(tmp_path):
    emd = super_resolution(tmp_path / "m.emd", ModelArch="SR3")
    with pytest.raises(ModelError, match='ModelArch must be "UNet"'):
        load(emd)


@pytest.mark.parametrize(
    ("version", "compat", "same_as"),
    [
        ("2.4.3", None, OLD),
        ("2.4.4", None, NEW),
        ("2.5", None, NEW),
        (None, None, OLD),
    ],
)
def test_the_release_decides_which_embedding_takes_the_picture(tmp_path, version, compat, same_as):
    emd = sr3(tmp_path / "m.emd", "SR3_UViT", ArcGISLearnVersion=version)
    condition, latent = torch.randn(2, 1, 3, UVIT_EDGE, UVIT_EDGE)
    level = torch.tensor([[0.5]])
    with torch.inference_mode():
        ours, theirs = (
            load(emd, compat=release).net(condition, latent, level) for release in (compat, same_as)
        )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_new_release_sharpens_within_the_range_of_the_tile(tmp_path, model_type):
    emd = sr3(tmp_path / "m.emd", model_type)
    pixels = photo()
    plain, sharp = load(emd), load(emd, compat=NEW)
    with torch.inference_mode():
        condition = plain.condition(pixels)
        soft = plain.finish(condition, condition)
        found = sharp.finish(condition, condition)
    assert not torch.equal(soft, found)
    assert (found.amin((2, 3)) >= soft.amin((2, 3))).all()
    assert (found.amax((2, 3)) <= soft.amax((2, 3))).all()
    flat = torch.zeros_like(condition)
    with torch.inference_mode():
        assert torch.allclose(sharp.finish(flat, flat), plain.finish(flat, flat), atol=1e-3)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(5, 24), st.integers(5, 24))
@settings(max_examples=20)
def test_sharpening_by_its_formula(model_folder, seed, height, width):
    """o = y + 0.3 (y - G(y)), OpenCV's Gaussian of 9 taps and sigma 1, within y's range."""
    emd = model_folder / "sharp.emd"
    translator = load(emd if emd.exists() else sr3(emd), compat=NEW)
    latent = np.random.default_rng(seed).normal(size=(3, height, width)).astype(np.float32)
    pixels = (latent + 1) * 127.5
    with torch.inference_mode():
        found = translator.finish(torch.from_numpy(latent[None]), torch.empty(0))[0].numpy()
    for band, result in zip(pixels, found, strict=True):
        smooth = cv2.GaussianBlur(band, (9, 9), 1.0, borderType=cv2.BORDER_REFLECT_101)
        expected = np.clip(band + 0.3 * (band - smooth), band.min(), band.max())
        assert np.abs(result - expected).max() < 1e-6 * 255 * max(1, np.abs(latent).max())


@pytest.mark.slow
def test_the_schedule_is_honoured(tmp_path):
    emd = sr3(tmp_path / "m.emd")
    pixels = photo()
    outs = [
        run(load(emd, arguments={"n_timestep": 4, "schedule": name}), pixels)
        for name in ("linear", "cosine", "jsd")
    ]
    assert all(out.isfinite().all() for out in outs)
    assert not torch.allclose(outs[0], outs[1], rtol=0, atol=1)
    assert not torch.allclose(outs[0], outs[2], rtol=0, atol=1)
    stated = sr3(tmp_path / "n.emd", kwargs={"schedule": "cosine"})
    assert torch.equal(run(load(stated, arguments={"n_timestep": 4}), pixels), outs[1])


@pytest.mark.parametrize(
    ("model_type", "keys", "message"),
    [
        ("SR3", {"kwargs": {"norm_groups": 3}}, "norm_groups"),
        ("SR3", {"kwargs": {"inner_channel": 10**9}}, "inner_channel"),
        ("SR3", {"kwargs": {"n_timestep": 10**12}}, "n_timestep"),
        ("SR3_UViT", {"kwargs": {"num_heads": 5}}, "num_heads"),
        ("SR3_UViT", {"kwargs": {"embed_dim": 10**12}}, "embed_dim"),
        ("SR3_UViT", {"ImageHeight": 128}, "ImageHeight"),
        ("SR3_UViT", {"ArcGISLearnVersion": "newest"}, "ArcGISLearnVersion"),
    ],
)
def test_definitions_that_cannot_be(tmp_path, model_type, keys, message):
    with pytest.raises(ModelError, match=message):
        load(sr3(tmp_path / "m.emd", model_type, **keys))


@pytest.mark.parametrize("model_type", TYPES)
def test_weights_of_another_net(tmp_path, model_type):
    emd = sr3(tmp_path / "m.emd", model_type)
    for change in ({"denoise_fn.surplus": torch.zeros(1)}, {"loss.weight": torch.zeros(1)}):
        torch.save({**state_of(model_type), **change}, tmp_path / "m.pth")
        with pytest.raises(ModelError, match="do not fit"):
            load(emd)


def test_arguments(tmp_path):
    emd = sr3(tmp_path / "m.emd")
    with pytest.raises(ArgumentError, match="at most 10 steps"):
        load(emd, arguments={"n_timestep": 11})
    with pytest.raises(ArgumentError, match="ddim or ddpm"):
        load(emd, arguments={"sampling_type": "euler"})
    with pytest.raises(ArgumentError, match="warmup10"):
        load(emd, arguments={"schedule": "sigmoid"})
    with pytest.raises(ArgumentError, match="DiffusionArguments"):
        build(ModelDefinition.read(emd), TilingArguments(), torch.device("cpu"))
    with pytest.raises(ArgumentError, match="SR3_Wavelet"):
        load(sr3(tmp_path / "w.emd", "SR3_Wavelet"), compat=OLD)


def test_recorded_noise_must_last(tmp_path):
    translator = load(sr3(tmp_path / "m.emd"), noise=[torch.zeros(1, 3, 16, 16)])
    with pytest.raises(ArgumentError, match="end"):
        run(translator, photo())


def test_half_precision_runs(tmp_path):
    for model_type in TYPES:
        translator = load(sr3(tmp_path / "m.emd", model_type), precision="bf16")
        assert run(translator, photo()).isfinite().all()
