from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.blockwise import BlockEngine, block_plan, reference_rule
from attachtrans.models.load import load_model
from attachtrans.types import Size
from tests.infer.nets import Net, identity, instance_norm_net, spec

TILE = 32


def run(net: Net, array: np.ndarray, **arguments: Any) -> Any:
    rule = reference_rule(**({"tile": TILE, "padding": None, "batch_size": None} | arguments))
    engine = BlockEngine[str](net, rule, on_pixels=lambda _: None, stop=threading.Event())
    ((key, result),) = engine.submit("photo", array)
    assert key == "photo"
    assert engine.flush() == []
    return result


def by_the_book(
    call: Callable[[np.ndarray], np.ndarray],
    photo: np.ndarray,
    tile: int,
    padding: int,
    batch_size: int,
) -> np.ndarray:
    """The reference's rule over a whole photo, in words of its own: numpy only."""
    side = int(batch_size**0.5)
    stride = tile - 2 * padding
    inner = stride * side
    _, height, width = photo.shape
    around = [(0, 0), (padding, padding + inner), (padding, padding + inner)]
    wide = np.pad(photo.astype(np.float32), around, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(tile) / tile)
    window = hann[:, None] * hann[None, :]
    result = np.zeros_like(wide)
    for top in range(0, height, inner):
        for left in range(0, width, inner):
            edge = inner + 2 * padding
            total, weight = np.zeros((len(photo), edge, edge)), np.zeros((edge, edge))
            for down in range(0, inner, stride):
                for across in range(0, inner, stride):
                    cut = wide[
                        :, top + down : top + down + tile, left + across : left + across + tile
                    ]
                    total[:, down : down + tile, across : across + tile] += call(cut) * window
                    weight[down : down + tile, across : across + tile] += window
            middle = slice(padding, padding + inner)
            result[:, top : top + inner, left : left + inner] = (
                total[:, middle, middle] / weight[middle, middle]
            )
    return result[:, :height, :width]


@pytest.mark.slow
@given(
    width=st.integers(33, 90),
    height=st.integers(33, 90),
    padding=st.sampled_from([None, 1, 5, 15]),
    batch_size=st.sampled_from([None, 1, 3, 9]),
)
@settings(max_examples=15)
def test_a_photo_is_translated_by_the_book(width, height, padding, batch_size):
    net = instance_norm_net()
    photo = np.random.default_rng(0).random((3, height, width)).astype(np.float32)

    def call(cut: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(cut.copy())[None]).numpy()[0]

    expected = by_the_book(call, photo, TILE, padding or TILE // 4, batch_size or 4)
    result = run(net, photo, padding=padding, batch_size=batch_size)
    np.testing.assert_allclose(result.array, expected, atol=1e-5)


def test_integers_are_rounded_and_clipped_never_cast():
    net = Net(lambda batch: batch * 400 - 50, spec(in_range=(0, 1), out_range=(0, 255)))
    photo = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    result = run(net, photo)
    exact = photo / 255 * 400 - 50
    assert result.array.dtype == np.uint8
    np.testing.assert_array_equal(result.array, np.clip(np.floor(exact + 0.5), 0, 255))


def test_shares_of_full_scale_become_eight_bits():
    """What the reference gives as 0..1 for 8-bit photos."""
    net = Net(lambda batch: batch / 255, spec(in_range=None, out_range=(0, 1)))
    photo = np.random.default_rng(1).integers(0, 256, (3, 40, 50), np.uint8)
    np.testing.assert_array_equal(run(net, photo).array, photo)


def test_what_was_computed_is_told():
    done: list[int] = []
    net = identity()
    rule = reference_rule(tile=TILE, padding=8, batch_size=4)
    engine = BlockEngine[int](net, rule, on_pixels=done.append, stop=threading.Event())
    ((_, result),) = engine.submit(0, np.zeros((3, 40, 70), np.uint8))
    assert sum(done) == 40 * 70
    assert len(done) == 2 * 3
    assert result.tiles == 2 * 3 * 4
    assert result.pixels_computed == result.tiles * TILE**2
    assert result.seam_ratio == 1.0
    assert result.precision == "fp32"
    assert {tuple(shape) for shape in net.shapes} == {(4, 3, TILE, TILE)}
    assert net.positions[:4] == [[-8, -8], [8, -8], [-8, 8], [8, 8]]


def test_blocks_show_where_they_meet():
    flat = np.full((3, 64, 64), 0.5, np.float32)
    flat[:, :, :16] = 0
    assert run(instance_norm_net(), flat, padding=8, batch_size=4).seam_ratio > 1


def test_a_failed_photo_leaves_the_next_one_alone():
    def fail(batch: torch.Tensor) -> torch.Tensor:
        if float(batch.max()) > 0.5:
            raise RuntimeError("bright")
        return batch

    done: list[int] = []
    rule = reference_rule(tile=TILE, padding=None, batch_size=None)
    engine = BlockEngine[str](
        Net(fail, spec()), rule, on_pixels=done.append, stop=threading.Event()
    )
    ((_, bad),) = engine.submit("bright", np.full((3, 40, 40), 255, np.uint8))
    assert isinstance(bad, InferenceError)
    assert "bright" in str(bad)
    ((_, good),) = engine.submit("dark", np.zeros((3, 40, 40), np.uint8))
    assert not good.array.any()
    assert sum(done) == 2 * 40 * 40


def test_nan_is_an_error():
    result = run(Net(lambda batch: batch * torch.nan, spec()), np.zeros((3, 20, 20), np.uint8))
    assert isinstance(result, InferenceError)


def test_a_stopped_engine_gives_nothing():
    stop = threading.Event()

    def stopping(batch: torch.Tensor) -> torch.Tensor:
        stop.set()
        return batch

    net = Net(stopping, spec())
    rule = reference_rule(tile=TILE, padding=None, batch_size=None)
    engine = BlockEngine[int](net, rule, on_pixels=lambda _: None, stop=stop)
    assert engine.submit(0, np.zeros((3, 200, 200), np.uint8)) == []
    assert len(net.shapes) == 1


@pytest.mark.parametrize(("padding", "said"), [(0, "1 to 15"), (16, "1 to 15"), (99, "1 to 15")])
def test_where_the_reference_fails_it_is_refused(padding, said):
    with pytest.raises(ArgumentError, match=f"padding={padding}.*{said}"):
        reference_rule(tile=TILE, padding=padding, batch_size=None)


def test_a_definition_without_a_tile_is_refused():
    with pytest.raises(ArgumentError, match="ImageHeight"):
        reference_rule(tile=None, padding=None, batch_size=None)


def test_defaults_of_the_reference():
    rule = reference_rule(tile=256, padding=None, batch_size=None)
    assert (rule.padding, rule.side, rule.inner) == (64, 2, (256, 256))
    assert reference_rule(tile=256, padding=None, batch_size=8).side == 2
    plan = block_plan(Size(500, 200), rule)
    assert [span.out_stop for span in plan.columns.spans] == [256, 500]
    assert len(plan.rows.spans) == 1


MODELS = ("cyclegan_rgb", "sr_unet_rgb")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_recorded_blocks_of_the_reference(shared: Path, name: str):
    """A photo whose second block is the recorded one, with what the recording has around it."""
    folder = shared / "arcgis" / name
    with np.load(folder / "io.npz") as stored:
        arrays = dict(stored)
    for case in json.loads((folder / "run.json").read_text())["cases"]:
        scalars = dict(case["scalars"])
        padding, batch = int(scalars.pop("padding")), int(scalars.pop("batch_size"))
        recorded = arrays[f"{case['id']}_block_in"].astype(np.float32)
        key = f"{case['id']}_block_out"
        expected = arrays[key if key in arrays else f"{key}_float"]
        inner = expected.shape[1]
        photo = np.zeros((3, 2 * inner + padding, 2 * inner + padding), np.float32)
        photo[:, inner - padding :, inner - padding :] = recorded
        definition = folder / f"{name}.dlpk"
        net = load_model(definition, arguments=scalars, device="cpu", compat="arcgis-2.4.4")
        side = int(batch**0.5)
        rule = reference_rule(tile=inner // side + 2 * padding, padding=padding, batch_size=batch)
        engine = BlockEngine[int](net, rule, on_pixels=lambda _: None, stop=threading.Event())
        ((_, result),) = engine.submit(0, photo)
        span = float(np.ptp(expected))
        found = result.array[:, inner : 2 * inner, inner : 2 * inner]
        np.testing.assert_allclose(found, expected, atol=5e-5 * span, rtol=0)
