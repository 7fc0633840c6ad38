from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from attachtrans.errors import InferenceError
from attachtrans.infer.canvas import Canvas
from attachtrans.infer.engine import Engine
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.precision import Caller
from attachtrans.infer.ranges import Decoding, Encoding
from attachtrans.infer.stepwise import Stepwise
from attachtrans.infer.tiling import Tiling
from attachtrans.infer.whole import translate_array
from attachtrans.models.translator import StepwiseTranslator, TranslatorSpec
from attachtrans.types import Size

torch.set_num_threads(1)

STEPS = 4


class Averaging:
    """Draws each latent value towards the mean of its tile; ends with it plus the pixel.

    `latent_step` 2 keeps the mean of each 2 x 2 pixels.
    """

    device = torch.device("cpu")
    step_count = STEPS

    def __init__(self, latent_step=1, pull=0.0):
        self.latent_step = latent_step
        self.pull = pull
        self.calls = 0
        self.spec = TranslatorSpec(
            in_bands=2,
            out_bands=2,
            in_range=None,
            out_range=None,
            multiple_of=4,
            min_size=8,
        )

    def condition(self, batch):
        step = self.latent_step
        return torch.nn.functional.avg_pool2d(batch, step)

    def begin(self, condition, positions):
        cols = positions[:, 0, None, None, None] // self.latent_step
        places = cols + torch.arange(condition.shape[-1])
        return places.expand_as(condition).float().clone()

    def advance(self, number, latent, condition, positions):
        self.calls += 1
        mean = latent.mean((2, 3), keepdim=True)
        return latent + self.pull * (mean - latent)

    def finish(self, latent, condition):
        whole = (latent + condition).repeat_interleave(self.latent_step, 2)
        return whole.repeat_interleave(self.latent_step, 3)

    def __call__(self, batch, positions=None):
        condition = self.condition(batch)
        latent = self.begin(condition, positions)
        for number in range(STEPS):
            latent = self.advance(number, latent, condition, positions)
        return self.finish(latent, condition)


def translate(translator, image, *, tile_size, batch_size=3, stop=None, on_step=None):
    plan = Tiling(tile_size=tile_size).plan(Size(image.shape[2], image.shape[1]), translator.spec)
    canvas = Canvas(plan, 2, Encoding(dtype=np.dtype(np.float32)), translator.device)
    done = Stepwise(
        translator=translator,
        image=image,
        decoding=Decoding(),
        plan=plan,
        batch_size=batch_size,
        lanes=Lanes(translator.device),
        autocast=Caller(translator, translator.device, "fp32").autocast,
        stop=stop or threading.Event(),
    ).run(canvas, on_step or (lambda _: None))
    return canvas.finish().clone() if done else None


@pytest.fixture
def image():
    return torch.rand(2, 37, 50, generator=torch.Generator().manual_seed(1))


def test_the_double_is_a_stepwise_translator():
    assert isinstance(Averaging(), StepwiseTranslator)


@pytest.mark.parametrize("latent_step", [1, 2])
def test_one_tile_is_the_call(image, latent_step):
    translator = Averaging(latent_step, pull=0.5)
    whole = translate(translator, image[:, :, :48], tile_size=64)
    padded = torch.nn.functional.pad(image[None, :, :, :48], (0, 0, 0, 3), mode="reflect")
    expected = translator(padded, torch.zeros(1, 2, dtype=torch.int64))[0, :, :37]
    assert torch.equal(whole, expected)


@pytest.mark.parametrize("latent_step", [1, 2])
def test_a_net_that_sees_no_neighbours_is_not_changed_by_tiles(image, latent_step):
    translator = Averaging(latent_step)
    found = translate(translator, image, tile_size=16)
    assert torch.allclose(found, translate(translator, image, tile_size=64), atol=1e-5)


def test_the_batch_changes_nothing(image):
    outs = [
        translate(Averaging(pull=0.5), image, tile_size=16, batch_size=size) for size in (1, 3, 99)
    ]
    assert torch.allclose(outs[0], outs[1], atol=1e-6)
    assert torch.allclose(outs[0], outs[2], atol=1e-6)


def test_every_tile_makes_every_step_and_says_so(image):
    seen = []
    translator = Averaging()
    translate(translator, image, tile_size=16, batch_size=99, on_step=seen.append)
    assert seen == list(range(STEPS + 1))
    assert translator.calls == STEPS


def test_it_can_be_stopped_between_batches(image):
    stop = threading.Event()
    translator = Averaging()

    def stop_after_two(done):
        if done == 2:
            stop.set()

    found = translate(
        translator, image, tile_size=16, batch_size=99, stop=stop, on_step=stop_after_two
    )
    assert found is None
    assert translator.calls == 2


class Recording(Averaging):
    """Keeps what tiles end with, as (width of a tile) columns of latent."""

    def __init__(self):
        super().__init__(pull=0.5)
        self.ends = []

    def finish(self, latent, condition):
        self.ends += list(latent)
        return super().finish(latent, condition)


def test_tiles_end_with_one_picture_where_they_overlap(image):
    net = Recording()
    plan = Tiling(tile_size=16).plan(Size(50, 37), net.spec)
    translate(net, image, tile_size=16)
    first, second = plan.columns.spans[:2]
    shared = first.start + plan.tile.width - second.start
    assert shared > 0
    assert torch.equal(net.ends[0][:, :, -shared:], net.ends[1][:, :, :shared])
    alone = [
        net(image[None, :, :16, span.start : span.start + 16], torch.tensor([[span.start, 0]]))[0]
        for span in (first, second)
    ]
    assert not torch.allclose(alone[0][:, :, -shared:], alone[1][:, :, :shared], atol=0.5)


def engine_for(net, **keys):
    return Engine[str](net, tile_size=16, device=torch.device("cpu"), **keys)


def test_the_engine_reports_every_step(image):
    seen = []
    engine = engine_for(Averaging(), on_pixels=seen.append)
    ((key, result),) = (*engine.submit("a", image.numpy()), *engine.flush())
    assert key == "a"
    assert result.array.shape == image.shape
    assert sum(seen) == 37 * 50
    assert sum(pixels > 0 for pixels in seen) == STEPS + 1


def test_the_engine_drops_an_image_when_stopped(image):
    stop = threading.Event()
    seen = []

    def on_pixels(pixels):
        seen.append(pixels)
        if sum(seen) > 37 * 50 // 2:
            stop.set()

    engine = engine_for(Averaging(), on_pixels=on_pixels, stop=stop)
    assert [*engine.submit("a", image.numpy()), *engine.flush()] == []
    assert [*engine.submit("b", image.numpy()), *engine.flush()] == []
    assert sum(seen) < 37 * 50


class Failing(Averaging):
    """Fails with an error while a batch is larger than it can bear."""

    def __init__(self, error, most=0):
        super().__init__()
        self.error = error
        self.most = most

    def advance(self, number, latent, condition, positions):
        if number == 2 and len(latent) > self.most:
            raise self.error
        return super().advance(number, latent, condition, positions)


def test_a_failure_is_one_images_result(image):
    seen = []
    engine = engine_for(Failing(ValueError("broken")), on_pixels=seen.append)
    ((_, result),) = (*engine.submit("a", image.numpy()), *engine.flush())
    assert isinstance(result, InferenceError)
    assert "broken" in str(result)
    assert sum(seen) == 37 * 50


def test_out_of_memory_halves_the_batch(image):
    seen = []
    net = Failing(torch.OutOfMemoryError("out of memory"), most=2)
    engine = engine_for(net, on_pixels=seen.append, batch_size=8)
    ((_, result),) = (*engine.submit("a", image.numpy()), *engine.flush())
    expected = translate_array(Averaging(), image.numpy(), tile_size=16)
    assert np.allclose(result.array, expected)
    assert sum(seen) == 37 * 50
    net.most = 0
    ((_, result),) = (*engine.submit("b", image.numpy()), *engine.flush())
    assert isinstance(result, InferenceError)


def test_lanes_change_nothing(image):
    expected = translate(Averaging(pull=0.5), image, tile_size=16)
    torch.set_num_threads(3)
    try:
        found = translate(Averaging(pull=0.5), image, tile_size=16, batch_size=2)
        net = Failing(ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            translate(net, image, tile_size=16, batch_size=2)
    finally:
        torch.set_num_threads(1)
    assert torch.allclose(found, expected, atol=1e-6)
