"""The built-in model: the net's promises, and the numbers that the README states."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import attachtrans
from attachtrans.errors import ModelError
from attachtrans.models import srnet

FOLDER = Path(attachtrans.__file__).parent / "models_builtin"
RAW: dict[str, Any] = json.loads((FOLDER / "sr-x2.emd").read_text(encoding="utf-8"))
SMALL: dict[str, Any] = {
    "Scale": 2,
    "InputBands": 3,
    "OutputBands": 3,
    "Features": 4,
    "HiddenLayers": 2,
}


@pytest.fixture(scope="module")
def net() -> srnet.SRNet:
    built = srnet.build(RAW)
    built.load_state_dict(load_file(FOLDER / RAW["ModelFile"]))
    return built


def enlarged(net: srnet.SRNet, photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (2 H, 2 W, 3) uint8."""
    batch = torch.from_numpy(photo.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    with torch.inference_mode():
        out = net(batch)[0].mul(255).round().to(torch.uint8)
    return out.permute(1, 2, 0).numpy()


def luma(photo: np.ndarray) -> np.ndarray:
    return photo @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def psnr_db(photo: np.ndarray, truth: np.ndarray) -> float:
    return 10 * math.log10(255**2 / float(np.mean((luma(photo) - luma(truth)) ** 2)))


def halved(photo: np.ndarray) -> np.ndarray:
    size = (photo.shape[1] // 2, photo.shape[0] // 2)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def bicubic(photo: np.ndarray) -> np.ndarray:
    size = (photo.shape[1] * 2, photo.shape[0] * 2)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def chelsea() -> np.ndarray:
    """A picture that was held out from training, cropped to even sides."""
    picture: np.ndarray = pytest.importorskip("skimage.data").chelsea()
    return picture[:, :450]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (2, 3), (31, 18)])
def test_doubles_any_size(net: srnet.SRNet, height: int, width: int) -> None:
    with torch.inference_mode():
        out = net(torch.rand(2, 3, height, width))
    assert out.shape == (2, 3, 2 * height, 2 * width)
    assert out.dtype == torch.float32
    assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize("hidden_layers", [0, 1, 3])
def test_receptive_field_is_exact(hidden_layers: int) -> None:
    """An input pixel changes output pixels up to the stated distance, and none beyond."""
    torch.manual_seed(hidden_layers)
    net = srnet.build({**SMALL, "Features": 16, "HiddenLayers": hidden_layers}).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.abs_().mul_(0.1)
    reach = net.receptive_field_px
    side, middle = 2 * reach + 9, reach + 4
    photo = torch.full((1, 3, side, side), 1e-4, dtype=torch.double)
    changed = photo.clone()
    changed[..., middle, middle] *= 2
    with torch.inference_mode():
        rows = (net(changed) != net(photo)).any(1)[0].any(1).nonzero().flatten() // 2
    assert (int(rows.min()), int(rows.max())) == (middle - reach, middle + reach)


def test_stated_halo_makes_tiles_exact(net: srnet.SRNet) -> None:
    torch.manual_seed(5)
    photo = torch.rand(1, 3, 48, 40)
    halo = RAW["ReceptiveField"]
    with torch.inference_mode():
        whole = net(photo)
        tile = net(photo[..., 10:40, 5:35])
    inner = tile[..., 2 * halo : -2 * halo, 2 * halo : -2 * halo]
    expected = whole[..., 20 + 2 * halo : 80 - 2 * halo, 10 + 2 * halo : 70 - 2 * halo]
    assert torch.allclose(inner, expected, atol=1e-5)


def test_flat_photo_stays_flat_up_to_the_border(net: srnet.SRNet) -> None:
    for grey in (0, 1, 64, 128, 200, 254, 255):
        out = enlarged(net, np.full((20, 24, 3), grey, np.uint8))
        assert np.abs(out.astype(int) - grey).max() <= 1


def test_beats_bicubic_on_a_picture_that_was_held_out(net: srnet.SRNet) -> None:
    truth = chelsea()
    small = halved(truth)
    assert psnr_db(enlarged(net, small), truth) >= psnr_db(bicubic(small), truth) + 1


def test_border_is_as_good_as_bicubic(net: srnet.SRNet) -> None:
    """The outer two pixels, where a net that pads with zeros fails."""
    truth = chelsea()
    small = halved(truth)
    rim = np.ones(truth.shape[:2], bool)
    rim[2:-2, 2:-2] = False
    ours, theirs = enlarged(net, small), bicubic(small)
    assert psnr_db(ours[rim], truth[rim]) >= psnr_db(theirs[rim], truth[rim])


def test_is_deterministic_and_independent_of_the_batch(net: srnet.SRNet) -> None:
    torch.manual_seed(2)
    photos = torch.rand(3, 3, 20, 20)
    with torch.inference_mode():
        first, again = net(photos), net(photos)
        single = net(photos[1:2])
    assert torch.equal(first, again)
    assert torch.allclose(first[1:2], single, atol=1e-6)


def test_weights_are_small_and_complete(net: srnet.SRNet) -> None:
    weights = FOLDER / RAW["ModelFile"]
    assert weights.stat().st_size < 1_000_000
    assert all(torch.isfinite(weight).all() for weight in net.parameters())
    assert RAW["ReceptiveField"] == net.receptive_field_px
    assert RAW["Licence"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Scale": 4}, "Scale"),
        ({"InputBands": 1}, "InputBands"),
        ({"Features": 0}, "Features"),
        ({"Features": 100_000}, "Features"),
        ({"Features": "32"}, "Features"),
        ({"Features": True}, "Features"),
        ({"HiddenLayers": None}, "HiddenLayers"),
        ({"HiddenLayers": 10**9}, "HiddenLayers"),
        ({"ReceptiveField": 3}, "ReceptiveField"),
        ({"ReceptiveField": "global"}, "ReceptiveField"),
    ],
)
def test_refuses_a_wrong_definition(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        srnet.build({**SMALL, **change})


@pytest.mark.slow
def test_the_training_script_prints_the_table_of_the_shipped_weights() -> None:
    """At least 1 dB over bicubic on the mean of five held-out pictures, and a gain on each."""
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    script = Path(attachtrans.__file__).parents[1] / "scripts" / "train_builtin.py"
    if not script.exists():
        pytest.skip("scripts/ is not beside the installed package")
    run = subprocess.run(
        [sys.executable, script, "--evaluate"], capture_output=True, text=True, check=True
    )
    rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines()[2:]]
    gains = {row[0]: float(row[3]) for row in rows}
    assert len(gains) == 6
    assert gains.pop("**mean**") >= 1
    assert min(gains.values()) > 0
