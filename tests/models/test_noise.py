from __future__ import annotations

import math

import pytest
import torch

from attachtrans.errors import ArgumentError
from attachtrans.models.noise import PlaceNoise, RecordedNoise

torch.set_num_threads(1)


def draw(noise, positions, *, number=0, channels=3, height=16, width=16):
    shape = torch.Size([len(positions), channels, height, width])
    return noise.draw(number, shape, torch.tensor(positions))


@pytest.fixture(scope="module")
def field():
    return draw(PlaceNoise(5), [(0, 0)], height=512, width=512)[0]


def correlation(one, other):
    return abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item())


def test_tiles_share_the_noise_of_their_overlap(field):
    noise = PlaceNoise(5)
    tiles = draw(noise, [(0, 0), (9, 4), (490, 30)])
    assert torch.equal(tiles[0], field[:, :16, :16])
    assert torch.equal(tiles[1], field[:, 4:20, 9:25])
    assert torch.equal(tiles[2], field[:, 30:46, 490:506])
    odd = draw(noise, [(9, 4)], height=5, width=3)
    assert torch.equal(odd[0], field[:, 4:9, 9:12])


def test_tiles_may_begin_before_the_image(field):
    tile = draw(PlaceNoise(5), [(-6, -2)])
    assert torch.equal(tile[0, :, 2:, 6:], field[:, :14, :10])
    assert tile.isfinite().all()


def test_values_are_normal(field):
    values = field.flatten().double()
    count = len(values)
    assert abs(values.mean()) < 4 / math.sqrt(count)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / count)
    assert abs((values**4).mean() - 3) < 4 * math.sqrt(96 / count)
    # Kolmogorov-Smirnov at one in ten thousand.
    ascending, _ = values.sort()
    expected = torch.special.ndtr(ascending)
    found = torch.arange(1, count + 1) / count
    assert (expected - found).abs().max() < 2.23 / math.sqrt(count)


def test_places_channels_draws_and_seeds_are_independent(field):
    limit = 4.5 / math.sqrt(512 * 512)
    assert correlation(field[0], field[1]) < limit
    assert correlation(field[0][:, 1:], field[0][:, :-1]) < limit
    assert correlation(field[0][1:], field[0][:-1]) < limit
    assert correlation(field[0], field[0].T) < limit
    for other in (
        draw(PlaceNoise(5), [(0, 0)], number=1, height=512, width=512)[0],
        draw(PlaceNoise(6), [(0, 0)], height=512, width=512)[0],
    ):
        assert correlation(field, other) < limit
        assert correlation(field[0], other[1]) < limit


def test_far_places_and_large_seeds():
    noise = PlaceNoise(999_999_999)
    far = draw(noise, [(2**31, 2**31), (0, 2**31), (2**31, 0)], number=100_000)
    assert far.isfinite().all()
    assert len({round(float(value), 6) for value in far[:, 0, 0, 0]}) == 3


def test_recorded_draws_come_in_order():
    draws = torch.randn(4, 2, 3, 8, 8)
    noise = RecordedNoise(iter(draws))
    args = (torch.Size([2, 3, 8, 8]), torch.zeros(2, 2, dtype=torch.int64))
    assert torch.equal(noise.draw(0, *args), draws[0])
    noise.skip()
    assert torch.equal(noise.draw(1, *args), draws[2])
    arrays = RecordedNoise(list(draws.double().numpy()))
    assert torch.equal(arrays.draw(0, *args), draws[0])


def test_recorded_draws_must_fit():
    args = (torch.Size([1, 3, 8, 8]), torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ArgumentError, match="batch"):
        RecordedNoise([torch.zeros(2, 3, 8, 8)]).draw(0, *args)
    with pytest.raises(ArgumentError, match="end"):
        RecordedNoise([]).draw(0, *args)
    with pytest.raises(ArgumentError, match="passed over"):
        RecordedNoise([]).skip()


def test_noise_of_places_has_no_order():
    noise = PlaceNoise(1)
    first = draw(noise, [(3, 3)], number=2)
    noise.skip()
    assert torch.equal(draw(noise, [(3, 3)], number=2), first)
