import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, needs_format
from tests.image.make import all_tags, exif_block, opened, plain_thumbnail, saved, scene

OWN = EncodeOptions()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {
    "jpeg": {"quality": 95, "subsampling": 0},
    "png": {},
    "tiff": {},
    "webp": {"lossless": True},
}


def stored_with(form, orientation):
    exif = b"Exif\0\0" + exif_block(orientation=orientation)
    if form == "tiff":
        block = Image.Exif()
        block.load(exif)
        exif = block
    return saved(scene(), form.upper(), exif=exif, **FORMATS[form])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_upright_and_go_back_to_stored_order(form, orientation):
    data = stored_with(form, orientation)
    photo = decode(data, Limits())
    shown = ImageOps.exif_transpose(opened(data))
    assert photo.orientation == orientation
    assert photo.size == shown.size
    difference = photo.pixels.transpose(1, 2, 0).astype(int) - np.asarray(shown)
    assert np.abs(difference).max() <= 3
    # Mark the upper left corner as it is seen.
    pixels = photo.pixels.copy()
    pixels[:, :16, :16] = 255
    result = encode(photo, pixels, options=OWN, history=None, anonymise=False)
    assert result.size == photo.size
    assert decode(result.data, Limits()).orientation == orientation
    again = opened(result.data)
    assert again.size == opened(data).size
    corner = np.asarray(ImageOps.exif_transpose(again))[:16, :16]
    assert corner.min() > 240


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_metadata_travel_from_format_to_format(source, target):
    block = exif_block(thumbnail=plain_thumbnail())
    exif = b"Exif\0\0" + block
    if source == "tiff":
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + block)
    data = saved(scene(), source.upper(), exif=exif, icc_profile=SRGB, **FORMATS[source])
    photo = decode(data, Limits())
    options = EncodeOptions(format=target)
    result = encode(photo, photo.pixels, options=options, history="attachtrans 1", anonymise=False)
    assert opened(result.data).format.lower() == target
    again = decode(result.data, Limits())
    assert again.media == decode(result.data, Limits()).media
    assert result.media_type == again.media.media_type
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 3
    assert again.metadata.icc == SRGB
    assert again.marks == ("attachtrans 1",)
    tags = all_tags(again.metadata.exif)
    # Pillow leaves the interoperability directory out of the TIFF that it writes.
    expected = all_tags(photo.metadata.exif)
    assert {key for key in all_tags(block) if key[0] != "interop"} <= expected.keys()
    for key, value in expected.items():
        assert tags[key] == value, key


def test_xmp_and_iptc_travel_between_jpeg_and_tiff():
    xmp = b"http://ns.adobe.com/xap/1.0/\0<a/>"
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x02ab"
    segments = b"".join(
        bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in ((0xE1, xmp), (0xED, iptc))
    )
    data = saved(scene(), "JPEG")
    photo = decode(data[:2] + segments + data[2:], Limits())
    tiff = encode(
        photo, photo.pixels, options=EncodeOptions(format="tiff"), history=None, anonymise=False
    )
    middle = decode(tiff.data, Limits())
    assert middle.metadata.xmp == photo.metadata.xmp == b"<a/>"
    assert middle.metadata.iptc == photo.metadata.iptc
    jpeg = encode(
        middle, middle.pixels, options=EncodeOptions(format="jpeg"), history=None, anonymise=False
    )
    assert segments in jpeg.data


@pytest.mark.parametrize(
    ("form", "dtype", "bands", "expected"),
    [
        ("jpeg", "uint8", 3, None),
        ("jpeg", "uint8", 1, None),
        ("jpeg", "uint8", 4, "tiff"),
        ("jpeg", "uint16", 3, "tiff"),
        ("jpeg", "float32", 1, "tiff"),
        ("png", "uint16", 3, None),
        ("png", "float32", 3, "tiff"),
        ("webp", "uint16", 3, "tiff"),
        ("tiff", "float64", 9, None),
    ],
)
def test_what_a_format_cannot_hold_needs_another(form, dtype, bands, expected):
    photo = decode(saved(scene(), form.upper()), Limits())
    assert needs_format(photo, np.dtype(dtype), bands) == expected
    pixels = np.zeros((bands, 64, 96), dtype)
    if expected is not None:
        with pytest.raises(ImageError, match="--format tiff"):
            encode(photo, pixels, options=OWN, history=None, anonymise=False)
    options = EncodeOptions(format=expected)
    result = encode(photo, pixels, options=options, history=None, anonymise=False)
    again = decode(result.data, Limits()).pixels
    np.testing.assert_array_equal(again.shape[1:], pixels.shape[1:])
    assert again.dtype == dtype


def test_the_chosen_format_is_the_one_that_counts():
    photo = decode(saved(scene(), "JPEG"), Limits())
    options = EncodeOptions(format="png")
    assert needs_format(photo, np.dtype(np.uint16), 3, options) is None
    assert needs_format(photo, np.dtype(np.float32), 3, options) == "tiff"


@pytest.mark.parametrize(
    "options", [EncodeOptions(format="gif"), EncodeOptions(quality=0), EncodeOptions(quality=101)]
)
def test_options_that_make_no_sense_are_named(options):
    photo = decode(saved(scene(), "JPEG"), Limits())
    with pytest.raises(ArgumentError, match="--"):
        encode(photo, photo.pixels, options=options, history=None, anonymise=False)


def test_a_side_beyond_the_format_is_refused():
    photo = decode(saved(scene(), "JPEG"), Limits())
    with pytest.raises(ImageError, match="65535 a side; give --format tiff"):
        encode(
            photo, np.zeros((1, 1, 65_536), np.uint8), options=OWN, history=None, anonymise=False
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", ["planes", "codec", "reversed"])
def test_any_strides_will_do(dtype, layout):
    photo = decode(saved(scene(), "PNG"), Limits())
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    pixels = {
        "planes": rng.integers(0, top, (3, 64, 96), dtype=dtype),
        "codec": rng.integers(0, top, (64, 96, 3), dtype=dtype).transpose(2, 0, 1),
        "reversed": rng.integers(0, top, (3, 64, 96), dtype=dtype)[:, ::-1, ::-1],
    }[layout]
    result = encode(photo, pixels, options=OWN, history=None, anonymise=False)
    np.testing.assert_array_equal(decode(result.data, Limits()).pixels, pixels)


def test_transparency_is_not_lost_in_jpeg():
    image = Image.fromarray(scene())
    image.putalpha(255)
    opaque = decode(saved(image, "PNG"), Limits())
    options = EncodeOptions(format="jpeg")
    assert encode(opaque, opaque.pixels, options=options, history=None, anonymise=False).data
    image.putalpha(128)
    clear = decode(saved(image, "PNG"), Limits())
    with pytest.raises(ImageError, match="transparent"):
        encode(clear, clear.pixels, options=options, history=None, anonymise=False)


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.7", saved(scene(), "JPEG2000")])
def test_other_files_are_left_alone(data):
    with pytest.raises(Untouchable):
        decode(data, Limits())


def test_a_limit_on_bytes():
    with pytest.raises(ImageError, match="bytes in memory"):
        decode(saved(scene(), "PNG"), Limits(max_bytes=1000))
