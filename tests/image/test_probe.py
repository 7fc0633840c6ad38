import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.image import Limits, decode, probe
from tests.image.make import exif_block, saved, scene


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_header_says_what_decoding_finds(form, orientation):
    data = saved(scene(600, 400), form, exif=b"Exif\0\0" + exif_block(orientation=orientation))
    facts, photo = probe(data), decode(data, Limits())
    assert facts.size == photo.size
    assert facts.bands == len(photo.pixels)
    assert facts.dtype == photo.pixels.dtype
    assert facts.orientation == photo.orientation
    assert facts.media == photo.media
    assert facts.skip is None
    if form != "WEBP":  # there, EXIF comes last
        facts = probe(data[: len(data) - 500])
    assert facts.size == photo.size
    assert facts.has_gps
    assert facts.heading_deg == pytest.approx(123.45)


@pytest.mark.parametrize("form", ["BMP", "GIF"])
def test_plain_formats(form):
    facts = probe(saved(scene(), form)[:100])
    assert facts.size == (96, 64)
    assert facts.dtype == np.uint8


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"%PDF-1.7", "not an image"),
        (b"who knows", "not an image"),
        (saved(scene(), "JPEG2000"), "image/jp2"),
    ],
)
def test_what_is_not_translated_says_why(data, word):
    assert word in probe(data).skip


@given(
    form=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"]),
    share=st.floats(0, 1),
    junk=st.binary(max_size=20),
    at=st.integers(0, 400),
)
@settings(max_examples=120)
def test_no_damage_makes_it_fail(form, share, junk, at):
    data = bytearray(saved(scene(), form)[: int(share * 3000)])
    data[at : at + len(junk)] = junk
    assert probe(bytes(data)).media is not None
