from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attachtrans.hosting.wire import PIXEL_TYPES, Message, WireError, pixel_type, read, write

arrays = hnp.arrays(
    st.sampled_from([np.dtype(kind) for kind in PIXEL_TYPES]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"allow_nan": False},
)


def raw(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return io.BytesIO(len(text).to_bytes(4, "big") + text + content)


@given(st.dictionaries(st.text(max_size=5), arrays, max_size=3), st.booleans())
def test_messages_arrive_as_they_are(sent, turned):
    if turned:
        sent = {name: array.T for name, array in sent.items()}
    stream = io.BytesIO()
    for number in range(2):
        write(stream, Message(header={"number": number, "text": "ü"}, arrays=sent))
    stream.seek(0)
    for number in range(2):
        got = read(stream, limit_bytes=10_000)
        assert got.header == {"number": number, "text": "ü"}
        assert list(got.arrays) == list(sent)
        for name, array in sent.items():
            assert got.arrays[name].dtype == array.dtype
            assert np.array_equal(got.arrays[name], array)
            assert got.arrays[name].flags.writeable
    with pytest.raises(EOFError):
        read(stream, limit_bytes=0)


def test_sizes_are_checked_before_anything_is_allocated():
    huge = raw({"arrays": [["a", "f8", [1 << 20, 1 << 20, 1 << 20]]]})
    with pytest.raises(WireError, match="more than 100 bytes"):
        read(huge, limit_bytes=100)
    both = raw({"arrays": [["a", "u1", [60]], ["b", "u1", [60]]]}, bytes(120))
    with pytest.raises(WireError, match="more than 100 bytes"):
        read(both, limit_bytes=100)
    with pytest.raises(WireError, match="header of 4294967295 bytes"):
        read(io.BytesIO(b"\xff" * 8), limit_bytes=100)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff",
        b"[",
        b"[" * 100_000,
        [],
        {},
        {"arrays": 3},
        {"arrays": [3]},
        {"arrays": [["a", "O", [1]]]},
        {"arrays": [["a", ["u1"], [1]]]},
        {"arrays": [[1, "u1", [1]]]},
        {"arrays": [["a", "u1", [-1]]]},
        {"arrays": [["a", "u1", [True]]]},
        {"arrays": [["a", "u1", [1.0]]]},
        {"arrays": [["a", "u1", 1]]},
        {"arrays": [["a", "u1", [1, 1, 1, 1]]]},
    ],
)
def test_what_is_no_message_is_refused(header):
    with pytest.raises(WireError):
        read(raw(header, bytes(100)), limit_bytes=100)


@given(st.binary(max_size=60))
def test_noise_raises_nothing_else(noise):
    with contextlib.suppress(WireError, EOFError):
        read(io.BytesIO(b"\0\0" + noise), limit_bytes=100)


def test_only_pixels_are_sent():
    for dtype in (object, complex, bool, "U3", "i8", "f2"):
        with pytest.raises(WireError, match="none of u1"):
            pixel_type(np.dtype(dtype))
        stream = io.BytesIO()
        with pytest.raises(WireError):
            write(stream, Message(header={}, arrays={"a": np.zeros(2, dtype)}))
        assert not stream.getvalue()
