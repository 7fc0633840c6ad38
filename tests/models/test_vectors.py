"""Every reference vector and key listing there is, by what the files say and not by their names.

A folder of vectors holds a model (NAME.emd with its NAME.pth, or NAME.dlpk), run.json with the
cases, io.npz with their pixels, and perhaps net.npz with those of a denoiser alone.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from attachtrans.infer.block import translate_block
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import resolve_arguments
from attachtrans.models.load import load_model
from attachtrans.models.module import NO_REFERENCE

torch.set_num_threads(1)

ARCGIS = Path(__file__).resolve().parents[2].parent / "shared" / "arcgis"
NEW, OLD = "arcgis-2.4.4", "arcgis-2.4.2"


class Case(NamedTuple):
    """One case of a model file, with what was recorded of it."""

    model: Path
    name: str
    scalars: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.model.stem}-{self.name}"

    def recorded(self, suffix: str) -> Any:
        """An array of the case, None when it was not recorded."""
        with np.load(self.model.parent / "io.npz") as arrays:
            key = f"{self.name}_{suffix}"
            return arrays[key] if key in arrays.files else None

    def load(self, compat: str | None, noise: Any) -> Any:
        return load_model(
            self.model, arguments=self.scalars, device="cpu", compat=compat, noise=noise
        )


def definition_of(folder: Path) -> Path:
    """The package, or the definition where there is none."""
    return next(iter(sorted(folder.glob("*.dlpk"))), None) or next(folder.glob("*.emd"))


FOLDERS = sorted(run.parent for run in ARCGIS.glob("*/run.json"))
CASES = [
    Case(definition_of(folder), case["id"], case["scalars"])
    for folder in FOLDERS
    for case in json.loads((folder / "run.json").read_text(encoding="utf-8"))["cases"]
]
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)


def units_of(translator: Any, case: Case, compat: str | None) -> float:
    """What our result is divided by: where the reference gives 0..1, ours are 0..255."""
    if compat is not None:
        return 1.0
    high = case.load(NEW, None).spec.out_range
    return translator.spec.out_range[1] / high[1] if high and high[1] == 1 else 1.0


@pytest.mark.slow
@EVERY_CASE
@pytest.mark.parametrize("compat", [NEW, OLD, None])
def test_tiles(case, compat):
    noise = case.recorded("tile_noise")
    if noise is not None and compat is None:
        pytest.skip("our rule for steps is another one")
    suffix = "_rel242" if compat == OLD and case.recorded("tile_out_rel242") is not None else ""
    expected = case.recorded(f"tile_out{suffix}")
    if compat == OLD and noise is not None:
        noise = case.recorded("tile_noise_rel242")
        if noise is None:
            pytest.skip("that release did not know the type")
    translator = case.load(compat, noise)
    with torch.inference_mode():
        out = translator(torch.from_numpy(case.recorded("tile_in"))).numpy()
    out = out / units_of(translator, case, compat)
    tolerance = 1e-5 if noise is None else 1e-4
    assert np.abs(out - expected).max() < tolerance * np.ptp(expected)


@pytest.mark.slow
@EVERY_CASE
@pytest.mark.parametrize("as_floats", [False, True])
def test_blocks(case, as_floats):
    expected = case.recorded("block_out_float")
    if expected is None:
        expected = case.recorded("block_out")
    noise = case.recorded("block_noise")
    block = case.recorded("block_in")
    out = translate_block(
        case.load(NEW, noise),
        block.astype(np.float32) if as_floats else block,
        padding=int(case.scalars["padding"]),
        batch_size=int(case.scalars["batch_size"]),
    )
    tolerance = 5e-5 if noise is None else 1e-4
    assert np.abs(out - expected).max() < tolerance * np.ptp(expected)


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case.model.parent / "net.npz").exists()], ids=str
)
@pytest.mark.parametrize(("compat", "key"), [(NEW, "net_out"), (OLD, "net_out_rel242")])
def test_denoisers_alone(case, compat, key):
    with np.load(case.model.parent / "net.npz") as arrays:
        if key not in arrays.files:
            pytest.skip("not recorded for this release")
        told, level, expected = (arrays[name] for name in ("net_in", "net_level", key))
    net = case.load(compat, None).net
    with torch.inference_mode():
        condition, latent = torch.from_numpy(told).chunk(2, dim=1)
        out = net(condition, latent, torch.from_numpy(level)).numpy()
    assert np.abs(out - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_definition_beside_its_weights_is_the_same_model(folder):
    (emd,) = folder.glob("*.emd")
    if not (emd.with_suffix(".pth")).is_file():
        pytest.skip("the weights are in the package only")
    packed = ModelDefinition.read(definition_of(folder))
    assert ModelDefinition.read(emd).fingerprint == packed.fingerprint


TYPES = (
    ("G_B.1.weight", "CycleGAN"),
    ("G.down1.model.0.weight", "Pix2Pix"),
    ("G.layers.0.0.weight", "Pix2Pix"),
    ("G.model.1.weight", "Pix2PixHD"),
    ("layers.0.0.weight", "SuperResolution"),
    ("dwsr.convs.0.weight", "SR3_Wavelet"),
    ("denoise_fn.patch_embedx.proj.weight", "SR3_UViT"),
    ("denoise_fn.downs.0.weight", "SR3"),
)
"""What each type's weights hold, the more telling first."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "listing", sorted(ARCGIS.glob("specs/*.json")), ids=lambda path: str(path.stem)
)
def test_listings_of_full_size_nets_load(listing, tmp_path, monkeypatch):
    """Strictly, and on the meta device: nobody's memory is needed for 736 M parameters."""
    keys = json.loads(listing.read_text(encoding="utf-8"))["keys"]
    state = {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for name, (dtype, shape) in dict(keys).items()
    }
    kind = next(kind for key, kind in TYPES if key in state)
    (tmp_path / "m.pth").touch()
    definition = ModelDefinition.read(
        json.dumps(
            {
                "ModelType": "SuperResolution" if kind.startswith("S") else kind,
                "ModelArch": kind,
                "ModelFile": str(tmp_path / "m.pth"),
                "Kwargs": {"norm_groups": 12 if "244" in listing.stem else 8},
            }
        )
    )
    module, _, function = MODEL_TYPES[kind].builder.partition(":")
    builder = importlib.import_module(module)
    monkeypatch.setattr(builder, "load_state_dict", lambda _file: state)
    model = getattr(builder, function)(
        definition, resolve_arguments(definition), torch.device("meta"), NO_REFERENCE
    )
    assert (model.spec.in_bands, model.spec.out_bands) == (3, 3)
    assert model.parameters <= sum(tensor.numel() for tensor in state.values())
