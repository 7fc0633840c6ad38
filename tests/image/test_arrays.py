import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from attachtrans.image import arrays
from attachtrans.types import Size
from tests.image.make import scene


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_makes_of_it(orientation):
    picture = scene()
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    planes = picture.transpose(2, 0, 1)
    turned = arrays.upright(planes, orientation)
    np.testing.assert_array_equal(turned.transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(arrays.stored(turned, orientation), planes)
    assert arrays.turned(Size(96, 64), orientation) == (turned.shape[2], turned.shape[1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
@pytest.mark.parametrize("bands", [1, 3, 4, 5])
@pytest.mark.parametrize("layout", ["planes", "codec", "window"])
def test_interleaved_equals_the_plain_transpose(orientation, dtype, bands, layout):
    rng = np.random.default_rng(0)
    source = (rng.random((bands, 8, 9)) * 200).astype(dtype)
    if layout == "codec":
        source = np.ascontiguousarray(source.transpose(1, 2, 0)).transpose(2, 0, 1)
    if layout == "window":
        source = source[:, 2:7, 1:8]
    pixels = arrays.upright(source, orientation)
    result = arrays.interleaved(pixels)
    assert result.flags.c_contiguous
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, pixels.transpose(1, 2, 0))


@pytest.mark.parametrize("shape", [(3, 1, 5), (3, 5, 1), (3, 1, 1)])
def test_single_rows_and_columns_are_interleaved(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for orientation in range(1, 9):
        turned = arrays.upright(pixels, orientation)
        np.testing.assert_array_equal(arrays.interleaved(turned), turned.transpose(1, 2, 0))


def test_no_copy_when_a_codec_gave_the_order():
    picture = scene()
    assert arrays.interleaved(arrays.planes(picture)) is not None
    assert np.shares_memory(arrays.interleaved(arrays.planes(picture)), picture)


def test_alpha_is_meant_when_shrinking_and_linear_when_growing():
    alpha = scene()[:, :, 0]
    dtype = alpha.dtype
    half = arrays.resized_alpha(alpha, Size(48, 32), dtype)
    means = alpha.reshape(32, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(half - means).max() <= 0.5
    double = arrays.resized_alpha(alpha, Size(192, 128), dtype)
    np.testing.assert_array_equal(double, cv2.resize(alpha, (192, 128)))
    assert arrays.resized_alpha(alpha, Size(96, 64), dtype) is alpha


@pytest.mark.parametrize(
    ("before", "after", "full"),
    [("uint8", "uint16", 65535), ("uint16", "uint8", 255), ("uint8", "float32", 1.0)],
)
def test_alpha_keeps_its_full_range_in_another_type(before, after, full):
    top = np.iinfo(before).max
    alpha = np.array([[0, top]], dtype=before)
    result = arrays.resized_alpha(alpha, Size(2, 1), np.dtype(after))
    assert result.dtype == after
    assert result.tolist() == [[0, full]]
