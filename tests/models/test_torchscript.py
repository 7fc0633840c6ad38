from __future__ import annotations

import json
import zipfile

import pytest
import torch
from torch import nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.load import load_model
from tests.models.nets import BicubicX2, bicubic_x2, package, write_torchscript

torch.set_num_threads(1)


class Writer(nn.Module):
    def forward(self, x):
        torch.save(x, "stolen.pt")
        return x


class Reader(nn.Module):
    def forward(self, x):
        return x + torch.from_file("/etc/passwd", False, 4, dtype=torch.float32).sum()


class SpitefulState(nn.Module):
    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (torch.zeros(1), self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "stolen.pt")
        self.training = state[1]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1).half()

    def forward(self, x):
        return self.conv(x)


class Warp(nn.Module):
    """Moves pixels by as much as the image is bright."""

    def forward(self, x):
        ones = torch.ones(1, x.shape[2], x.shape[3])
        theta = torch.eye(2, 3).expand(x.shape[0], 2, 3)
        grid = nn.functional.affine_grid(theta, x.shape, align_corners=False)
        grid = grid + (x.mean(1).unsqueeze(-1) * ones.unsqueeze(-1)) * 1e-6
        return nn.functional.grid_sample(x, grid, align_corners=False)


def test_bicubic_is_torchs_own(tmp_path):
    translator = load_model(bicubic_x2(tmp_path / "m.emd"), device="cpu")
    pixels = torch.rand(2, 3, 9, 14)
    with torch.inference_mode():
        assert torch.equal(translator(pixels), BicubicX2()(pixels))
        eight_bits = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
        assert torch.allclose(translator(eight_bits), BicubicX2()(eight_bits / 255), atol=1e-6)
    assert translator.spec.scale == 2
    assert translator.spec.receptive_field_px == 2


def test_from_a_package(tmp_path):
    emd = bicubic_x2(tmp_path / "m.emd")
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.ts.pt")
    assert load_model(packed, device="cpu").spec == load_model(emd, device="cpu").spec


@pytest.mark.parametrize("module", [Writer(), Reader(), SpitefulState()])
def test_code_that_touches_files_is_refused(tmp_path, monkeypatch, module):
    emd = write_torchscript(module, tmp_path / "m.emd")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stolen.pt").unlink(missing_ok=True)
    with pytest.raises(UntrustedModelError, match="touches files"):
        load_model(emd, device="cpu")
    assert not (tmp_path / "stolen.pt").exists()


def test_results_that_are_no_tensor(tmp_path):
    with pytest.raises(ModelError, match="not one tensor"):
        load_model(write_torchscript(Pair(), tmp_path / "m.emd"), device="cpu")


def test_half_precision_files_run_in_float(tmp_path):
    emd = write_torchscript(Half(), tmp_path / "m.emd")
    out = load_model(emd, device="cpu")(torch.rand(1, 3, 8, 8))
    assert out.dtype == torch.float32


def test_nets_that_move_pixels_count_as_unbounded(tmp_path):
    emd = write_torchscript(Warp(), tmp_path / "m.emd")
    assert load_model(emd, device="cpu").spec.receptive_field_px is None
    emd = write_torchscript(Warp(), tmp_path / "n.emd", ReceptiveField=5)
    assert load_model(emd, device="cpu").spec.receptive_field_px == 5


@pytest.mark.parametrize("content", [b"", b"noise"])
def test_damaged_files(tmp_path, content):
    emd = bicubic_x2(tmp_path / "m.emd")
    (tmp_path / "m.ts.pt").write_bytes(content)
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(emd, device="cpu")


def test_a_state_dict_is_no_torchscript(tmp_path):
    emd = bicubic_x2(tmp_path / "m.emd")
    torch.save({"a": torch.zeros(1)}, tmp_path / "m.ts.pt")
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(emd, device="cpu")


def test_truncated_files(tmp_path):
    emd = bicubic_x2(tmp_path / "m.emd")
    content = (tmp_path / "m.ts.pt").read_bytes()
    (tmp_path / "m.ts.pt").write_bytes(content[:-200])
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(emd, device="cpu")


def test_huge_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("attachtrans.models.torchscript._MAX_CODE_BYTES", 1000)
    emd = bicubic_x2(tmp_path / "m.emd")
    with zipfile.ZipFile(tmp_path / "m.ts.pt", "a") as archive:
        archive.writestr("m/code/more.py", bytes(2000))
    with pytest.raises(ModelError, match="bytes of code"):
        load_model(emd, device="cpu")


REAL = {
    "upscalerjs-esrgan-slim/x2": (2, 0, 10),
    "websr-anime4k-s-rl-x2/anime4k_s_rl": (2, 0, 4),
    "waifu2x-upconv7-photo-x2/scalex2": (2, 7, 7),
    "neuro-low-light-zerodce/zerodcepp": (1, 0, 7),
}


@pytest.mark.parametrize("name", REAL)
def test_facts_of_real_nets_are_measured(shared, name):
    definition = {
        "Framework": "attachtrans",
        "ModelType": "TorchScript",
        "ModelFile": str(shared / "models" / f"{name}.ts.pt"),
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
    }
    spec = load_model(json.dumps(definition), device="cpu").spec
    assert (spec.scale, spec.margin_px, spec.receptive_field_px) == REAL[name]
    assert (spec.in_bands, spec.out_bands, spec.multiple_of) == (3, 3, 1)
    assert spec.fixed_size is None
    assert spec.fixed_batch is None


def test_a_real_net_with_multiples(shared):
    definition = {
        "Framework": "attachtrans",
        "ModelType": "TorchScript",
        "ModelFile": str(shared / "models/deepdespeckling-sar/sar2sar.ts.pt"),
        "InputRange": "raw",
        "OutputRange": "raw",
        "ReceptiveField": "global",
    }
    spec = load_model(json.dumps(definition), device="cpu").spec
    assert (spec.in_bands, spec.multiple_of, spec.min_size) == (1, 32, 32)
    assert spec.receptive_field_px is None
