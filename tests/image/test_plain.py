import numpy as np
import pytest
from PIL import Image

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, needs_format
from tests.image.make import opened, saved, scene


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_bitmap_comes_back_as_it_was(mode):
    data = saved(Image.fromarray(scene()).convert(mode), "BMP", dpi=(300, 300))
    photo = decode(data, Limits())
    shown = np.asarray(opened(data).convert("RGB"))
    np.testing.assert_array_equal(
        np.broadcast_to(photo.pixels.transpose(1, 2, 0), shown.shape), shown
    )
    options = EncodeOptions()
    new = encode(photo, photo.pixels, options=options, history="attachtrans 1", anonymise=False)
    assert new.extension == ".bmp"
    np.testing.assert_array_equal(np.asarray(opened(new.data).convert("RGB")), shown)
    assert opened(new.data).info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_truncated_bitmap_is_an_error():
    with pytest.raises(ImageError):
        decode(saved(scene(), "BMP")[:-1000], Limits())


def test_a_still_gif_is_read_but_needs_another_format():
    data = saved(Image.fromarray(scene()).quantize(64), "GIF")
    photo = decode(data, Limits())
    np.testing.assert_array_equal(
        photo.pixels.transpose(1, 2, 0), np.asarray(opened(data).convert("RGB"))
    )
    assert needs_format(photo, np.dtype(np.uint8), 3) == "png"
    with pytest.raises(ImageError, match="--format"):
        encode(photo, photo.pixels, options=EncodeOptions(), history=None, anonymise=False)
    options = EncodeOptions(format="png")
    new = encode(photo, photo.pixels, options=options, history="attachtrans 1", anonymise=False)
    np.testing.assert_array_equal(np.asarray(opened(new.data)), opened(data).convert("RGB"))


def test_an_animated_gif_is_left_alone():
    frames = [Image.fromarray(scene(seed=seed)) for seed in range(2)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(Untouchable, match="animation"):
        decode(data, Limits())


def test_a_bomb_is_refused_by_its_header():
    data = bytearray(saved(scene(), "BMP"))
    data[18:26] = (2**30).to_bytes(4, "little") * 2
    with pytest.raises(ImageError, match="--max-pixels"):
        decode(bytes(data), Limits())
