"""Published nets, where they lie beside the checkout."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from attachtrans.infer.whole import translate_array
from tests.infer.nets import Net, spec

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
NETS = {
    "websr-anime4k-s-rl-x2/anime4k_s_rl.ts.pt": {"scale": 2, "receptive_field_px": 4},
    "waifu2x-upconv7-photo-x2/scalex2.ts.pt": {
        "scale": 2,
        "margin_px": 7,
        "receptive_field_px": 7,
    },
    "upscalerjs-esrgan-slim/x2.ts.pt": {"scale": 2, "receptive_field_px": 10},
    "neuro-low-light-zerodce/zerodcepp.ts.pt": {"receptive_field_px": 7},
}


def load(path: str, **facts) -> Net:
    if not (MODELS / path).is_file():
        pytest.skip(f"{path} is not here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(MODELS / path).eval()

    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.jit.optimized_execution(False):
            return module(batch)

    return Net(run, spec(**facts))


def picture(width: int, height: int) -> np.ndarray:
    """A smooth scene with noise, so that rounding to 8 bits meets every value."""
    rows, cols = np.mgrid[:height, :width]
    scene = [127 + 90 * np.sin(cols / (7 + band)) * np.cos(rows / 11) for band in range(3)]
    noise = np.random.default_rng(0).normal(0, 8, (3, height, width))
    return np.clip(np.stack(scene) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("path", NETS)
def test_tiles_equal_one_pass(path):
    net = load(path, **NETS[path])
    photo = picture(150, 97)
    whole = translate_array(net, photo, tile_size=512)
    assert net.shapes[-1][0] == 1
    assert whole.shape == (3, 97 * net.spec.scale, 150 * net.spec.scale)
    tiled = translate_array(net, photo, tile_size=64, batch_size=2)
    assert net.shapes[-1][2:] != net.shapes[0][2:]
    off = np.abs(tiled.astype(int) - whole)
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-4


def test_sar_amplitudes_stay_floats():
    net = load(
        "deepdespeckling-sar/sar2sar.ts.pt", bands=1, in_range=None, out_range=None, multiple_of=32
    )
    rng = np.random.default_rng(0)
    speckle = (np.sqrt(rng.gamma(1, 1, (1, 90, 140))) * 200).astype(np.float32)
    clean = translate_array(net, speckle, tile_size=64, padding=16)
    assert clean.dtype == np.float32
    assert clean.shape == speckle.shape
    assert clean[:, 20:-20, 20:-20].std() < 0.6 * speckle.std()
    assert {shape[2] % 32 for shape in net.shapes} == {0}
