import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ImageError
from attachtrans.image.ifd import ASCII, LONG, SHORT, Block, Field, empty
from tests.image.make import exif_block


@pytest.mark.parametrize("data", [b"", b"II", b"XX*\0\x08\0\0\0", b"II\0\0\x08\0\0\0"])
def test_a_damaged_header_is_named(data):
    with pytest.raises(ImageError, match="header is damaged"):
        Block(data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_are_read_in_both_byte_orders(order):
    block = Block(exif_block(order))
    main = block.first()
    exif = block.child(main, 0x8769)
    assert block.text(main, 0x010F) == "Camera maker of the test"
    assert block.numbers(main, 0x011A) == (Fraction(72),)
    assert block.integers(exif, 0x9214) == (40, 30, 20, 10)
    assert block.integers(main, 0xFFFF) == ()


def test_a_directory_that_is_cut_off_is_an_error_and_its_child_is_none():
    block = Block(b"II*\0\x08\0\0\0\xff\0")
    with pytest.raises(ImageError, match="cut off"):
        block.first()
    data = bytearray(exif_block())
    block = Block(data)
    entry = block.first().entries[0x8769]
    struct.pack_into("<I", block.data, entry.at, 10**6)
    assert block.child(block.first(), 0x8769) is None


def test_rewriting_moves_nothing_else():
    before = exif_block()
    block = Block(before)
    main = block.first()
    note = block.child(main, 0x8769).entries[0x927C]
    block.rewrite(main, put={0x0131: Field(kind=ASCII, count=6, payload=b"Hello\0")})
    # All but the old directory, which is zeros now, and the link to it.
    untouched = bytes(block.data[main.at + main.nbytes : len(before)])
    assert untouched == before[main.at + main.nbytes :]
    assert block.child(block.first(), 0x8769).entries[0x927C] == note
    assert block.text(block.first(), 0x0131) == "Hello"
    assert block.text(block.first(), 0x010F) == "Camera maker of the test"


def test_a_damaged_entry_survives_a_rewrite_as_raw_bytes():
    block = Block(exif_block())
    main = block.first()
    where = main.at + 2  # the first entry: let its value lie outside
    struct.pack_into("<I", block.data, where + 8, 10**9)
    raw = bytes(block.data[where : where + 12])
    written = block.rewrite(block.first(), put={0xC000: block.field(SHORT, [1])})
    assert bytes(block.data[written.at + 2 : written.at + 14]) == raw


def test_a_missing_offset_at_the_very_end_is_made_up():
    whole = empty()
    whole.rewrite(whole.first(), put={1: whole.field(SHORT, [5])})
    block = Block(bytes(whole.data[:-4]))
    ifd = block.rewrite(block.first(), put={2: block.field(SHORT, [6])})
    assert (block.integers(ifd, 1), block.integers(ifd, 2)) == ((5,), (6,))


def test_short_values_are_widened_when_they_grow():
    block = Block(exif_block(size=(60_000, 64)))
    exif = block.child(block.first(), 0x8769)
    block.set_unsigned(exif, 0xA002, [120_000])
    exif = block.child(block.first(), 0x8769)
    assert exif.entries[0xA002].kind == LONG
    assert block.integers(exif, 0xA002) == (120_000,)
    with pytest.raises(ImageError, match="0x9214"):
        block.set_unsigned(exif, 0x9214, [1, 2, 3, 70_000])


@given(st.fractions(min_value=0, max_value=2**40, max_denominator=2**40))
def test_rationals_are_the_nearest_that_fit(value):
    field = empty().rationals([value])
    top, bottom = struct.unpack("<2I", field.payload)
    near = Fraction(top, bottom)
    if value <= 0xFFFFFFFF:
        assert abs(near - value) <= max(value / 2**30, Fraction(1, 2**31))


TAGS = st.dictionaries(
    st.integers(1, 0xFFFE),
    st.one_of(
        st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=9).map(lambda v: (SHORT, v)),
        st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=9).map(lambda v: (LONG, v)),
    ),
    max_size=12,
)


@given(TAGS, TAGS, st.sampled_from("<>"))
def test_whatever_is_put_is_read_back(first, second, order):
    block = empty(order)
    for values in (first, second):
        fields = {tag: block.field(kind, numbers) for tag, (kind, numbers) in values.items()}
        block.rewrite(block.first(), put=fields)
    main = block.first()
    expected = first | second
    assert main.entries.keys() == expected.keys()
    assert list(main.entries) == sorted(main.entries)
    for tag, (_, numbers) in expected.items():
        assert block.integers(main, tag) == tuple(numbers)
