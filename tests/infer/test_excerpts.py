"""Blocks of a large image, put together, are what one image in memory gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from attachtrans.errors import InferenceError
from attachtrans.infer import excerpts as module
from attachtrans.infer.delivery import Translated
from attachtrans.infer.engine import Engine
from attachtrans.infer.excerpts import Excerpt, block_count, excerpts
from attachtrans.models.translator import TranslatorSpec
from attachtrans.types import Size, Window

Array = NDArray[np.float32]


class Net:
    """A 5 x 5 filter that scales; without a receptive field it also sees its tile and its place."""

    device = torch.device("cpu")

    def __init__(self, scale: float, field: int | None, margin: int = 0, multiple: int = 1) -> None:
        self.spec = TranslatorSpec(
            in_bands=1,
            out_bands=1,
            in_range=None,
            out_range=None,
            scale=scale,
            receptive_field_px=field,
            margin_px=margin,
            multiple_of=multiple,
        )
        self._kernel = torch.linspace(-1, 1, 25).view(1, 1, 5, 5)
        self.tiles = 0

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        assert positions is not None
        self.tiles += len(batch)
        padded = functional.pad(batch, (2, 2, 2, 2), mode="replicate")
        result = functional.conv2d(padded, self._kernel)
        if self.spec.receptive_field_px is None:
            place = positions.sum(1)[:, None, None, None] / 1000
            result = result + batch.mean((1, 2, 3), keepdim=True) + place
        margin = self.spec.margin_px
        if margin:
            result = result[:, :, margin:-margin, margin:-margin]
        if self.spec.scale < 1:
            return result[:, :, ::2, ::2]
        return functional.interpolate(result, scale_factor=self.spec.scale)


NETS = {
    "exact": Net(1, 2),
    "exact x2": Net(2, 2, multiple=4),
    "exact with margin": Net(2, 7, margin=7),
    "exact, halved": Net(0.5, 2, multiple=2),
    "blended": Net(1, None),
    "blended x2": Net(2, None, multiple=8),
    "blended, halved": Net(0.5, None, multiple=4),
}
SIZES = [Size(700, 1300), Size(1300, 300), Size(1, 900), Size(901, 3), Size(600, 600)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and panels that small images have several of."""
    monkeypatch.setattr(module, "_EXACT_PX", 512)
    monkeypatch.setattr(module, "_PANEL_PX", 512)
    monkeypatch.setattr(module, "_PANEL_TILES", 2)


def noise(size: Size) -> Array:
    return np.random.default_rng(0).random((1, size.height, size.width), dtype=np.float32)


def cut(image: Array, window: Window) -> Array:
    return np.ascontiguousarray(image[(slice(None), *window.slices)])


def whole_of(engine: Engine[int], image: Array) -> Array:
    ((_, result),) = (*engine.submit(0, image), *engine.flush())
    assert isinstance(result, Translated)
    return result.array


def blocks_of(
    engine: Engine[int], image: Array, parts: list[Excerpt], valid: Array | None = None
) -> Iterator[tuple[Window, Array]]:
    """Each block of the result with its pixels."""

    def taken(
        results: list[tuple[int, Translated | InferenceError]],
    ) -> Iterator[tuple[Window, Array]]:
        for key, result in results:
            assert isinstance(result, Translated)
            part = parts[key]
            yield part.block, result.array[(slice(None), *part.place.slices)]

    for key, part in enumerate(parts):
        known = None if valid is None else cut(valid, part.window)[0]
        array = cut(image, part.window)
        yield from taken(engine.submit(key, array, excerpt=part, valid=known))
    yield from taken(engine.flush())


@pytest.mark.parametrize("tile", [None, 200])
@pytest.mark.parametrize(("name", "size"), list(itertools.product(NETS, SIZES)))
def test_blocks_make_the_whole(name: str, size: Size, tile: int | None) -> None:
    net = NETS[name]
    engine = Engine[int](net, device=net.device, precision="fp32", tile_size=tile)
    image = noise(size)
    whole = whole_of(engine, image)
    plan = engine.plan(size)
    parts = list(excerpts(plan, net.spec))
    assert len(parts) == block_count(plan)

    result = np.full_like(whole, np.nan)
    for block, pixels in blocks_of(engine, image, parts):
        assert np.isnan(result[(slice(None), *block.slices)]).all()  # each pixel once
        result[(slice(None), *block.slices)] = pixels
    assert np.abs(result - whole).max() < 1e-4

    later = list(excerpts(plan, net.spec, start=len(parts) // 2))  # as after a crash
    assert [part.block for part in later] == [part.block for part in parts[len(parts) // 2 :]]
    for block, pixels in blocks_of(engine, image, later):
        assert np.abs(pixels - whole[(slice(None), *block.slices)]).max() < 1e-4


def test_of_strips_few_rows_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT_PX", 2048)
    net, size = NETS["exact"], Size(6000, 2000)
    plan = Engine[int](net, device=net.device, precision="fp32").plan(size)
    parts, flat = (list(excerpts(plan, net.spec, in_strips=on)) for on in (False, True))
    assert max(part.window.height for part in flat) < 0.6 * parts[0].window.height
    read, read_flat = (
        sum(p.window.width * p.window.height for p in some) for some in (parts, flat)
    )
    assert read_flat < 1.02 * read


@pytest.mark.parametrize("in_strips", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_blocks_begin_at_tiles_of_the_file_and_windows_hold_their_source(
    name: str, in_strips: bool
) -> None:
    net, size = NETS[name], Size(1900, 1400)
    engine = Engine[int](net, device=net.device, precision="fp32", tile_size=128)
    plan = engine.plan(size)
    for part in excerpts(plan, net.spec, in_strips=in_strips):
        assert part.block.col % 512 == part.block.row % 512 == 0
        for inner, outer in ((part.source, part.window),):
            assert inner.col >= outer.col
            assert inner.row >= outer.row
            assert inner.col + inner.width <= outer.col + outer.width
            assert inner.row + inner.height <= outer.row + outer.height
        assert part.window.width <= max(1024 / net.spec.scale, 1024) + 512
        assert part.window.height <= max(1024 / net.spec.scale, 1024) + 512


@pytest.mark.parametrize("name", ["exact", "blended x2"])
def test_tiles_that_see_nothing_valid_are_left_out(name: str) -> None:
    net, size = NETS[name], Size(1100, 1100)
    engine = Engine[int](net, device=net.device, precision="fp32", tile_size=128)
    image = noise(size)
    whole = whole_of(engine, image)
    valid = np.zeros_like(image)
    valid[:, 650:700, 100:1000] = 1
    before = net.tiles
    parts = list(excerpts(engine.plan(size), net.spec))
    found = np.zeros_like(whole)
    for block, pixels in blocks_of(engine, image, parts, valid):
        found[(slice(None), *block.slices)] = pixels
    scale = int(net.spec.scale)
    kept = np.kron(valid[0], np.ones((scale, scale))) > 0
    assert np.abs(found[0] - whole[0])[kept].max() < 1e-4
    assert not found[0, : 500 * scale].any()
    assert net.tiles - before < len(engine.plan(size)) / 2


@example(
    name="exact", width=1, height=97, tile=24, padding=0, start=0.0, in_strips=False
)  # tiles of the whole share enough by chance, those of its parts do not
@given(
    name=st.sampled_from(sorted(NETS)),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    tile=st.integers(24, 150),
    padding=st.integers(0, 20),
    start=st.floats(0, 1),
    in_strips=st.booleans(),
)
def test_any_size_tile_and_padding(
    name: str, width: int, height: int, tile: int, padding: int, start: float, in_strips: bool
) -> None:
    net, size = NETS[name], Size(width, height)
    engine = Engine[int](
        net, device=net.device, precision="fp32", tile_size=tile, padding=min(padding, tile // 2)
    )
    image = noise(size)
    whole = whole_of(engine, image)
    plan = engine.plan(size)
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in {"BLOCK_PX": 16, "_EXACT_PX": 64, "_PANEL_PX": 64}.items():
            patch.setattr(module, constant, value)
        count = block_count(plan, in_strips=in_strips)
        first = int(start * count)
        parts = list(excerpts(plan, net.spec, start=first, in_strips=in_strips))
        assert len(parts) == count - first
    covered = np.zeros(whole.shape, bool)
    for block, pixels in blocks_of(engine, image, parts):
        place = (slice(None), *block.slices)
        assert np.abs(pixels - whole[place]).max() < 1e-4
        assert not covered[place].any()
        covered[place] = True
    assert first or covered.all()
