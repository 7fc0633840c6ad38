import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, probe
from attachtrans.image.ifd import Block
from attachtrans.image.jpeg_file import quality_of, read_header
from tests.image.make import all_tags, exif_block, opened, plain_thumbnail, saved, scene

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OWN = EncodeOptions()


def written(data, pixels=None, *, options=OWN, history=None, anonymise=False):
    photo = decode(data, Limits())
    pixels = photo.pixels if pixels is None else pixels
    return encode(photo, pixels, options=options, history=history, anonymise=anonymise).data


def segment(marker, payload):
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def spliced(data, *segments):
    """Segments put behind SOI and JFIF."""
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + b"".join(segments) + data[end:]


def doubled(pixels):
    return pixels.repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_pixels_are_those_of_pillow(options):
    data = saved(scene(), "JPEG", quality=90, **options)
    photo = decode(data, Limits())
    assert photo.pixels.shape == (3, 64, 96)
    assert photo.pixels.dtype == np.uint8
    expected = np.asarray(opened(data)).transpose(2, 0, 1).astype(int)
    # Two builds of libjpeg-turbo may round upsampled chroma differently.
    assert np.abs(photo.pixels - expected).max() <= 3


def test_grey_has_one_band():
    photo = decode(saved(scene()[:, :, 0], "JPEG"), Limits())
    assert photo.pixels.shape == (1, 64, 96)
    assert opened(written(saved(scene()[:, :, 0], "JPEG"))).mode == "L"


@pytest.mark.parametrize("quality", [5, 30, 75, 90, 97, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_tables_and_subsampling_are_the_photos(quality, subsampling):
    data = saved(scene(), "JPEG", quality=quality, subsampling=subsampling)
    new = written(data)
    assert opened(new).quantization == opened(data).quantization
    assert opened(new).layer == opened(data).layer
    assert quality_of(data) == quality


def test_tables_of_a_camera_are_kept_as_they_are():
    rng = np.random.default_rng(0)
    tables = [rng.integers(1, 255, 64).tolist() for _ in range(3)]
    data = saved(scene(), "JPEG", qtables=tables, subsampling=0)
    assert opened(written(data)).quantization == opened(data).quantization
    one = saved(scene(), "JPEG", qtables=[tables[0], tables[0]])
    assert opened(written(one)).quantization[0] == tables[0]


def test_progressive_stays_progressive_and_baseline_baseline():
    assert opened(written(saved(scene(), "JPEG", progressive=True))).info.get("progressive")
    assert not opened(written(saved(scene(), "JPEG"))).info.get("progressive")


def test_a_quality_of_its_own():
    data = saved(scene(), "JPEG", quality=95, subsampling=0)
    new = written(data, options=EncodeOptions(quality=40))
    assert opened(new).quantization == opened(saved(scene(), "JPEG", quality=40)).quantization
    assert opened(new).layer == opened(data).layer


def test_rgb_coding_is_kept():
    data = saved(scene(), "JPEG", keep_rgb=True, subsampling=0, quality=95)
    photo = decode(data, Limits())
    assert np.abs(photo.pixels.transpose(1, 2, 0).astype(int) - scene()).max() <= 8
    new = written(data)
    assert read_header(new).adobe_transform == 0
    again = decode(new, Limits())
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 6


def test_segments_are_carried_byte_for_byte_in_their_order():
    resources = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x04abcd"
    segments = [
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta dc:title='a'/>"),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 60),
        segment(0xED, resources),
        segment(0xE3, b"a maker's own"),
        segment(0xFE, b"a comment"),
        segment(0xEE, b"Adobe\0d\0\0\0\0\x01"),
    ]
    data = spliced(saved(scene(), "JPEG", quality=90, icc_profile=SRGB), *segments)
    new = written(data)
    assert b"".join(segments) in new
    assert read_header(new).segments == read_header(data).segments
    doubled_up = written(data, doubled(decode(data, Limits()).pixels))
    assert read_header(doubled_up).segments == read_header(data).segments


def test_a_profile_in_several_segments_stays_so():
    profile = SRGB + bytes(150_000)
    data = saved(scene(), "JPEG", icc_profile=profile)
    assert decode(data, Limits()).metadata.icc == profile
    assert opened(written(data)).info["icc_profile"] == profile


def test_exif_is_patched_and_the_rest_of_it_equal():
    block = exif_block(thumbnail=plain_thumbnail(), orientation=6)
    data = saved(scene(), "JPEG", exif=b"Exif\0\0" + block)
    photo = decode(data, Limits())
    assert photo.orientation == 6
    assert photo.size == (64, 96)
    result = encode(
        photo, doubled(photo.pixels), options=OWN, history="attachtrans 1", anonymise=False
    )
    assert result.size == (128, 192)
    again = decode(result.data, Limits())
    assert again.marks == ("attachtrans 1",)
    assert opened(result.data).size == (192, 128)
    old, new = all_tags(block), all_tags(again.metadata.exif)
    changed = {key for key in old if old[key] != new[key]}
    assert changed == {
        ("exif", 0x9214),
        *(("exif", tag) for tag in (0xA002, 0xA003, 0xA20E, 0xA20F)),
        *(("interop", tag) for tag in (0x1001, 0x1002)),
    }
    assert new.keys() - old.keys() == {("exif", 0x9213)}


def test_the_thumbnail_shows_the_result_in_stored_order():
    block = exif_block(thumbnail=plain_thumbnail(), orientation=6)
    data = saved(scene(), "JPEG", exif=b"Exif\0\0" + block)
    photo = decode(data, Limits())
    new = encode(photo, 255 - photo.pixels, options=OWN, history=None, anonymise=False).data
    block = Block(decode(new, Limits()).metadata.exif)
    ifd = block.following(block.first())
    start, length = block.integers(ifd, 0x201)[0], block.integers(ifd, 0x202)[0]
    thumbnail = opened(bytes(block.data[start : start + length]))
    whole = opened(new).resize(thumbnail.size, Image.Resampling.BOX)
    assert thumbnail.size == (96, 64)
    difference = np.asarray(thumbnail).astype(int) - np.asarray(whole)
    assert np.abs(difference).mean() < 6


def test_anonymising_leaves_only_what_is_no_picture():
    preview = saved(scene(48, 32), "JPEG")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<a><xmp:Thumbnails>/9j/</xmp:Thumbnails><b/></a>"
    data = spliced(
        saved(scene(), "JPEG", exif=b"Exif\0\0" + exif_block(thumbnail=preview)),
        segment(0xE1, xmp),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + preview),
        segment(0xE2, b"FPXR\0" + preview),
        segment(0xE3, preview),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x0c\0\0\0\0\0\x02ab8BIM\x04\x04\0\0\0\0\0\x02cd"),
        segment(0xFE, b"a comment"),
    )
    new = written(data, anonymise=True)
    assert preview[30:200] not in new
    assert b"Thumbnails" not in new
    assert b"MAKER" not in new
    assert b"a comment" in new
    assert b"8BIM\x04\x04\0\0\0\0\0\x02cd" in new
    assert decode(new, Limits()).metadata.xmp == b"<a><b/></a>"
    assert opened(new).getexif().get_ifd(0x8825)[2] is not None


@pytest.mark.parametrize("progressive", [False, True])
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40)
def test_a_truncated_file_is_an_error_wherever_it_ends(progressive, share):
    data = saved(scene(), "JPEG", progressive=progressive, exif=b"Exif\0\0" + exif_block())
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], Limits())


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_file_that_got_an_end_is_an_error_too(progressive):
    # Fast decoders only warn about this and fill the rest with grey.
    data = saved(scene(400, 300), "JPEG", progressive=progressive)
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        decode(data[: len(data) // 2] + b"\xff\xd9", Limits())


def test_a_hole_in_the_data_is_an_error():
    data = saved(scene(400, 300), "JPEG", quality=95)
    middle = len(data) // 2
    with pytest.raises(ImageError, match="damaged"):
        decode(data[:middle] + data[middle + 2000 :], Limits())


def test_a_few_stray_bytes_before_the_end_are_harmless():
    data = saved(scene(), "JPEG")
    photo = decode(data[:-2] + b"\0\0\0" + data[-2:], Limits())
    np.testing.assert_array_equal(photo.pixels, decode(data, Limits()).pixels)


def test_padding_behind_the_picture_is_ignored():
    data = saved(scene(), "JPEG")
    assert written(data + bytes(1000)) == written(data)


def test_samsungs_facts_are_carried():
    facts = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1593072000000SEFH" + bytes(20) + b"SEFT"
    data = saved(scene(), "JPEG") + facts
    assert written(data).endswith(b"\xff\xd9" + facts)
    assert written(data, anonymise=True).endswith(b"\xff\xd9")


def mpf(second_kind, primary, preview):
    """An MPF index for two pictures; returns the whole file."""
    body = b"MPF\0II*\0\x08\0\0\0\x02\0"
    body += b"\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0"
    body += b"\x02\xb0\x07\0\x20\0\0\0" + (8 + 2 + 24 + 4).to_bytes(4, "little") + bytes(4)
    head = 4 + int.from_bytes(primary[4:6], "big")  # SOI, JFIF; the index follows
    base = head + 4 + 4
    total = len(primary) + 4 + len(body) + 32
    entries = b"".join(
        value.to_bytes(4, "little")
        for value in (0x20030000, total, 0, 0, second_kind, len(preview), total - base, 0)
    )
    return spliced(primary, segment(0xE2, body + entries)) + preview


def test_large_thumbnails_of_cameras_are_no_reason_to_skip():
    preview = saved(scene(48, 32), "JPEG")
    data = mpf(0x010001, saved(scene(), "JPEG"), preview)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert probe(data).skip is None
    new = written(data)
    assert b"MPF\0" not in new
    assert preview not in new
    with pytest.raises(Untouchable):
        decode(data + b"more", Limits())


@pytest.mark.parametrize("kind", [0x020002, 0x020001, 0])
def test_other_pictures_are(kind):
    data = mpf(kind, saved(scene(), "JPEG"), saved(scene(48, 32), "JPEG"))
    with pytest.raises(Untouchable, match="several pictures"):
        decode(data, Limits())
    assert "several pictures" in probe(data).skip


@pytest.mark.parametrize(
    ("extra", "trailer", "word"),
    [
        (b"", saved(scene(8, 8), "JPEG"), "several pictures"),
        (b"", b"\0\0\0\x18ftypmp42" + bytes(16), "motion"),
        (b"", b"MotionPhoto_DataSEFHSEFT", "motion"),
        (b"", b"who knows", "9 bytes of unknown data"),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<a hdrgm:Version='1'/>"), b"", "gain map"),
        (segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0abcd"), b"", "gain map"),
        (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<a C:MotionPhoto='1'/>"), b"", "motion"),
    ],
)
def test_special_photos_are_left_alone(extra, trailer, word):
    with pytest.raises(Untouchable, match=word):
        decode(spliced(saved(scene(), "JPEG"), extra) + trailer, Limits())


def test_a_bomb_is_refused_by_its_header():
    data = bytearray(saved(scene(), "JPEG"))
    frame = re.search(b"\xff\xc0", data).start()
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="--max-pixels"):
        decode(bytes(data), Limits())


def test_cmyk_is_shown_as_before_and_written_back_as_cmyk():
    image = Image.fromarray(scene()).convert("CMYK")
    data = saved(image, "JPEG", quality=95, subsampling=0)
    photo = decode(data, Limits())
    assert photo.pixels.shape == (3, 64, 96)
    shown = np.asarray(opened(data).convert("RGB")).transpose(2, 0, 1).astype(int)
    assert np.abs(photo.pixels - shown).max() <= 3
    new = written(data)
    assert opened(new).mode == "CMYK"
    assert opened(new).quantization == opened(data).quantization
    again = np.asarray(opened(new).convert("RGB")).transpose(2, 0, 1).astype(int)
    assert np.abs(again - shown).mean() < 3


def test_several_exif_segments_are_joined():
    block = exif_block(note=bytes(range(256)) * 400)
    halves = block[:65_527], block[65_527:]
    data = spliced(saved(scene(), "JPEG"), *(segment(0xE1, b"Exif\0\0" + half) for half in halves))
    photo = decode(data, Limits())
    assert photo.metadata.exif == block
    new = encode(photo, photo.pixels, options=OWN, history="attachtrans 1", anonymise=False).data
    again = decode(new, Limits())
    assert again.marks == ("attachtrans 1",)
    tags = all_tags(again.metadata.exif)
    del tags[("exif", 0x9213)]
    assert tags == all_tags(block)


def test_a_full_block_is_refused_rather_than_cut():
    block = exif_block(note=bytes(64_900))
    data = saved(scene(), "JPEG", exif=b"Exif\0\0" + block)
    with pytest.raises(ImageError, match="EXIF block"):
        written(data, history="attachtrans " + "x" * 200)


def test_a_damaged_exif_block_is_an_error():
    data = spliced(saved(scene(), "JPEG"), segment(0xE1, b"Exif\0\0nonsense"))
    with pytest.raises(ImageError, match="TIFF header"):
        decode(data, Limits())
    assert probe(data).size == (96, 64)
