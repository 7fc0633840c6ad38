"""Photos from cameras: nothing is lost but what must change. Needs the real data."""

import numpy as np
import pytest

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, decode, encode, probe
from tests.image.make import SHARED, all_tags, opened

FOLDERS = ("geo/exif_samples", "geo/mapillary_tools", "geo/orthority", "geopackage")
ENDINGS = {".jpg", ".jpeg", ".png", ".tif"}
PHOTOS = sorted(
    path
    for folder in FOLDERS
    for path in (SHARED / "data" / folder).rglob("*")
    if path.suffix.lower() in ENDINGS and path.stat().st_size < 2_000_000
)
MEASURED_IN_PIXELS = {
    *(("main", tag) for tag in (0x0100, 0x0101)),
    *(("exif", tag) for tag in (0xA002, 0xA003, 0xA20E, 0xA20F, 0x9214, 0xA214)),
    *(("interop", tag) for tag in (0x1001, 0x1002)),
}
HISTORY = {("main", 0x9213), ("exif", 0x9213)}

pytestmark = pytest.mark.skipif(not PHOTOS, reason="needs the real data beside the checkout")


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_every_tag_survives(path, factor):
    data = path.read_bytes()
    photo = decode(data, Limits())
    facts = probe(data)
    assert (facts.size, facts.bands) == (photo.size, len(photo.pixels))
    pixels = photo.pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    new = encode(
        photo, pixels, options=EncodeOptions(), history="attachtrans 1", anonymise=False
    ).data
    again = decode(new, Limits())
    assert again.marks == ("attachtrans 1",)
    assert again.orientation == photo.orientation
    assert again.metadata.icc == photo.metadata.icc
    assert again.metadata.iptc == photo.metadata.iptc
    if factor == 1:
        assert again.metadata.xmp == photo.metadata.xmp
    allowed = HISTORY | (MEASURED_IN_PIXELS if factor > 1 else set())
    before = all_tags(photo.metadata.exif) if photo.metadata.exif else {}
    after = all_tags(again.metadata.exif)
    for key in before.keys() | after.keys():
        if key not in allowed:
            assert _comparable(after.get(key)) == _comparable(before.get(key)), key
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        tables = opened(new).quantization
        # Some cameras also store tables that no component uses.
        assert tables.items() <= opened(data).quantization.items()
    if photo.pixels.dtype == np.uint8:
        step = np.abs(again.pixels[:, ::5, ::5].astype(int) - pixels[:, ::5, ::5])
        assert step.mean() < 5


def _comparable(value):
    # nan, which stands for n/0, differs from itself.
    return str(value)


@pytest.mark.parametrize(
    "path", [p for p in PHOTOS if p.suffix != ".png"][:6], ids=lambda p: p.name
)
def test_a_truncated_photo_is_an_error(path):
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for end in rng.integers(0, len(data) - 2, 20):
        with pytest.raises(ImageError):
            decode(data[:end], Limits())
