from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.delivery import Translated
from attachtrans.infer.engine import Engine
from tests.infer.nets import (
    CPU,
    Net,
    conv_net,
    identity,
    instance_norm_net,
    nearest,
    spec,
    strided_net,
    three_halves,
    valid_net,
)


def picture(width: int, height: int, dtype: str = "uint8", bands: int = 3) -> np.ndarray:
    """Noise, stored as photos are: the bands of a pixel together."""
    rng = np.random.default_rng(width * 10_007 + height)
    if np.dtype(dtype).kind == "f":
        pixels = rng.random((height, width, bands))
    else:
        pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, bands), endpoint=True)
    return pixels.astype(dtype).transpose(2, 0, 1)


def translate(net: Net, *arrays: np.ndarray, **settings) -> list[Translated | InferenceError]:
    engine = Engine[int](net, device=CPU, **settings)
    results = {}
    for i, array in enumerate(arrays):
        results |= dict(engine.submit(i, array))
    results |= dict(engine.flush())
    return [results[i] for i in range(len(arrays))]


def one(net: Net, array: np.ndarray, **settings) -> np.ndarray:
    (result,) = translate(net, array, **settings)
    if isinstance(result, InferenceError):
        raise result
    return result.array


# Nothing is lost: a net that changes nothing gives back every pixel, edges and corners included.


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 90),
    tile=st.none() | st.integers(16, 80),
    share=st.sampled_from([0, 0.1, 0.25, 0.5]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    multiple=st.sampled_from([1, 8]),
    halo=st.sampled_from([None, 0, 5]),
)
def test_identity_is_bit_equal(width, height, tile, share, dtype, multiple, halo):
    pixels = picture(width, height, dtype)
    net = identity(
        in_range=None, out_range=(0, 1000), multiple_of=multiple, receptive_field_px=halo
    )
    padding = None if tile is None else int(share * tile)
    result = one(net, pixels, tile_size=tile, padding=padding, batch_size=3)
    if dtype == "uint8":  # 0..1000 does not fit
        assert result.dtype == np.float32
    else:
        assert result.dtype == dtype
    assert (result == pixels).all()


@pytest.mark.parametrize("both", [(0, 1), (-1, 1), (0, 255)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_ranges_there_and_back_are_bit_equal(both, dtype):
    pixels = np.arange(256 if dtype == "uint8" else 65536, dtype=dtype).reshape(1, 16, -1)
    net = identity(bands=1, in_range=both, out_range=both)
    assert (one(net, pixels, tile_size=64, padding=16) == pixels).all()


@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 120), height=st.integers(1, 60), scale=st.sampled_from([2, 4]))
def test_enlargement_is_bit_equal(width, height, scale):
    pixels = picture(width, height)
    for padding in (0, 5, 16):
        result = one(nearest(scale), pixels, tile_size=32, padding=padding)
        assert (result == pixels.repeat(scale, axis=1).repeat(scale, axis=2)).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (95, 64), (130, 7)])
@pytest.mark.parametrize("halo", [None, 2])
def test_scale_of_three_halves(size, halo):
    pixels = picture(*size)
    whole = one(three_halves(), pixels, tile_size=512)
    assert whole.shape[1:] == (int(size[1] * 1.5 + 0.5), int(size[0] * 1.5 + 0.5))
    tiled = one(three_halves(receptive_field_px=halo), pixels, tile_size=32, padding=6)
    assert (tiled == whole).all()


# Tiles do not show: bounded nets give what one pass over the image gives.


@pytest.mark.parametrize(
    "make", [conv_net, strided_net, valid_net, partial(conv_net, 3, "reflect")]
)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (61, 150), (200, 64), (131, 97)])
@pytest.mark.parametrize("tiling", [{"tile_size": 48}, {"tile_size": 64, "padding": 16}])
def test_bounded_nets_equal_one_pass(make, size, tiling):
    if make is not conv_net and make not in (strided_net, valid_net):
        size = tuple(max(edge, 4) for edge in size)  # torch reflects no single pixels
    pixels = picture(*size, "float32")
    net = make()
    whole = one(net, pixels, tile_size=512)
    (result,) = translate(net, pixels, batch_size=2, **tiling)
    np.testing.assert_allclose(result.array, whole, atol=1e-5, rtol=0)
    assert result.seam_ratio is None
    assert result.pixels_computed == result.tiles * np.prod(net.shapes[-1][2:])
    if size == (200, 64):
        assert result.tiles > 1


@settings(max_examples=25, deadline=None)
@given(width=st.integers(4, 300), height=st.integers(4, 100), tile=st.none() | st.integers(32, 128))
def test_bounded_nets_equal_one_pass_for_any_size(width, height, tile):
    pixels = picture(width, height, "float32")
    whole = one(conv_net(), pixels, tile_size=1024)
    result = one(conv_net(), pixels, tile_size=tile)
    np.testing.assert_allclose(result, whole, atol=1e-5, rtol=0)


def test_one_pass_needs_no_fill():
    net = conv_net()
    pixels = picture(70, 50, "float32")
    whole = one(net, pixels)
    with torch.inference_mode():
        direct = net(torch.from_numpy(np.ascontiguousarray(pixels))[None])[0].numpy()
    np.testing.assert_allclose(whole, direct, atol=1e-6, rtol=0)


def test_a_margin_is_filled_by_reflection():
    net = valid_net()
    pixels = picture(40, 30, "float32")
    filled = np.pad(pixels, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    with torch.inference_mode():
        direct = net(torch.from_numpy(np.ascontiguousarray(filled))[None])[0].numpy()
    np.testing.assert_allclose(one(net, pixels, tile_size=24), direct, atol=1e-6, rtol=0)


def test_blending_hides_the_tiles_of_a_global_net():
    smooth = np.cumsum(picture(256, 128, "float32") - 0.5, axis=2).astype(np.float32)
    hard, soft = (
        translate(instance_norm_net(), smooth, tile_size=64, padding=padding)[0]
        for padding in (0, 16)
    )
    assert hard.seam_ratio > 1.3
    assert soft.seam_ratio < 1.05
    assert translate(instance_norm_net(), smooth)[0].seam_ratio is None  # one tile


# Batches: what is in them changes no result.


@pytest.mark.parametrize("make", [conv_net, instance_norm_net, strided_net])
def test_batch_size_changes_nothing(make):
    arrays = [picture(150, 90), picture(150, 90)[:, ::-1].copy(), picture(60, 170)]
    single = translate(make(), *arrays, tile_size=48, batch_size=1)
    for batch_size in (2, 5, 64):
        several = translate(make(), *arrays, tile_size=48, batch_size=batch_size)
        for a, b in zip(single, several, strict=True):
            step = 1e-5 if a.array.dtype == np.float32 else 1  # rounding may tip over
            off = np.abs(a.array.astype(np.float32) - b.array)
            assert off.max() <= step
            assert (off > 1e-5).mean() < 0.001


def test_batches_mix_photos_and_are_full():
    net = identity()
    translate(net, *[picture(100, 60)] * 7, tile_size=64, padding=8, batch_size=4)
    tiles = sum(shape[0] for shape in net.shapes)
    assert tiles == 7 * 2
    assert [shape[0] for shape in net.shapes] == [4, 4, 4, 2]


def test_a_fixed_batch_is_filled_up():
    net = identity(fixed_batch=4, fixed_size=(32, 16))
    arrays = [picture(70, 20), picture(10, 10)]
    for result, pixels in zip(translate(net, *arrays), arrays, strict=True):
        assert (result.array == pixels).all()
    assert set(net.shapes) == {(4, 3, 16, 32)}


def test_photos_do_not_wait_for_ever():
    engine = Engine[int](identity(), device=CPU, batch_size=1000)
    done = []
    for i in range(100):
        done += [key for key, _ in engine.submit(i, picture(10 + i, 8))]
    assert len(done) >= 60
    done += [key for key, _ in engine.flush()]
    assert sorted(done) == list(range(100))


def test_positions_are_places_in_the_photo():
    net = identity()
    one(net, picture(100, 40), tile_size=64, padding=8, batch_size=2)
    assert net.positions == [[0, 0], [36, 0]]
    net = valid_net()
    one(net, picture(20, 20))
    assert net.positions == [[-2, -2]]


def test_pixels_are_reported_once():
    seen: list[int] = []
    arrays = [picture(100, 60), picture(33, 7), picture(64, 64)]
    translate(identity(), *arrays, tile_size=32, padding=4, batch_size=3, on_pixels=seen.append)
    assert sum(seen) == 100 * 60 + 33 * 7 + 64 * 64


# Faults stay with the photo that has them.


def fails_on(value: float, fault: Exception | float) -> Net:
    """An identity that fails on tiles holding a value in their first band."""

    def run(batch: torch.Tensor) -> torch.Tensor:
        bad = (batch[:, 0] == value).flatten(1).any(dim=1)
        if not bool(bad.any()):
            return batch
        if isinstance(fault, Exception):
            raise fault
        result = batch.clone()
        result[bad] = fault
        return result

    return Net(run, spec(in_range=None, out_range=(0, 255)))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RuntimeError("odd tile"), "RuntimeError: odd tile"),
        (float("nan"), "NaN or infinite"),
        (float("-inf"), "NaN or infinite"),
    ],
)
def test_a_bad_photo_does_not_spoil_the_others(fault, words):
    arrays = [picture(50, 50) // 2 for _ in range(3)]
    arrays[1] = arrays[1].copy()
    arrays[1][0, 20, 20] = 200
    seen: list[int] = []
    results = translate(
        fails_on(200, fault), *arrays, tile_size=32, padding=4, batch_size=5, on_pixels=seen.append
    )
    assert isinstance(results[1], InferenceError)
    assert words in str(results[1])
    for i in (0, 2):
        assert (results[i].array == arrays[i]).all()
    assert sum(seen) == 3 * 2500


def test_half_precision_is_named_when_numbers_go_bad():
    (result,) = translate(fails_on(1, float("inf")), np.ones((3, 8, 8), np.uint8), precision="bf16")
    assert "--precision fp32" in str(result)


def test_a_result_of_another_size_is_refused():
    net = Net(lambda batch: batch[..., 1:], spec())
    (result,) = translate(net, picture(8, 8))
    assert isinstance(result, InferenceError)
    assert "(1, 3, 8, 7)" in str(result)
    assert "(1, 3, 8, 8)" in str(result)


@pytest.mark.parametrize("shape", [(8, 8), (3, 0, 8), (1, 3, 8, 8)])
def test_arrays_that_are_no_image(shape):
    with pytest.raises(ArgumentError, match="bands, height, width"):
        translate(identity(), np.zeros(shape, np.uint8))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"padding": 300}, {"tile_size": -1}])
def test_wrong_settings_show_at_once(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Engine(identity(), device=CPU, **wrong)


# Memory.


def limited(pixels: int, fault: Exception, **facts) -> Net:
    def run(batch: torch.Tensor) -> torch.Tensor:
        if batch.shape[0] * batch.shape[2] * batch.shape[3] > pixels:
            raise fault
        return batch

    return Net(run, spec(**facts))


OUT = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
]


@pytest.mark.parametrize("fault", OUT)
@pytest.mark.parametrize("halo", [None, 3])
def test_out_of_memory_halves_the_batch_and_remembers(fault, halo):
    net = limited(3 * 64 * 64, fault, receptive_field_px=halo)
    arrays = [picture(200, 130), picture(64, 64), picture(180, 64)]
    results = translate(net, *arrays, tile_size=64, padding=8, batch_size=16)
    for result, pixels in zip(results, arrays, strict=True):
        assert (result.array == pixels).all()
    batches = [shape[0] for shape in net.shapes]
    assert batches[:3] == [16, 8, 4]
    assert all(batch <= 2 for batch in batches[3:])


@pytest.mark.parametrize("tile_size", [None, 256])
def test_out_of_memory_halves_the_tile(tile_size):
    seen: list[int] = []
    net = limited(80 * 80, OUT[0], receptive_field_px=3)
    arrays = [picture(300, 200), picture(250, 256)]
    results = translate(net, *arrays, tile_size=tile_size, batch_size=4, on_pixels=seen.append)
    for result, pixels in zip(results, arrays, strict=True):
        assert (result.array == pixels).all()
        assert result.tiles > 4
    assert sum(seen) == 300 * 200 + 250 * 256


@pytest.mark.parametrize("facts", [{}, {"fixed_size": (64, 64)}, {"fixed_batch": 2}])
def test_no_memory_at_all_fails_the_photo(facts):
    net = limited(10, OUT[0], **facts)
    large, small = translate(net, picture(100, 100), picture(3, 3))
    assert isinstance(large, InferenceError)
    assert "out of memory" in str(large)
    assert isinstance(small, InferenceError if facts else Translated)


# Stopping.


def test_stop_gives_what_is_finished_and_drops_the_rest():
    stop = threading.Event()
    engine = Engine[str](identity(), device=CPU, tile_size=16, padding=0, stop=stop)
    assert [key for key, _ in engine.submit("a", picture(40, 40))] == ["a"]
    stop.set()
    assert engine.submit("b", picture(40, 40)) == []
    assert engine.flush() == []


def test_stop_in_the_middle():
    stop = threading.Event()
    seen: list[int] = []

    def count(pixels: int) -> None:
        seen.append(pixels)
        if len(seen) == 5:
            stop.set()

    engine = Engine[int](
        identity(), device=CPU, tile_size=16, padding=0, stop=stop, on_pixels=count
    )
    results = [*engine.submit(0, picture(32, 32)), *engine.submit(1, picture(32, 32))]
    assert [key for key, _ in results] == [0]
    assert engine.flush() == []
    assert len(seen) == 5
