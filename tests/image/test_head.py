import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from attachtrans.errors import ImageError
from attachtrans.image import read_head, sniff
from attachtrans.image.ifd import Block
from tests.image.make import exif_block, saved, scene

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
EXIF = b"Exif\0\0" + exif_block(orientation=6)


def packed(form):
    image = Image.fromarray(scene())
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return saved(image, form, pnginfo=info, exif=EXIF)
    if form == "TIFF":
        return saved(image, form, tiffinfo={700: XMP, 274: 6})
    return saved(image, form, xmp=XMP, exif=EXIF)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_size_exif_and_xmp_of_each_format(form):
    data = packed(form)
    head = read_head(data)
    assert head.media == sniff(data)
    assert head.size == (96, 64)
    assert head.xmp == XMP
    assert head.exif.integers(head.exif.first(), 0x0112) == (6,)


@pytest.mark.parametrize("form", ["BMP", "GIF"])
def test_formats_without_tags_have_a_size(form):
    head = read_head(saved(scene(), form))
    assert head.size == (96, 64)
    assert head.exif is None
    assert head.xmp is None


def heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = scene()
    file = pillow_heif.HeifFile()
    file.add_frombytes("RGB", picture.shape[1::-1], picture.tobytes())
    file[0].info["exif"] = EXIF
    file[0].info["xmp"] = XMP
    target = io.BytesIO()
    file.save(target, quality=90)
    return target.getvalue()


def test_a_heic_is_upright():
    head = read_head(heic())
    assert head.size == (64, 96)
    assert head.exif.integers(head.exif.first(), 0x0112) == (1,)
    assert head.xmp == XMP


@pytest.mark.parametrize("data", [b"", b"no photo", b"%PDF-1.7", b"PK\x03\x04"])
def test_what_is_no_photo_has_its_media_alone(data):
    head = read_head(data)
    assert head == type(head)(media=sniff(data))


def test_a_damaged_exif_block_is_left_out():
    data = packed("JPEG").replace(b"Exif\0\0II*\0", b"Exif\0\0IIXX", 1)
    head = read_head(data)
    assert head.exif is None
    assert head.xmp == XMP


@pytest.mark.parametrize("byte", [0, 0x7F, 0xFF])
def test_a_damaged_heic_raises_nothing_but_image_error(byte):
    data = heic()
    for place in range(12, data.index(b"mdat")):
        with suppress(ImageError):
            read_head(data[:place] + bytes([byte]) + data[place + 1 :])


@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"]))
def test_damage_raises_nothing_but_image_error(noise, form):
    data = packed(form) if form in {"JPEG", "PNG", "WEBP", "TIFF"} else saved(scene(), form)
    for damaged in (data[: len(noise) * 3], data[:8] + noise, data[:60] + noise + data[60:]):
        try:
            head = read_head(damaged)
        except ImageError:
            continue
        assert head.exif is None or isinstance(head.exif, Block)
