import io
import wave
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.image import sniff
from tests.image.make import saved, scene


def _wav():
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(100))
    return target.getvalue()


def _zip():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("a.txt", "a")
    return target.getvalue()


def ftyp(major, *others):
    body = major + bytes(4) + b"".join(others)
    return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08moov"


@pytest.mark.parametrize(
    ("data", "media_type", "extension", "is_image"),
    [
        (saved(scene(), "JPEG"), "image/jpeg", ".jpg", True),
        (saved(scene(), "PNG"), "image/png", ".png", True),
        (saved(scene(), "GIF"), "image/gif", ".gif", True),
        (saved(scene(), "BMP"), "image/bmp", ".bmp", True),
        (saved(scene(), "TIFF"), "image/tiff", ".tif", True),
        (saved(scene(), "TIFF", big_tiff=True), "image/tiff", ".tif", True),
        (saved(scene(), "WEBP"), "image/webp", ".webp", True),
        (saved(scene(), "JPEG2000"), "image/jp2", ".jp2", True),
        (ftyp(b"heic", b"mif1"), "image/heic", ".heic", True),
        (ftyp(b"mif1", b"mif1", b"heic"), "image/heic", ".heic", True),
        (ftyp(b"mif1", b"mif1", b"avif"), "image/avif", ".avif", True),
        (ftyp(b"mif1"), "image/heif", ".heif", True),
        (ftyp(b"crx "), "image/x-canon-cr3", ".cr3", True),
        (ftyp(b"isom", b"mp41"), "video/mp4", ".mp4", False),
        (ftyp(b"mp42"), "video/mp4", ".mp4", False),
        (ftyp(b"qt  "), "video/quicktime", ".mov", False),
        (b"II*\0\x10\0\0\0CR\x02\0", "image/x-canon-cr2", ".cr2", True),
        (b"%PDF-1.7\n", "application/pdf", ".pdf", False),
        (b"\n\njunk %PDF-1.4", "application/pdf", ".pdf", False),
        (_wav(), "audio/wav", ".wav", False),
        (_zip(), "application/zip", ".zip", False),
        (b"", "application/octet-stream", ".bin", False),
        (b"plain text", "application/octet-stream", ".bin", False),
        (b"BM is how this text starts, it is no bitmap", "application/octet-stream", ".bin", False),
    ],
)
def test_content_decides(data, media_type, extension, is_image):
    media = sniff(data[:4096])
    assert (media.media_type, media.extension, media.is_image) == (media_type, extension, is_image)


@given(st.binary(max_size=64))
def test_anything_gets_an_answer(data):
    assert "/" in sniff(data).media_type
