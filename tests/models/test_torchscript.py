from __future__ import annotations

import io
import json
import warnings
import zipfile

import pytest
import torch
from torch import nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.load import load_model
from attachtrans.models.package import FileRef
from attachtrans.models.torchscript import checked_archive
from tests.models.nets import BicubicX2, bicubic_x2, package, write_torchscript
from tests.models.nets_hostile import exchange

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


class Talker(nn.Module):
    def forward(self, x):
        print(x.shape)  # noqa: T201  # what is tested
        return x


class Forker(nn.Module):
    def forward(self, x):
        return torch.jit.wait(torch.jit.fork(torch.relu, x))


class Pair(nn.Module):
    def forward(self, x):
        return x.mean(), x, x * 2


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


class Everything(nn.Module):
    """Containers, loops, branches and attention, as hand-written nets have them."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)])
        self.heads = nn.ModuleDict({"a": nn.PReLU(), "b": nn.ReLU(inplace=True)})
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.register_buffer("kernel", torch.ones(4, 1, 3, 3) / 9)
        self.scale = 0.1

    def forward(self, x, skip: torch.Tensor | None = None):
        seen: list[torch.Tensor] = []
        for i, conv in enumerate(self.convs):
            x = conv(x)
            x = self.heads["a"](x) if i % 2 == 0 else self.heads["b"](x)
            seen.append(x)
        count = 0
        while count < 2 and x.shape[0] > 0:
            x = x + seen[count] * self.scale
            count += 1
        if skip is not None:
            x = x + skip
        if x.dim() != 4:
            raise ValueError(f"four axes, not {x.dim()}")
        tokens = x.flatten(2).transpose(1, 2)
        tokens, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        x = x + tokens.transpose(1, 2).reshape(x.shape)
        padded = nn.functional.pad(x, [1, 1, 1, 1], mode="reflect")
        blurred = nn.functional.conv2d(padded, self.kernel, groups=4)
        rows = torch.arange(x.shape[2], device=x.device, dtype=x.dtype).view(1, 1, -1, 1)
        half = nn.functional.interpolate(x[:, :, ::2], size=x.shape[2:], mode="bilinear")
        return (
            torch.where(blurred > 0.5, x, -x) + rows.clamp(0, 1) ** 2 + half.amax(1, keepdim=True)
        )


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of this way to quantise
        net = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Conv2d(3, 3, 1))
        net.qconfig = torch.ao.quantization.default_qconfig
        torch.ao.quantization.prepare(net.eval(), inplace=True)
        net(torch.rand(1, 3, 4, 4))
        return torch.ao.quantization.convert(net)


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


HOSTILE = {
    "torch.save": Writer(),
    "torch.from_file": Reader(),
    "__getstate__": SpitefulState(),
    "print": Talker(),
    "torch.lstm": nn.Sequential(nn.Flatten(2), nn.LSTM(64, 4)),
    "quantized": quantised(),
    "fork": Forker(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_code_that_does_more_than_compute_is_refused(tmp_path, monkeypatch, capfd, name):
    emd = write_torchscript(HOSTILE[name], tmp_path / "m.emd")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stolen.pt").unlink(missing_ok=True)
    with pytest.raises(UntrustedModelError, match=name):
        load_model(emd, device="cpu")
    assert not (tmp_path / "stolen.pt").exists()
    assert capfd.readouterr().out == ""


def test_the_first_image_of_several_results_counts(tmp_path):
    translator = load_model(write_torchscript(Pair(), tmp_path / "m.emd"), device="cpu")
    assert translator(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(ModelError, match="no batch of images"):
        load_model(write_torchscript(nn.Flatten(), tmp_path / "n.emd"), device="cpu")


class Told(nn.Module):
    def forward(self, x, strength: float, add: torch.Tensor, times: int = 1):
        return x * strength * times + add


def test_inputs_besides_the_image(tmp_path):
    emd = write_torchscript(Told(), tmp_path / "m.emd", Inputs={"strength": 0.5, "add": 0.25})
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(load_model(emd, device="cpu")(image), image * 0.5 + 0.25)
    emd = write_torchscript(
        Told(), tmp_path / "m.emd", Inputs={"strength": 1, "add": [0], "times": 2}
    )
    assert torch.equal(load_model(emd, device="cpu")(image), image * 2)
    for inputs in (None, {"strength": 1}, {"strength": 1, "add": 0, "other": 1}):
        emd = write_torchscript(Told(), tmp_path / "m.emd", Inputs=inputs)
        with pytest.raises(ModelError, match=r"strength, add, times"):
            load_model(emd, device="cpu")


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
    exchange(tmp_path / "m.ts.pt", {"code/more.py": bytes(2000)})
    with pytest.raises(ModelError, match="bytes of code"):
        load_model(emd, device="cpu")


LAYERS = [
    nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    nn.ConvTranspose2d(4, 4, 3, 2, 1, 1),
    nn.BatchNorm2d(4),
    nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    nn.GroupNorm(2, 4),
    nn.LayerNorm([4, 8, 8]),
    nn.LocalResponseNorm(2),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.AdaptiveAvgPool2d((None, 4)),
    nn.Dropout2d(),
    nn.PixelShuffle(2),
    nn.Upsample(scale_factor=2, mode="bicubic"),
    nn.PReLU(4),
    nn.Softmax2d(),
    nn.RReLU(),
    nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(64, 2, 32, batch_first=True)),
    nn.utils.spectral_norm(nn.Conv2d(4, 4, 3)),
    nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
    Everything(),
]


@pytest.mark.slow
@pytest.mark.parametrize("how", [torch.jit.trace, torch.jit.script])
@pytest.mark.parametrize("layer", LAYERS, ids=[type(layer).__name__ for layer in LAYERS])
def test_checked_archives_compute_what_the_originals_compute(tmp_path, layer, how):
    image = torch.rand(1, 4, 8, 8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script = (
                how(layer.eval(), image, check_trace=False)
                if how is torch.jit.trace
                else how(layer.eval())
            )
            script(image)
    except (RuntimeError, AttributeError, torch.jit.Error):
        pytest.skip("not scriptable")
    stream = io.BytesIO()
    torch.jit.save(script, stream)
    content, _ = checked_archive(stream.getvalue(), FileRef(path=tmp_path / "m.ts.pt"))
    with torch.inference_mode():
        unchecked = torch.jit.load(io.BytesIO(stream.getvalue()))(image)
        assert torch.equal(torch.jit.load(io.BytesIO(content))(image), unchecked)


def test_the_checked_archive_holds_nothing_else(tmp_path):
    bicubic_x2(tmp_path / "m.emd")
    path = exchange(tmp_path / "m.ts.pt", {"extra/evil.pkl": b"evil", "code/x.py.debug_pkl": b"e"})
    content, _ = checked_archive(path.read_bytes(), FileRef(path=path))
    names = set(zipfile.ZipFile(io.BytesIO(content)).namelist())
    assert not [name for name in names if "evil" in name or "debug" in name]
    torch.jit.load(io.BytesIO(content))


def test_a_program_is_checked_again_when_compiled(tmp_path, monkeypatch):
    emd = write_torchscript(Reader(), tmp_path / "m.emd")
    content = (tmp_path / "m.ts.pt").read_bytes()
    unchecked = (content, False)
    monkeypatch.setattr("attachtrans.models.torchscript.checked_archive", lambda *_: unchecked)
    with pytest.raises(UntrustedModelError, match="aten::from_file"):
        load_model(emd, device="cpu")


REAL = {
    "upscalerjs-esrgan-slim/x2": (2, 0, 10),
    "websr-anime4k-s-rl-x2/anime4k_s_rl": (2, 0, 4),
    "waifu2x-upconv7-photo-x2/scalex2": (2, 7, 7),
    "neuro-low-light-zerodce/zerodcepp": (1, 0, 7),
}


@pytest.mark.slow
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
