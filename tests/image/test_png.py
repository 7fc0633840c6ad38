import time
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, probe
from attachtrans.image.png import SIGNATURE, Chunk, read_chunks
from tests.image.make import all_tags, exif_block, opened, saved, scene

OWN = EncodeOptions()


def unchanged(data):
    """What cv2 reads, in RGB order."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array.ndim == 2:
        return array
    return array[:, :, [2, 1, 0, 3] if array.shape[2] == 4 else [2, 1, 0]]


def sixteen_bits(bands):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 65536, (64, 96, bands), dtype=np.uint16)
    order = [2, 1, 0, 3][:bands] if bands > 1 else [0]
    return cv2.imencode(".png", array[:, :, order])[1].tobytes(), array


def written(data, factor=1, **options):
    photo = decode(data, Limits())
    pixels = photo.pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    defaults = {"options": OWN, "history": None, "anonymise": False}
    return encode(photo, pixels, **(defaults | options)).data


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_sixteen_bits_stay_sixteen_bits(bands):
    data, array = sixteen_bits(bands)
    photo = decode(data, Limits())
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels.transpose(1, 2, 0), array[:, :, : min(bands, 3)])
    new = written(data)
    np.testing.assert_array_equal(unchanged(new), unchanged(data))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
def test_pixels_are_those_of_pillow_and_come_back(mode):
    picture = Image.fromarray(scene())
    if mode in {"LA", "RGBA"}:
        picture.putalpha(Image.fromarray(scene(seed=5)[:, :, 1]))
    image = picture.convert(mode)
    data = saved(image, "PNG")
    photo = decode(data, Limits())
    shown = opened(data).convert("RGBA")
    if len(photo.pixels) == 3:
        np.testing.assert_array_equal(photo.pixels.transpose(1, 2, 0), np.asarray(shown)[..., :3])
    else:
        np.testing.assert_array_equal(photo.pixels[0], np.asarray(shown)[..., 0])
    assert (photo.alpha is not None) == (mode in {"LA", "RGBA"})
    np.testing.assert_array_equal(np.asarray(opened(written(data)).convert("RGBA")), shown)


@pytest.mark.parametrize(
    ("mode", "transparency"), [("P", 3), ("L", 100), ("RGB", (10, 20, 30)), ("P", bytes(range(99)))]
)
def test_transparent_colours_become_alpha(mode, transparency):
    image = Image.fromarray(scene()).convert(mode)
    data = saved(image, "PNG", transparency=transparency)
    photo = decode(data, Limits())
    shown = np.asarray(opened(data).convert("RGBA"))
    np.testing.assert_array_equal(photo.alpha, shown[..., 3])
    np.testing.assert_array_equal(np.asarray(opened(written(data)).convert("RGBA")), shown)


def test_alpha_takes_the_new_size():
    image = Image.fromarray(scene())
    image.putalpha(Image.fromarray(scene(seed=5)[:, :, 1]))
    new = opened(written(saved(image, "PNG"), 2))
    assert new.size == (192, 128)
    np.testing.assert_array_equal(
        np.asarray(new)[:, :, 3], cv2.resize(np.asarray(image)[:, :, 3], (192, 128))
    )


def test_chunks_are_carried():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a text")
    info.add_itxt("Title", "Blätter", lang="de")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"prVt", b"private", after_idat=True)
    xmp = b"<x:xmpmeta tiff:ImageWidth='96'/>"
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    exif = b"Exif\0\0" + exif_block()
    data = saved(scene(), "PNG", pnginfo=info, dpi=(300, 300), exif=exif)
    profiled = written(data, 2, history="attachtrans 1")
    old, new = (list(read_chunks(each, strict=True)) for each in (data, profiled))
    names = [chunk.name for chunk in new if chunk.name != b"IDAT"]
    assert names == [chunk.name for chunk in old if chunk.name != b"IDAT"]
    changed = {chunk.name for chunk in set(old) - set(new)}
    assert changed == {b"IHDR", b"eXIf", b"iTXt"}
    photo = decode(profiled, Limits())
    assert photo.metadata.xmp == xmp.replace(b"96", b"192")
    assert photo.marks == ("attachtrans 1",)
    assert all_tags(photo.metadata.exif)[("exif", 0xA002)] == 192


def test_history_comes_before_the_pixels_of_a_photo_without_exif():
    new = written(saved(scene(), "PNG"), history="attachtrans 1")
    names = [chunk.name for chunk in read_chunks(new, strict=True)]
    assert names.index(b"eXIf") < names.index(b"IDAT")
    assert decode(new, Limits()).marks == ("attachtrans 1",)


def test_a_profile_is_kept_and_dropped_when_it_does_not_fit():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(scene(), "PNG", icc_profile=profile)
    assert opened(written(data)).info["icc_profile"] == profile
    photo = decode(data, Limits())
    grey = encode(photo, photo.pixels[:1], options=OWN, history=None, anonymise=False).data
    assert "icc_profile" not in opened(grey).info


def test_chunks_about_samples_go_when_the_samples_change():
    info = PngImagePlugin.PngInfo()
    info.add(b"sBIT", b"\x08\x08\x08")
    info.add(b"bKGD", bytes(6))
    data = saved(scene(), "PNG", pnginfo=info)
    assert b"sBIT" in written(data)
    photo = decode(data, Limits())
    grey = encode(photo, photo.pixels[:1], options=OWN, history=None, anonymise=False).data
    assert b"sBIT" not in grey
    assert b"bKGD" not in grey


def test_anonymising_drops_private_chunks_and_copies_of_exif():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a text")
    info.add_text("Raw profile type exif", "/9j/")
    info.add(b"prVt", b"private")
    new = written(saved(scene(), "PNG", pnginfo=info), anonymise=True)
    assert b"a text" in new
    assert b"private" not in new
    assert b"Raw profile" not in new


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=25)
def test_a_truncated_file_is_an_error(share):
    data = saved(scene(), "PNG")
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], Limits())


def test_a_flipped_bit_is_an_error():
    data = bytearray(saved(scene(), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageError, match="checksum"):
        decode(bytes(data), Limits())


def test_a_bomb_is_refused_quickly():
    header = (2**20).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    body = Chunk(b"IDAT", zlib.compress(bytes(10**7))).encoded
    data = SIGNATURE + Chunk(b"IHDR", header).encoded + body * 500 + Chunk(b"IEND", b"").encoded
    start = time.perf_counter()
    with pytest.raises(ImageError, match="--max-pixels"):
        decode(data, Limits())
    assert time.perf_counter() - start < 0.5


def test_a_bomb_in_a_profile_is_refused():
    packed = b"p\0\0" + zlib.compress(bytes(2**27))
    data = saved(scene(), "PNG")
    at = len(SIGNATURE) + 25
    bomb = data[:at] + Chunk(b"iCCP", packed).encoded + data[at:]
    with pytest.raises(ImageError, match="absurdly large"):
        decode(bomb, Limits())


def test_animations_and_trailers_are_left_alone():
    frames = [Image.fromarray(scene(seed=seed)) for seed in range(2)]
    animation = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(Untouchable, match="animation"):
        decode(animation, Limits())
    assert "animation" in probe(animation).skip
    with pytest.raises(Untouchable, match="unknown data"):
        decode(saved(scene(), "PNG") + b"more", Limits())
