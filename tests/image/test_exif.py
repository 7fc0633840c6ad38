import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attachtrans.errors import ImageError
from attachtrans.image.exif import ExifChange, compact, patch_exif, read_exif, told
from attachtrans.image.ifd import BYTE, LONG, SHORT, Block, Field
from attachtrans.types import Size
from tests.image.make import all_tags, exif_block, opened, plain_thumbnail

HISTORY = ("exif", 0x9213)
LINE = "attachtrans 0.1 model=abc at 2026-01-02T03:04:05Z"


def change(after=(96, 64), *, history=LINE, thumbnail=lambda _: None, anonymise=False):
    return ExifChange(
        before=Size(96, 64),
        after=Size(*after),
        history=history,
        thumbnail=thumbnail,
        anonymise=anonymise,
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_facts(order):
    facts = read_exif(exif_block(order, orientation=6))
    assert facts.orientation == 6
    assert facts.has_gps
    assert facts.heading_deg == pytest.approx(123.45)
    assert facts.marks == ()


def test_a_photo_in_words():
    camera = {"EXIF_Make": "Camera maker of the test", "EXIF_Model": "M1"}
    assert told(exif_block(">")) == camera
    exif = Image.Exif()
    exif[0x010E], exif[0x8298], exif[0x0132] = "a \x07wall\n", " ", "2026:01:01 00:00:00"
    assert told(exif.tobytes()[6:]) == {
        "TIFFTAG_IMAGEDESCRIPTION": "a wall",
        "TIFFTAG_DATETIME": "2026:01:01 00:00:00",
    }
    exif.get_ifd(0x8769)[0x9003] = "2026:05:04 14:20:04"
    assert told(exif.tobytes()[6:])["TIFFTAG_DATETIME"] == "2026:05:04 14:20:04"
    exif.get_ifd(0x8769)[0x9003] = "yesterday"
    assert "TIFFTAG_DATETIME" not in told(exif.tobytes()[6:])
    assert told(None) == told(b"II*") == {}


def test_a_nonsensical_orientation_is_upright():
    assert read_exif(exif_block(orientation=9)).orientation == 1
    assert read_exif(None).orientation == 1


def test_a_damaged_block_is_an_error():
    with pytest.raises(ImageError, match="damaged"):
        read_exif(b"nonsense")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("with_thumbnail", [False, True])
def test_same_size_changes_nothing_but_history_and_thumbnail(order, with_thumbnail):
    old = exif_block(order, thumbnail=plain_thumbnail() if with_thumbnail else b"")
    new = patch_exif(old, change(thumbnail=lambda data: data), None)
    tags = all_tags(new)
    assert tags.pop(HISTORY) == LINE
    assert tags == all_tags(old)
    assert read_exif(new).marks == (LINE,)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_new_size_changes_what_is_measured_in_pixels(order):
    old = exif_block(order)
    new = all_tags(patch_exif(old, change((192, 192), history=None), None))
    expected = all_tags(old)
    expected[("exif", 0xA002)] = 192
    expected[("exif", 0xA003)] = 192
    expected[("interop", 0x1001)] = 192
    expected[("interop", 0x1002)] = 192
    expected[("exif", 0xA20E)] = Fraction(8000)
    expected[("exif", 0xA20F)] = Fraction(9000)
    expected[("exif", 0x9214)] = (80, 90, 40, 30)
    assert new == expected


def test_points_beyond_16_bits_become_wider():
    old = exif_block()
    new = patch_exif(old, change((96 * 2000, 64)), None)
    assert all_tags(new)[("exif", 0x9214)] == (80_000, 30, 40_000, 10)


def test_a_maker_note_stays_where_it_is():
    old = exif_block(thumbnail=plain_thumbnail())
    new = patch_exif(old, change((192, 128), thumbnail=lambda data: data * 2), None)
    entries = [
        block.child(block.first(), 0x8769).entries[0x927C] for block in (Block(old), Block(new))
    ]
    assert entries[0].at == entries[1].at
    span = slice(entries[0].at, entries[0].at + entries[0].nbytes)
    assert old[span] == new[span]


def test_history_is_appended_to_what_is_there():
    once = patch_exif(exif_block(), change(), None)
    twice = patch_exif(once, change(history="attachtrans 0.2 again"), None)
    assert all_tags(twice)[HISTORY] == f"{LINE}\nattachtrans 0.2 again"
    assert read_exif(twice).marks == (LINE, "attachtrans 0.2 again")


def test_a_photo_without_a_block_gets_one_for_its_history_only():
    new = patch_exif(None, change(), None)
    assert all_tags(new) == {("main", 0x9213): LINE}
    assert read_exif(new).marks == (LINE,)
    assert patch_exif(None, change(history=None), None) is None


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_the_thumbnail_is_replaced_whether_it_fits_or_not(factor):
    old = exif_block(thumbnail=plain_thumbnail())
    made = plain_thumbnail(round(160 * factor), round(120 * factor))
    new = patch_exif(old, change(thumbnail=lambda _: made), None)
    block = Block(new)
    ifd = block.following(block.first())
    at, nbytes = block.integers(ifd, 0x201)[0], block.integers(ifd, 0x202)[0]
    assert new[at : at + nbytes] == made
    assert plain_thumbnail() not in new or made == plain_thumbnail()
    assert opened(new[at : at + nbytes]).size == (round(160 * factor), round(120 * factor))


def test_a_thumbnail_before_other_data_is_overwritten_in_place():
    block = Block(exif_block(thumbnail=plain_thumbnail()))
    block.append(b"something behind it")
    old = bytes(block.data)
    small = plain_thumbnail(40, 30)
    new = patch_exif(old, change(thumbnail=lambda _: small, history=None), None)
    assert len(new) == len(old)
    assert small in new
    grown = patch_exif(old, change(thumbnail=lambda data: data + b"\0", history=None), None)
    assert b"something behind it" in grown


def test_a_dropped_thumbnail_leaves_no_trace():
    thumbnail = plain_thumbnail()
    new = patch_exif(exif_block(thumbnail=thumbnail), change(), None)
    assert Block(new).first().next == 0
    assert thumbnail[100:200] not in new


def test_a_thumbnail_inside_the_maker_note_is_not_erased():
    # Some makers keep it there; IFD1 points into the MakerNote.
    thumbnail = plain_thumbnail(32, 24)
    block = Block(exif_block(note=b"NOTE" + thumbnail, thumbnail=b"\xff\xd8\xff"))
    note = block.child(block.first(), 0x8769).entries[0x927C]
    ifd = block.following(block.first())
    block.set_unsigned(ifd, 0x201, [note.at + 4])
    block.set_unsigned(ifd, 0x202, [len(thumbnail)])
    new = patch_exif(bytes(block.data), change(thumbnail=lambda _: b"new"), None)
    assert new[note.at : note.at + note.nbytes] == b"NOTE" + thumbnail


def test_beyond_the_limit_the_thumbnail_goes_first_and_then_it_is_refused():
    old = exif_block(thumbnail=plain_thumbnail(400, 300))
    bare = len(patch_exif(old, change(), None))
    assert len(patch_exif(old, change(thumbnail=lambda data: data), bare)) == bare
    with pytest.raises(ImageError, match="--format"):
        patch_exif(old, change(), bare - 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_anonymising_drops_maker_note_and_thumbnail_only(order):
    thumbnail = plain_thumbnail()
    old = exif_block(order, thumbnail=thumbnail)
    new = patch_exif(old, change(anonymise=True), None)
    expected = all_tags(old)
    del expected[("exif", 0x927C)]
    tags = all_tags(new)
    assert tags.pop(HISTORY) == LINE
    assert tags == expected
    assert b"MAKER" not in new
    assert thumbnail[100:200] not in new
    assert len(new) < len(old) - len(thumbnail)


ENTRIES = st.dictionaries(
    st.integers(0xC700, 0xFDFF),  # tags that nobody interprets
    st.one_of(
        st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=9).map(lambda v: (SHORT, v)),
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9).map(lambda v: (LONG, v)),
        st.binary(min_size=1, max_size=40).map(lambda v: (BYTE, list(v))),
    ),
    max_size=10,
)


@given(ENTRIES, ENTRIES, st.sampled_from("<>"), st.booleans(), st.booleans())
def test_random_directories_survive(main, exif, order, grow, anonymise):
    block = Block(exif_block(order, thumbnail=plain_thumbnail(32, 24)))
    block.rewrite(block.first(), put=_fields(block, main))
    block.rewrite(block.child(block.first(), 0x8769), put=_fields(block, exif))
    old = bytes(block.data)
    after = (192, 128) if grow else (96, 64)
    new = Block(patch_exif(old, change(after, anonymise=anonymise), None))
    for ifd, expected in (
        (new.first(), main),
        (new.child(new.first(), 0x8769), exif),
    ):
        for tag, (kind, values) in expected.items():
            assert ifd.entries[tag].kind == kind
            assert new.integers(ifd, tag) == tuple(values)


def _fields(block, entries):
    return {
        tag: Field(kind=kind, count=len(values), payload=block.field(kind, values).payload)
        for tag, (kind, values) in entries.items()
    }


@given(st.binary(max_size=60), st.integers(0, 600))
def test_damage_raises_only_our_error(junk, at):
    data = bytearray(exif_block(thumbnail=plain_thumbnail(32, 24)))
    data[at : at + len(junk)] = junk
    try:
        read_exif(bytes(data))
        patch_exif(bytes(data), change((192, 128)), None)
    except ImageError:
        pass


@pytest.mark.parametrize("pointer", [0x8769, 0x8825, 0xA005])
def test_directories_that_lead_back_to_themselves_are_copied_once(pointer):
    def directory(at):
        return struct.pack("<HHHIII", 1, pointer, 4, 1, at, 0)

    block = Block(b"II*\0" + struct.pack("<I", 8) + directory(26) + directory(26))
    copy = compact(block, frozenset())
    below = copy.child(copy.first(), pointer)
    assert below is not None
    assert not below.entries
