"""Nets whose ranges are known by construction, and real ones whose authors state them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models.definition import ModelDefinition
from attachtrans.models.guess import Guess, guess_ranges, prepare_sample
from attachtrans.models.load import load_model
from attachtrans.models.module import ModuleTranslator
from attachtrans.models.translator import TranslatorSpec
from attachtrans.tool.wrap_sample import synthetic_photo

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
PHOTO = torch.from_numpy(synthetic_photo()).float() / 255
BYTE, UNIT, SIGNED = (0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other take most of the time of such small nets."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Blurred(nn.Module):
    """A slight blur within a range, as restoring nets do: clamps what goes in and what comes out.

    taken, given: ranges; the net maps one onto the other by itself.
    """

    def __init__(self, taken: tuple[float, float], given: tuple[float, float]) -> None:
        super().__init__()
        self.taken, self.given = taken, given

    def forward(self, x: Tensor) -> Tensor:
        unit = (x - self.taken[0]) / (self.taken[1] - self.taken[0])
        soft = functional.avg_pool2d(
            functional.pad(unit.clamp(0, 1), (1, 1, 1, 1), mode="replicate"), 3, 1
        )
        return soft * (self.given[1] - self.given[0]) + self.given[0]


class Toned(nn.Module):
    """Linear, without ends: a shift that means another thing in each range."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.8 * x + 0.1


class Linear(nn.Module):
    """A blur without ends, which is the same in all ranges."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


class Nothing(nn.Module):
    """A net that shows nothing of the picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x.flip(-1).flip(-2) * 0.01 - x.mean())


def net_of(module: nn.Module, **facts: object) -> ModuleTranslator:
    known = {"in_bands": 3, "out_bands": 3, "in_range": None, "out_range": None, **facts}
    return ModuleTranslator(module=module, spec=TranslatorSpec(**known), device=torch.device("cpu"))


def ranges(guess: Guess) -> tuple[object, object]:
    assert guess.best is not None
    return guess.best.in_range, guess.best.out_range


@pytest.mark.parametrize("taken", [UNIT, SIGNED, BYTE])
@pytest.mark.parametrize("given", [UNIT, SIGNED, BYTE])
def test_all_nine_pairs_of_ranges_are_told(taken, given):
    guess = guess_ranges(net_of(Blurred(taken, given)), PHOTO)
    assert guess.certain
    assert ranges(guess) == (taken, given)
    assert guess.bounded == given
    assert guess.alike == ()


@pytest.mark.parametrize("taken", [UNIT, SIGNED, BYTE])
def test_with_one_band_in_and_out_too(taken):
    guess = guess_ranges(net_of(Blurred(taken, UNIT), in_bands=1, out_bands=1), PHOTO)
    assert guess.certain
    assert ranges(guess) == (taken, UNIT)


def test_where_the_range_changes_nothing_the_usual_one_is_taken_and_the_others_are_said():
    guess = guess_ranges(net_of(Linear()), PHOTO)
    assert guess.certain
    assert ranges(guess) == (UNIT, UNIT)
    assert {(one.in_range, one.out_range) for one in guess.alike} == {
        (SIGNED, SIGNED),
        (BYTE, BYTE),
    }
    assert guess.bounded is None


def test_two_meanings_are_both_reported():
    guess = guess_ranges(net_of(Toned()), PHOTO)
    assert guess.recognisable
    assert not guess.certain
    assert guess.rivals


def test_the_user_decides_between_two_meanings():
    guess = guess_ranges(net_of(Toned()), PHOTO, in_ranges=[UNIT], out_ranges=[UNIT])
    assert guess.certain
    assert ranges(guess) == (UNIT, UNIT)


def test_nothing_is_recognised_in_a_net_that_shows_nothing():
    assert not guess_ranges(net_of(Nothing()), PHOTO).recognisable


def test_a_net_that_gives_no_numbers_has_no_ranges():
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nan

    guess = guess_ranges(net_of(Broken()), PHOTO)
    assert guess.best is None
    assert not guess.certain


@pytest.mark.parametrize(
    ("facts", "source", "reference"),
    [
        ({}, (3, 160, 160), (3, 160, 160)),
        ({"scale": 2.0, "margin_px": 7}, (3, 160, 160), (3, 292, 292)),
        ({"scale": 0.5, "multiple_of": 64}, (3, 192, 192), (3, 96, 96)),
        ({"fixed_size": (96, 48), "in_bands": 1, "out_bands": 3}, (1, 48, 96), (3, 48, 96)),
        ({"in_bands": 6, "out_bands": 4, "min_size": 200}, (6, 200, 200), (4, 200, 200)),
    ],
)
def test_the_sample_has_the_sizes_and_bands_of_the_net(facts, source, reference):
    known = {"in_bands": 3, "out_bands": 3, "in_range": None, "out_range": None, **facts}
    sample = prepare_sample(PHOTO, TranslatorSpec(**known))
    assert tuple(sample.source.shape) == source
    assert tuple(sample.reference.shape) == reference
    assert float(sample.source.min()) >= 0
    assert float(sample.source.max()) <= 1


def test_a_fixed_batch_is_filled():
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[0] == 2
            return x.clamp(0, 1)

    assert ranges(guess_ranges(net_of(Pair(), fixed_batch=2), PHOTO)) == (UNIT, UNIT)


@pytest.mark.slow
@pytest.mark.skipif(not MODELS.is_dir(), reason="the real models are not here")
@pytest.mark.parametrize(
    ("name", "true"),
    [
        ("neuro-low-light-zerodce/zerodcepp.onnx", UNIT),
        ("realesr-animevideov3-x4/realesr-animevideov3-x4.onnx", UNIT),
        ("upscalerjs-esrgan-slim/x2.onnx", UNIT),
        ("waifu2x-upconv7-photo-x2/scalex2.onnx", UNIT),
        ("websr-anime4k-s-rl-x2/anime4k_s_rl.onnx", UNIT),
        ("deepdespeckling-sar/sar2sar.onnx", BYTE),  # amplitudes, as an 8-bit image has them
    ],
)
def test_the_ranges_of_real_nets(name, true):
    pytest.importorskip("onnxruntime")
    keys = {
        "Framework": "attachtrans",
        "ModelType": "ONNX",
        "ModelFile": str(MODELS / name),
        "InputRange": "raw",
        "OutputRange": "raw",
        "ReceptiveField": "global",
    }
    net = load_model(ModelDefinition.read(json.dumps(keys)), device="cpu")
    guess = guess_ranges(net, PHOTO)
    assert guess.certain
    assert ranges(guess) == (true, true)
