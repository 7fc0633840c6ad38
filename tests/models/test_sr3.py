from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.module import NO_REFERENCE
from attachtrans.models.sr3 import build, load_net
from attachtrans.models.sr3_facts import read_facts
from attachtrans.models.translator import StepwiseTranslator
from tests.models.diffusion_nets import UVIT_EDGE, sr3, state_of
from tests.models.nets import package, stats

torch.set_num_threads(1)

TYPES = ("SR3", "SR3_UViT", "SR3_Wavelet")
NEW, OLD = "arcgis-2.4.4", "arcgis-2.4.2"
VECTORS = [("sr3_rgb", "ddim"), ("sr3_rgb", "ddpm"), ("sr3_uvit_rgb", "ddim")]


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


@pytest.mark.parametrize(("model", "case"), VECTORS)
@pytest.mark.parametrize(("compat", "suffix"), [(NEW, ""), (OLD, "_rel242")])
def test_reproduces_the_reference_tiles(shared, model, case, compat, suffix):
    folder = shared / "arcgis" / model
    _, arguments = case_of(folder, case)
    with np.load(folder / "io.npz") as vectors:
        noise = vectors[f"{case}_tile_noise{suffix}"]
        translator = load(folder / f"{model}.emd", arguments=arguments, compat=compat, noise=noise)
        out = run(translator, vectors[f"{case}_tile_in"]).numpy()
        assert np.abs(out - vectors[f"{case}_tile_out{suffix}"]).max() < 1e-5 * 255


@pytest.mark.parametrize(("model", "case"), VECTORS)
def test_reproduces_the_reference_blocks(shared, model, case):
    infer = pytest.importorskip("attachtrans.infer.block")
    folder = shared / "arcgis" / model
    scalars, arguments = case_of(folder, case)
    with np.load(folder / "io.npz") as vectors:
        noise = list(torch.from_numpy(vectors[f"{case}_block_noise"]))
        translator = load(folder / f"{model}.dlpk", arguments=arguments, compat=NEW, noise=noise)
        out = infer.translate_block(
            translator,
            vectors[f"{case}_block_in"],
            padding=scalars["padding"],
            batch_size=scalars["batch_size"],
        )
        assert np.abs(out - vectors[f"{case}_block_out_float"]).max() < 1e-5 * 255


def test_our_ddim_is_that_of_the_old_releases(shared):
    folder = shared / "arcgis" / "sr3_rgb"
    _, arguments = case_of(folder, "ddim")
    with np.load(folder / "io.npz") as vectors:
        noise = vectors["ddim_tile_noise_rel242"]
        translator = load(folder / "sr3_rgb.emd", arguments=arguments, noise=noise)
        out = run(translator, vectors["ddim_tile_in"]).numpy()
        assert np.abs(out - vectors["ddim_tile_out_rel242"]).max() < 1e-5 * 255


@pytest.mark.parametrize(
    ("model", "compat", "key"),
    [
        ("sr3_rgb", None, "net_out"),
        ("sr3_uvit_rgb", None, "net_out"),
        ("sr3_uvit_rgb", NEW, "net_out"),
        ("sr3_uvit_rgb", OLD, "net_out_rel242"),
    ],
)
def test_reproduces_the_nets(shared, model, compat, key):
    folder = shared / "arcgis" / model
    net = load(folder / f"{model}.emd", compat=compat).net
    with np.load(folder / "net.npz") as vectors, torch.inference_mode():
        condition, latent = torch.from_numpy(vectors["net_in"]).chunk(2, dim=1)
        out = net(condition, latent, torch.from_numpy(vectors["net_level"])).numpy()
        assert np.abs(out - vectors[key]).max() < 1e-5 * np.abs(vectors[key]).max()


@pytest.mark.parametrize(
    ("listing", "model_type", "edge"),
    [
        ("sr3_244_default_256", "SR3", None),
        ("sr3_legacy_default_128", "SR3", None),
        ("sr3_legacy_default_256", "SR3", None),
        ("sr3_uvit_default_128", "SR3_UViT", 128),
        ("sr3_wavelet_244_default_256", "SR3_Wavelet", None),
    ],
)
def test_full_size_nets_take_their_listings(shared, tmp_path, listing, model_type, edge):
    keys = json.loads((shared / "arcgis" / "specs" / f"{listing}.json").read_text())["keys"]
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, (_, shape) in keys.items()}
    definition = ModelDefinition.read(sr3(tmp_path / "m.emd", model_type, ImageHeight=edge))
    groups = 12 if "244" in listing else 8
    facts = read_facts({"Kwargs": {"norm_groups": groups}}, model_type)
    net = load_net(definition, facts, NO_REFERENCE, state)
    assert net.edge == edge
    assert net.bands == 3


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
        ("SR3", {"ModelArch": "SR3_UViT"}, "patch_embedx"),
        ("SR3_UViT", {"ModelArch": "SR3"}, "downs.0"),
        ("SR3", {"ModelArch": "SR3_Wavelet"}, "dwsr"),
        ("SR3_Wavelet", {"ModelArch": "SR3"}, "do not fit"),
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
