import io
import sys

import numpy as np
import pytest

from attachtrans.errors import ImageError
from attachtrans.image import (
    EncodeOptions,
    Limits,
    Untouchable,
    decode,
    encode,
    needs_format,
    probe,
)
from tests.image.make import all_tags, exif_block, opened, scene

pillow_heif = pytest.importorskip("pillow_heif")


def heic(*pictures, orientation=1):
    file = pillow_heif.HeifFile()
    for picture in pictures:
        file.add_frombytes("RGB", picture.shape[1::-1], picture.tobytes())
        file[len(file) - 1].info["exif"] = b"Exif\0\0" + exif_block(orientation=orientation)
    target = io.BytesIO()
    file.save(target, quality=90)
    return target.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_is_read_upright_and_written_as_jpeg(orientation):
    data = heic(scene(), orientation=orientation)
    photo = decode(data, Limits())
    assert photo.orientation == 1
    assert photo.media.extension == ".heic"
    assert photo.size == ((96, 64) if orientation == 1 else (64, 96))
    assert needs_format(photo, np.dtype(np.uint8), 3) == "jpeg"
    assert needs_format(photo, np.dtype(np.uint16), 3) == "tiff"
    with pytest.raises(ImageError, match="--format"):
        encode(photo, photo.pixels, options=EncodeOptions(), history=None, anonymise=False)
    options = EncodeOptions(format="jpeg")
    result = encode(photo, photo.pixels, options=options, history="attachtrans 1", anonymise=False)
    assert opened(result.data).size == photo.size
    tags = all_tags(decode(result.data, Limits()).metadata.exif)
    assert tags[("gps", 17)] == pytest.approx(123.45)
    assert tags[("main", 0x0112)] == 1


def test_several_pictures_are_left_alone():
    with pytest.raises(Untouchable, match="several pictures"):
        decode(heic(scene(), scene(seed=1)), Limits())


def test_damage_is_an_error():
    with pytest.raises(ImageError, match="damaged"):
        decode(heic(scene())[:-200], Limits())


def test_without_the_extra_the_reason_names_it(monkeypatch):
    data = heic(scene())
    assert probe(data).skip is None
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Untouchable, match=r"attachtrans\[heif\]"):
        decode(data, Limits())
