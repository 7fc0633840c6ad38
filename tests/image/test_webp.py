import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, probe
from attachtrans.image.webp import Chunk, read_chunks
from tests.image.make import all_tags, exif_block, opened, saved, scene

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def written(data, factor=1, **options):
    photo = decode(data, Limits())
    pixels = photo.pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    defaults = {"options": EncodeOptions(), "history": None, "anonymise": False}
    return encode(photo, pixels, **(defaults | options)).data


def translucent():
    image = Image.fromarray(scene())
    image.putalpha(Image.fromarray(scene(seed=5)[:, :, 1]))
    return image


def test_lossless_stays_lossless():
    data = saved(scene(), "WEBP", lossless=True)
    np.testing.assert_array_equal(decode(data, Limits()).pixels.transpose(1, 2, 0), scene())
    new = written(data)
    np.testing.assert_array_equal(np.asarray(opened(new)), scene())
    assert b"VP8L" in new


def test_lossy_stays_lossy_and_close():
    data = saved(scene(), "WEBP", quality=90)
    new = written(data)
    assert [chunk.name for chunk in read_chunks(new, strict=True)] == [b"VP8 "]
    difference = np.asarray(opened(new)).astype(int) - np.asarray(opened(data))
    assert np.abs(difference).mean() < 3
    assert len(written(data, options=EncodeOptions(quality=20))) < len(new)


@pytest.mark.parametrize("lossless", [True, False])
def test_alpha_is_carried(lossless):
    data = saved(translucent(), "WEBP", lossless=lossless, exact=True)
    photo = decode(data, Limits())
    np.testing.assert_array_equal(photo.alpha, np.asarray(opened(data))[:, :, 3])
    new = opened(written(data))
    np.testing.assert_array_equal(np.asarray(new)[:, :, 3], photo.alpha)
    assert opened(written(data, 2)).mode == "RGBA"


@pytest.mark.parametrize("lossless", [True, False])
def test_metadata_are_carried(lossless):
    data = saved(
        scene(),
        "WEBP",
        lossless=lossless,
        exif=b"Exif\0\0" + exif_block(orientation=8),
        icc_profile=SRGB,
        xmp=b"<a tiff:ImageWidth='96'/>",
    )
    other = Chunk(b"OTHR", b"odd").encoded
    data = data[:4] + (len(data) - 8 + len(other)).to_bytes(4, "little") + data[8:] + other
    new = written(data, 2, history="attachtrans 1")
    photo = decode(new, Limits())
    assert photo.size == (128, 192)
    assert photo.orientation == 8
    assert photo.marks == ("attachtrans 1",)
    assert photo.metadata.icc == SRGB
    assert photo.metadata.xmp == b"<a tiff:ImageWidth='192'/>"
    assert all_tags(photo.metadata.exif)[("gps", 2)] == all_tags(exif_block())[("gps", 2)]
    assert other in new
    assert other not in written(data, anonymise=True)
    image = opened(new)
    assert image.size == (192, 128)
    assert image.info["icc_profile"] == SRGB
    assert probe(new).size == (128, 192)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=25)
def test_a_truncated_file_is_an_error(share):
    data = saved(scene(), "WEBP")
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], Limits())


def test_animations_are_left_alone():
    frames = [Image.fromarray(scene(seed=seed)) for seed in range(2)]
    animation = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(Untouchable, match="animation"):
        decode(animation, Limits())
    assert "animation" in probe(animation).skip


def test_a_side_beyond_the_format_is_refused():
    photo = decode(saved(scene(), "WEBP"), Limits())
    pixels = np.zeros((3, 1, 16_384), np.uint8)
    with pytest.raises(ImageError, match="--format"):
        encode(photo, pixels, options=EncodeOptions(), history=None, anonymise=False)
