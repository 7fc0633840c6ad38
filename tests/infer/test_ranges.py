from __future__ import annotations

import numpy as np
import pytest

from attachtrans.errors import ArgumentError
from attachtrans.infer.ranges import decoding, encoding, output_dtype
from tests.infer.nets import spec

RAW = None


@pytest.mark.parametrize(
    ("dtype", "in_range", "out_range", "expected"),
    [
        ("uint8", (0, 1), (0, 1), "uint8"),
        ("uint8", (-1, 1), (-1, 1), "uint8"),
        ("uint16", (0, 255), (0, 255), "uint16"),
        ("float32", (0, 1), (0, 1), "float32"),
        ("float64", (0, 1), (0, 1), "float32"),
        ("uint8", RAW, (0, 255), "uint8"),
        ("uint8", RAW, (0, 1), "uint8"),
        ("uint16", RAW, (0, 255), "uint16"),
        ("uint8", RAW, (-28, 9), "float32"),
        ("uint8", RAW, (0, 1000), "float32"),
        ("int16", RAW, (-28, 9), "int16"),
        ("uint8", RAW, RAW, "float32"),
        ("uint8", (0, 1), RAW, "float32"),
        ("float32", RAW, (0, 255), "float32"),
        (">u2", (0, 1), (0, 1), "uint16"),
    ],
)
def test_data_type_of_results(dtype, in_range, out_range, expected):
    net = spec(in_range=in_range, out_range=out_range)
    result = output_dtype(np.dtype(dtype), net)
    assert result == np.dtype(expected)
    assert result.isnative


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("both", [(0, 1), (-1, 1), (0, 255)])
def test_full_scale_goes_to_the_range_and_back(dtype, both):
    net = spec(in_range=both, out_range=both)
    to_net, from_net = decoding(np.dtype(dtype), net), encoding(np.dtype(dtype), net)
    full = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    for value, expected in ((0, both[0]), (full, both[1])):
        units = value / to_net.divisor + to_net.offset
        assert units == pytest.approx(expected)
        assert units * from_net.gain + from_net.offset == pytest.approx(value, abs=1e-9 * full)


@pytest.mark.parametrize(
    ("dtype", "usual", "expected"),
    [
        ("uint8", (40, 200), "uint8"),
        ("uint8", (400, 2000), "float32"),
        ("uint16", (400, 2000), "uint16"),
        ("int16", (-5, 5), "int16"),
        ("uint16", (-5, 5), "float32"),
        ("uint8", (0, 1), "uint8"),
        ("float32", (40, 200), "float32"),
    ],
)
def test_values_without_bounds_stay_in_a_type_that_suits_them(dtype, usual, expected):
    net = spec(in_range=RAW, out_range=RAW, usual_range=usual)
    found = encoding(np.dtype(dtype), net)
    assert (found.dtype, found.gain, found.offset) == (np.dtype(expected), 1, 0)


def test_raw_values_pass():
    to_net = decoding(np.dtype("uint16"), spec(in_range=None))
    assert (to_net.divisor, to_net.offset) == (1, 0)
    from_net = encoding(np.dtype("uint16"), spec(in_range=None, out_range=(0, 3000)))
    assert (from_net.gain, from_net.offset, from_net.limits) == (1, 0, (0, 65535))


@pytest.mark.parametrize("dtype", ["complex64", "bool", "int64"])
def test_other_types_are_refused(dtype):
    with pytest.raises(ArgumentError, match=dtype):
        encoding(np.dtype(dtype), spec())
