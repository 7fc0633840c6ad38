from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer import engine as engines
from attachtrans.infer import staged
from attachtrans.infer.activations import Home, Room
from attachtrans.infer.engine import Engine
from attachtrans.infer.staged import Staged, Staging, grid
from attachtrans.infer.whole import translate_array
from attachtrans.types import Size
from tests.infer.nets import Net, conv_net, identity, spec
from tests.models.whole_nets import NETS, translator

CPU = torch.device("cpu")
SIZES = {"pix2pix": (300, 270)}
PLENTY = 1 << 40


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return translator(request.param), SIZES.get(request.param, (201, 163))


@pytest.fixture
def tiny_tiles(monkeypatch):
    monkeypatch.setattr(staged, "_TILE_BYTES_ELSEWHERE", 150_000)


def photo(width: int = 201, height: int = 163, bands: int = 3) -> np.ndarray:
    """Light changes across it, so that statistics of tiles differ."""
    across = np.linspace(0, 0.7, width) * np.linspace(0.2, 1, height)[:, None]
    noise = np.random.default_rng(3).random((bands, height, width)) * 0.3
    return (across + noise).astype(np.float32)


def room(monkeypatch, **free: int) -> None:
    names = {home: free.get(home.name.lower(), 0) for home in Home}
    folder = Path(tempfile.gettempdir())
    monkeypatch.setattr(engines, "find_room", lambda _device: Room(free=names, folder=folder))


def exact(net, array, **options):
    return translate_array(net, array, tile_size=64, seams="exact", **options)


@pytest.mark.slow
def test_tiled_equals_untiled(net, tiny_tiles):
    model, (width, height) = net
    array = photo(width, height)
    unit = model.spec.multiple_of
    tile = {"tile_size": max(unit, 64), "padding": 0}
    whole = translate_array(model, array, tile_size=1024)
    span = float(np.ptp(whole))
    tiled = translate_array(model, array, **tile, seams="exact")
    assert np.abs(tiled - whole).max() <= 1e-5 * span
    blended = translate_array(model, array, **tile)
    assert np.abs(blended - whole).max() > 1e-4 * span  # so there was something to do


def test_the_disk_gives_the_same(monkeypatch, tiny_tiles):
    model, array = translator("cyclegan"), photo()
    seen: list[Staging] = []
    expected = exact(model, array)
    room(monkeypatch, disk=PLENTY, memory=400_000)
    engine = Engine[int](
        model,
        device=CPU,
        tile_size=64,
        seams="exact",
        on_staging=lambda size, staging: seen.append(staging),
    )
    ((_, result),) = (*engine.submit(0, array), *engine.flush())
    assert np.array_equal(result.array, expected)
    (staging,) = seen
    assert set(staging.lodging.homes.values()) == {Home.DISK, Home.MEMORY}
    assert result.seam_ratio is None
    assert result.precision == "fp32"
    assert result.tiles > 1


@pytest.mark.parametrize(("width", "height"), [(9, 8), (65, 1), (1, 70), (131, 9)])
def test_small_and_narrow_photos(width, height, tiny_tiles):
    model, array = translator("cyclegan"), photo(width, height)
    whole = translate_array(model, array, tile_size=1024)
    assert np.abs(exact(model, array) - whole).max() <= 1e-5 * np.ptp(whole)


def test_integers_are_rounded_as_ever(tiny_tiles):
    model = translator("hd")
    array = (photo() * 255).astype(np.uint8)
    whole = translate_array(model, array, tile_size=1024).astype(int)
    off = np.abs(exact(model, array).astype(int) - whole)
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3  # where rounding was on an edge


def test_progress_adds_up(tiny_tiles):
    done: list[int] = []
    engine = Engine[int](
        translator("cyclegan"), device=CPU, tile_size=64, seams="exact", on_pixels=done.append
    )
    engine.submit(0, photo())
    assert sum(done) == 201 * 163
    assert len(done) > 20
    assert min(done) >= 0


def test_stopped_half_way_leaves_nothing(tiny_tiles, monkeypatch, tmp_path):
    stop, done = threading.Event(), []
    names = dict.fromkeys(Home, 0) | {Home.DISK: PLENTY}
    monkeypatch.setattr(engines, "find_room", lambda _device: Room(free=names, folder=tmp_path))

    def report(pixels: int) -> None:
        done.append(pixels)
        if sum(done) > 201 * 163 // 2:
            stop.set()

    engine = Engine[int](
        translator("cyclegan"),
        device=CPU,
        tile_size=64,
        seams="exact",
        on_pixels=report,
        stop=stop,
    )
    assert engine.submit(0, photo()) == []
    assert engine.flush() == []
    assert 201 * 163 // 2 < sum(done) < 201 * 163
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out_is_met_with_smaller_tiles(monkeypatch):
    model, array = translator("cyclegan"), photo()
    expected = exact(model, array)
    calls: list[int] = []
    run = Staged.run

    def short_of_memory(self, *args):
        calls.append(self.staging.tile_bytes)
        if len(calls) < 2:
            raise MemoryError
        return run(self, *args)

    monkeypatch.setattr(Staged, "run", short_of_memory)
    got = exact(model, array)
    assert np.abs(got - expected).max() <= 1e-5 * np.ptp(expected)
    assert calls[0] == 4 * calls[1]


def test_memory_that_is_never_enough(monkeypatch):
    def short_of_memory(self, *args):
        raise MemoryError("not for you")

    monkeypatch.setattr(Staged, "run", short_of_memory)
    with pytest.raises(InferenceError, match="out of memory"):
        exact(translator("cyclegan"), photo())


def test_a_photo_without_room_fails_and_others_go_on(monkeypatch):
    room(monkeypatch, memory=100_000)
    engine = Engine[str](translator("cyclegan"), device=CPU, tile_size=64, seams="exact")
    results = [*engine.submit("large", photo()), *engine.submit("small", photo(60, 40))]
    results = dict([*results, *engine.flush()])
    assert isinstance(results["large"], InferenceError)
    assert "TMPDIR" in str(results["large"])
    assert results["small"].array.shape == (3, 40, 60)


def test_a_failing_net_fails_the_photo(monkeypatch, tiny_tiles):
    model = translator("cyclegan")
    monkeypatch.setattr(staged, "read_tile", lambda *_: 1 / 0)
    with pytest.raises(InferenceError, match="ZeroDivisionError"):
        exact(model, photo())


def test_one_tile_after_all_when_memory_ran_out(monkeypatch):
    """A tile as large as the photo was asked for: without memory for it the net runs in stages."""
    model = translator("cyclegan")
    array = photo()
    whole = translate_array(model, array, tile_size=1024)

    def small_only(batch, positions=None):
        if batch.shape[3] > 160:
            raise MemoryError
        return model(batch)

    short = Net(small_only, model.spec)
    result = translate_array(short, array, tile_size=1024, seams="exact")
    assert np.abs(result - whole).max() <= 1e-5 * np.ptp(whole)


def test_bounded_nets_are_cropped_as_ever():
    result = translate_array(conv_net(3), photo(), tile_size=32, seams="exact")
    whole = translate_array(conv_net(3), photo(), tile_size=1024)
    assert np.abs(result - whole).max() < 1e-5


OPAQUE = replace(spec(), no_stages="its part SelfAttention uses flatten")


@pytest.mark.parametrize(
    ("net", "options", "said"),
    [
        (Net(lambda x: x, OPAQUE), {}, "SelfAttention uses flatten. .*tile_size=N, as large as"),
        (identity(), {}, "what happens inside it is not known"),
        (identity(), {"seams": "sharp"}, "blend, exact"),
        (translator("hd"), {"precision": "bf16"}, "--precision bf16 out"),
    ],
)
def test_what_cannot_be_is_refused_at_once(net, options, said):
    with pytest.raises(ArgumentError, match=said):
        Engine[int](net, device=CPU, **{"seams": "exact", **options})


def test_opaque_nets_take_photos_that_fit_into_a_tile():
    array = photo(60, 50)
    assert np.array_equal(translate_array(identity(), array, tile_size=64, seams="exact"), array)
    with pytest.raises(InferenceError, match="not possible with this net"):
        translate_array(identity(), photo(), tile_size=64, seams="exact")


def test_bounded_nets_with_too_little_padding():
    with pytest.raises(InferenceError, match="padding of 3 px"):
        translate_array(conv_net(3), photo(), tile_size=32, padding=1, seams="exact")


def test_tiles_cover_a_value_without_overlap():
    part = translator("cyclegan").spec.stages.parts(Size(1000, 600))[3]
    tiles = grid(part, 200_000)
    assert sum(tile.pixels for tile in tiles) == part.shape.height * part.shape.width
    assert len(tiles) > 1
    seen = np.zeros(part.shape[1:], int)
    for tile in tiles:
        seen[tile.slices] += 1
        assert part.scratch_bytes(tile) <= 220_000
    assert (seen == 1).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_as_on_the_cpu(monkeypatch):
    monkeypatch.setitem(staged._TILE_BYTES, "cuda", 150_000)
    array = photo()
    whole = translate_array(translator("cyclegan"), array, tile_size=1024)
    seen: list[Staging] = []
    device = torch.device("cuda", 0)
    model = translator("cyclegan", device)
    engine = Engine[int](
        model,
        device=device,
        tile_size=64,
        seams="exact",
        on_staging=lambda size, staging: seen.append(staging),
    )
    ((_, result),) = (*engine.submit(0, array), *engine.flush())
    assert np.abs(result.array - whole).max() <= 1e-4 * np.ptp(whole)
    assert set(seen[0].lodging.homes.values()) == {Home.DEVICE}
