"""Answers that are pictures, and the many that say they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from attachtrans.errors import ImageError
from attachtrans.image import Limits
from attachtrans.stores.services.base import Answer
from attachtrans.stores.services.pictures import read_json, read_picture
from attachtrans.stores.services.refusals import BadAnswerError
from tests.stores.services.loopback import jpeg, png

PIXELS = np.random.default_rng(3).integers(0, 255, (3, 20, 30), np.uint8)


def answer(data, media="image/png", status=200):
    return Answer(url="http://h/x", status=status, media_type=media, data=data)


def tiff(pixels, *, nodata=None, mask=None, **profile):
    bands, height, width = pixels.shape
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            count=bands,
            height=height,
            width=width,
            dtype=pixels.dtype,
            nodata=nodata,
            crs="EPSG:3857",
            transform=rasterio.Affine(1, 0, 5, 0, -1, 7),
            **profile,
        ) as dataset:
            dataset.write(pixels)
            if mask is not None:
                dataset.write_mask(mask)
        return file.read()


@pytest.mark.parametrize("media", ["image/png", "text/html", ""])
def test_content_decides_and_not_what_the_server_calls_it(media):
    picture = read_picture(answer(png(PIXELS), media), Limits())
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert (picture.mask == 255).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 4, 7])
def test_tiff_of_any_type_with_nodata(dtype, bands):
    pixels = np.arange(bands * 12).reshape(bands, 3, 4).astype(dtype)
    pixels[:, 1, 2] = 99
    picture = read_picture(answer(tiff(pixels, nodata=99)), Limits(), bands)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == dtype
    assert picture.nodata == 99
    expected = np.full((3, 4), 255)
    expected[1, 2] = 0
    np.testing.assert_array_equal(picture.mask, expected)


def test_a_fourth_band_of_data_that_a_tiff_calls_alpha():
    pixels = np.concatenate([PIXELS, np.zeros((1, 20, 30), np.uint8)])
    data = tiff(pixels, photometric="RGB", alpha="YES")
    picture = read_picture(answer(data), Limits(), bands=4)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.mask == 255).all()


def test_tiff_with_alpha():
    pixels = np.concatenate([PIXELS, np.zeros((1, 20, 30), np.uint8)])
    pixels[3, :, 10:] = 255
    picture = read_picture(answer(tiff(pixels, photometric="RGB", alpha="YES")), Limits())
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    np.testing.assert_array_equal(picture.mask, pixels[3])


@pytest.mark.parametrize("status", [204, 404])
def test_nothing(status):
    assert read_picture(answer(b"not found", "text/plain", status), Limits()) is None
    assert read_picture(answer(b""), Limits()) is None


WMS_111 = b"""<?xml version="1.0"?><ServiceExceptionReport version="1.1.1">
<ServiceException code="LayerNotDefined">
 No such <b>layer</b> </ServiceException></ServiceExceptionReport>"""
WMS_130 = b"""<ServiceExceptionReport xmlns="http://www.opengis.net/ogc"><ServiceException>
<![CDATA[bad bbox]]></ServiceException></ServiceExceptionReport>"""
OWS = b"""<ows:ExceptionReport><ows:Exception exceptionCode="TileOutOfRange"><ows:ExceptionText>
row 9</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"""
PAGE = b"""<!DOCTYPE html><html><head><title>Login
 page</title></head><body>\x1b[31m</body></html>"""


def esri(code, message, *details):
    return json.dumps({"error": {"code": code, "message": message, "details": details}}).encode()


REFUSALS = {
    "wms 1.1.1": (WMS_111, "the server says: No such layer$", False),
    "wms 1.3.0": (WMS_130, "the server says: bad bbox$", False),
    "ows": (OWS, "the server says: row 9$", False),
    "esri": (esri(400, "Invalid", "bbox"), "the server says: 400 Invalid bbox$", False),
    "esri busy": (esri(500, "Error exporting"), "500 Error exporting", True),
    "esri token": (esri(499, "Token Required"), "499 Token Required; set ATTACHTRANS_TOKEN", False),
    "html": (PAGE, "a web page came instead of a picture: Login page$", True),
    "bytes": (b"\x00\x01garbage", "what came is no picture", True),
    "deep json": (b"{" * 100_000, "no picture", True),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_error_bodies_with_status_200_are_told(name):
    data, words, passes = REFUSALS[name]
    with pytest.raises(BadAnswerError, match=words) as caught:
        read_picture(answer(data, "image/png"), Limits())
    assert caught.value.passes is passes
    assert "\x1b" not in str(caught.value)


def test_long_words_are_cut():
    with pytest.raises(BadAnswerError) as caught:
        read_picture(answer(b"<html>" + b"word " * 10_000), Limits())
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("data", [jpeg(PIXELS)[:-40], png(PIXELS)[:-60], tiff(PIXELS)[:-200]])
def test_cut_off_pictures_are_damaged(data):
    with pytest.raises(ImageError):
        read_picture(answer(data), Limits())


@pytest.mark.parametrize("encode", [png, jpeg, tiff])
def test_pictures_beyond_the_limits_are_refused(encode):
    with pytest.raises(ImageError, match="limit"):
        read_picture(answer(encode(PIXELS)), Limits(max_pixels=599))


def test_json_documents():
    assert read_json(answer(b'\xef\xbb\xbf {"a": 1}')) == {"a": 1}
    with pytest.raises(BadAnswerError, match="498"):
        read_json(answer(b'{"error": {"code": 498, "message": "Invalid token"}}'))
    with pytest.raises(BadAnswerError, match="web page"):
        read_json(answer(b"<html><title>x</title></html>"))
    with pytest.raises(BadAnswerError, match="404"):
        read_json(answer(b"", status=404))
