"""The same on a GPU; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attachtrans.errors import InferenceError
from attachtrans.infer.engine import Engine
from tests.infer.nets import Net, conv_net, convolutions, instance_norm_net, spec
from tests.infer.test_engine import picture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def on_gpu(net: Net) -> Net:
    device = torch.device("cuda", 0)
    function = net.function.to(device) if isinstance(net.function, torch.nn.Module) else None
    return Net(function or net.function, net.spec, device)


def translate(net: Net, *arrays: np.ndarray, **settings):
    engine = Engine[int](net, device=net.device, **settings)
    results = {}
    for i, array in enumerate(arrays):
        results |= dict(engine.submit(i, array))
    results |= dict(engine.flush())
    return [results[i] for i in range(len(arrays))]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("halo", [None, 0])
def test_identity_is_bit_equal(dtype, halo):
    net = Net(
        lambda batch: batch,
        spec(in_range=None, out_range=(0, 100), receptive_field_px=halo),
        torch.device("cuda", 0),
    )
    arrays = [picture(w, h, dtype) for w, h in ((150, 90), (1, 1), (700, 300), (90, 150))]
    results = translate(net, *arrays, tile_size=64, padding=8, precision="fp32")
    for result, pixels in zip(results, arrays, strict=True):
        assert result.array.dtype == dtype
        assert (result.array == pixels).all()


def test_fp32_equals_the_cpu():
    pixels = picture(300, 200, "float32")
    (gpu,) = translate(on_gpu(conv_net()), pixels, tile_size=128, precision="fp32")
    with torch.inference_mode():
        whole = conv_net()(torch.from_numpy(np.ascontiguousarray(pixels))[None])[0].numpy()
    np.testing.assert_allclose(gpu.array, whole, atol=2e-3, rtol=0)  # cuDNN computes in TF32


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
def test_half_precision_stays_close(precision):
    arrays = [picture(400, 300), picture(250, 333)]
    net = on_gpu(Net(torch.nn.Sequential(convolutions(), torch.nn.Sigmoid()), spec()))
    full = translate(net, *arrays, precision="fp32")
    half = translate(net, *arrays, precision=precision)
    for a, b in zip(full, half, strict=True):
        assert precision in (b.precision, "auto")  # which one it is, the clock decides
        assert np.abs(a.array.astype(int) - b.array).max() <= 3


def test_blending_and_seams():
    (result,) = translate(on_gpu(instance_norm_net()), picture(500, 300), tile_size=128)
    assert result.seam_ratio is not None
    assert result.tiles > 4


def test_a_nan_fails_its_photo_only():
    def spoil(batch: torch.Tensor) -> torch.Tensor:
        bad = (batch[:, :1] > 0.99).amax(dim=(2, 3), keepdim=True)
        return torch.where(bad, torch.nan, batch)

    arrays = [picture(100, 80) // 2 for _ in range(3)]
    arrays[1] = arrays[1].copy()
    arrays[1][0, 3, 3] = 255
    results = translate(Net(spoil, spec(), torch.device("cuda", 0)), *arrays)
    assert [isinstance(result, InferenceError) for result in results] == [False, True, False]


def test_real_out_of_memory_goes_on():
    def greedy(batch: torch.Tensor) -> torch.Tensor:
        # 8 MiB per pixel: a batch that is too large asks for more than any card has.
        torch.empty(batch.shape[0] * batch.shape[2] * batch.shape[3] << 21, device=batch.device)
        return batch

    net = Net(greedy, spec(receptive_field_px=2), torch.device("cuda", 0))
    arrays = [picture(300, 300), picture(64, 64)]
    for result, pixels in zip(translate(net, *arrays, batch_size=8), arrays, strict=True):
        assert (result.array == pixels).all()
