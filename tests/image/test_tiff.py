import gc
import io
import tracemalloc

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from attachtrans.errors import ImageError
from attachtrans.image import EncodeOptions, Limits, Untouchable, decode, encode, probe
from attachtrans.image.ifd import Block
from tests.image.make import all_tags, exif_block, opened, saved, scene

OWN = EncodeOptions()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def made(array, **options):
    target = io.BytesIO()
    tifffile.imwrite(target, array, **({"metadata": None} | options))
    return target.getvalue()


def written(data, factor=1, pixels=None, **options):
    photo = decode(data, Limits())
    if pixels is None:
        pixels = photo.pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    defaults = {"options": OWN, "history": "attachtrans 1", "anonymise": False}
    return encode(photo, pixels, **(defaults | options)).data


def page_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert len(file.pages) == 1
        page = file.pages.first
        return page, page.asarray()


def test_nothing_of_a_photo_stays_until_garbage_is_looked_for():
    data = made(with_depth(np.uint8, 3).repeat(20, axis=0))
    decode(data, Limits())
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(4):
            decode(bytes(bytearray(data)), Limits())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < len(data) / 2


def with_depth(dtype, bands):
    rng = np.random.default_rng(0)
    shape = (64, 96, bands) if bands > 1 else (64, 96)
    if np.issubdtype(dtype, np.floating):
        return rng.normal(0, 1e3, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
@pytest.mark.parametrize("bands", [1, 3, 7])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_depth_and_number_of_bands_comes_back(dtype, bands, order):
    array = with_depth(dtype, bands)
    photometric = "rgb" if bands == 3 else "minisblack"
    planar = "contig" if bands > 1 else None
    data = made(array, byteorder=order, photometric=photometric, planarconfig=planar)
    photo = decode(data, Limits())
    assert photo.pixels.dtype == dtype
    assert photo.pixels.shape == (bands, 64, 96)
    assert probe(data).bands == bands
    assert probe(data).dtype == dtype
    new = written(data)
    assert new[:2] == data[:2]
    np.testing.assert_array_equal(page_of(new)[1], array)


LAYOUTS = [
    {},
    {"tile": (32, 48)},
    {"rowsperstrip": 7},
    {"planarconfig": "separate"},
    {"planarconfig": "separate", "tile": (32, 32), "predictor": True, "compression": "zlib"},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib"},
    {"compression": "zstd", "predictor": True, "tile": (64, 64)},
    {"compression": "packbits"},
    {"compression": "lzma"},
    {"bigtiff": True},
    {"bigtiff": True, "byteorder": ">"},
    {"photometric": "miniswhite", "planarconfig": "separate"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("factor", [1, 2])
def test_coding_and_layout_are_kept(layout, factor):
    array = scene()
    if layout.get("planarconfig") == "separate":
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    if layout.get("photometric") == "miniswhite":
        array = array[0]
        layout = {"photometric": "miniswhite"}
    data = made(array, **({"photometric": "rgb"} | layout))
    new = written(data, factor)
    (old_page, old), (page, result) = page_of(data), page_of(new)
    expected = old
    for axis in (0, 1) if old.shape[-1] == 3 or old.ndim == 2 else (1, 2):
        expected = expected.repeat(factor, axis=axis)
    np.testing.assert_array_equal(result, expected)
    for name in ("compression", "predictor", "planarconfig", "photometric", "is_tiled"):
        assert getattr(page, name) == getattr(old_page, name), name
    assert page.tile == old_page.tile
    assert page.parent.is_bigtiff == old_page.parent.is_bigtiff
    assert page.parent.byteorder == old_page.parent.byteorder
    if old_page.rowsperstrip < old_page.imagelength:
        assert page.rowsperstrip == old_page.rowsperstrip
    assert decode(new, Limits()).marks == ("attachtrans 1",)


def test_white_is_zero_is_shown_upright_in_value():
    grey = scene()[:, :, 0]
    photo = decode(made(grey, photometric="miniswhite"), Limits())
    np.testing.assert_array_equal(photo.pixels[0], 255 - grey)


def test_the_file_does_not_grow_by_the_old_pixels():
    data = made(with_depth("uint8", 3), photometric="rgb", rowsperstrip=8)
    assert len(written(data)) <= len(data) + 500
    assert len(written(data, 2)) <= 4 * len(data) + 500


def test_old_pixels_do_not_survive():
    data = made(with_depth("uint8", 3), photometric="rgb")
    photo = decode(data, Limits())
    small = np.zeros((3, 8, 8), np.uint8)
    new = encode(photo, small, options=OWN, history=None, anonymise=False).data
    page = Block(data)
    start = page.integers(page.first(), 273)[0]
    assert data[start + 64 : start + 128] not in new
    assert len(new) < 2000


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_is_carried(kind):
    array = np.dstack([scene(), scene(seed=5)[:, :, 1]])
    data = made(array, photometric="rgb", extrasamples=[kind])
    photo = decode(data, Limits())
    np.testing.assert_array_equal(photo.alpha, array[:, :, 3])
    page, result = page_of(written(data))
    np.testing.assert_array_equal(result, array)
    assert page.extrasamples == page_of(data)[0].extrasamples


def test_a_palette_becomes_full_colour():
    image = Image.fromarray(scene()).quantize(200)
    data = saved(image, "TIFF")
    np.testing.assert_array_equal(
        decode(data, Limits()).pixels.transpose(1, 2, 0), np.asarray(image.convert("RGB"))
    )
    np.testing.assert_array_equal(np.asarray(opened(written(data))), image.convert("RGB"))


def test_cmyk_is_written_back_as_cmyk():
    image = Image.fromarray(scene()).convert("CMYK")
    data = saved(image, "TIFF")
    photo = decode(data, Limits())
    shown = np.asarray(image.convert("RGB")).transpose(2, 0, 1).astype(int)
    assert np.abs(photo.pixels - shown).max() <= 1
    new = opened(written(data))
    assert new.mode == "CMYK"
    again = np.asarray(new.convert("RGB")).transpose(2, 0, 1).astype(int)
    assert np.abs(again - shown).max() <= 3


@pytest.mark.parametrize("tile", [None, (256, 128)])
def test_jpeg_compression_keeps_its_quality(tile):
    target = io.BytesIO()
    array = scene(600, 400)
    profile = {"driver": "GTiff", "width": 600, "height": 400, "count": 3, "dtype": "uint8"}
    if tile:
        profile |= {"tiled": True, "blockxsize": tile[0], "blockysize": tile[1]}
    with rasterio.MemoryFile() as memory:
        with memory.open(
            **profile, compress="jpeg", photometric="ycbcr", jpeg_quality=85, **_placed()
        ) as file:
            file.write(array.transpose(2, 0, 1))
        target.write(memory.read())
    data = target.getvalue()
    photo = decode(data, Limits())
    new = written(data)
    with rasterio.MemoryFile(new) as memory, memory.open() as file:
        assert file.profile["compress"] == "jpeg"
        difference = file.read().astype(int) - photo.pixels
    assert np.abs(difference).mean() < 3
    assert abs(len(new) - len(data)) < 0.35 * len(data)


def _placed(transform=None):
    return {"crs": "EPSG:2056", "transform": transform or Affine(0.5, 0, 2.6e6, 0, -0.5, 1.2e6)}


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("rotation", [0, 30])
@pytest.mark.parametrize("size", [(96, 64), (192, 192), (48, 16)])
def test_gdal_sees_the_georeference_of_the_new_grid(point, rotation, size):
    transform = Affine.translation(2.6e6, 1.2e6) @ Affine.rotation(rotation) @ Affine.scale(2, -3)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=96, height=64, count=4, dtype="int16", nodata=-9999,
            **_placed(transform),
        ) as file:  # fmt: skip
            file.write(np.zeros((4, 64, 96), np.int16))
            file.update_tags(NAME="a name")
            if point:
                file.update_tags(AREA_OR_POINT="Point")
        data = memory.read()
    new = written(data, pixels=np.ones((4, size[1], size[0]), np.int16))
    with (
        rasterio.MemoryFile(data) as first,
        rasterio.MemoryFile(new) as second,
        first.open() as before,
        second.open() as after,
    ):
        assert (after.width, after.height) == size
        assert after.crs == before.crs
        assert after.nodata == before.nodata
        assert after.tags() == before.tags()
        for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
            old = before.transform @ (corner[0] * 96, corner[1] * 64)
            now = after.transform @ (corner[0] * size[0], corner[1] * size[1])
            assert now == pytest.approx(old, abs=1e-6)


def written_by_gdal(change, **profile):
    """A GeoTIFF that `change(file)` was done to."""
    settings = {"driver": "GTiff", "width": 96, "height": 64, "count": 3, "dtype": "uint16"}
    with rasterio.MemoryFile() as memory:
        with memory.open(**(settings | profile)) as file:
            file.write(np.arange(3 * 64 * 96, dtype=np.uint16).reshape(3, 64, 96))
            change(file)
        return memory.read()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("factor", [2, 4])
def test_g10_control_points_follow_the_size(point, factor):
    places = [(0, 0), (64, 0), (0, 96), (64, 96), (30.25, 40.5)]
    points = [
        GroundControlPoint(row=row, col=col, x=1e5 + 2 * col, y=2e5 - 2 * row, z=7)
        for row, col in places
    ]

    def change(file):
        file.gcps = points, "EPSG:32633"
        file.update_tags(AREA_OR_POINT="Point" if point else "Area")

    data = written_by_gdal(change)
    found = []
    for each in (data, written(data, factor)):
        with rasterio.MemoryFile(each) as memory, memory.open() as file:
            assert file.gcps[1] == "EPSG:32633"
            found.append([(p.col, p.row, p.x, p.y, p.z) for p in file.gcps[0]])
    scale = np.array([factor, factor, 1, 1, 1])
    assert np.abs(found[1] - np.array(found[0]) * scale).max() < 1e-9


def test_what_gdal_says_of_bands_stays_but_for_the_old_pixels_statistics():
    def change(file):
        file.descriptions = ("red", "nir", "swir <2>")
        file.scales, file.offsets, file.units = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), ("m", "K", "W")
        file.update_tags(PLATFORM="a & b")
        file.update_tags(2, STATISTICS_MAXIMUM="99", STATISTICS_MEAN="3", WAVELENGTH="865")

    data = written_by_gdal(change, nodata=7, **_placed())
    for factor in (1, 2):
        with (
            rasterio.MemoryFile(data) as first,
            rasterio.MemoryFile(written(data, factor)) as second,
            first.open() as before,
            second.open() as after,
        ):
            for name in ("descriptions", "scales", "offsets", "units", "nodata", "colorinterp"):
                assert getattr(after, name) == getattr(before, name), name
            assert after.tags() == before.tags()
            assert after.tags(2) == {"WAVELENGTH": "865"}


def test_g10_a_georeference_is_of_the_stored_pixels():
    """GDAL takes no notice of Orientation, by which the photo is turned for the net."""
    data = written_by_gdal(lambda file: None, **_placed())
    block = Block(data)
    block.rewrite(block.first(), put={274: block.field(3, [6])})
    turned = bytes(block.data)
    assert decode(turned, Limits()).size == (64, 96)
    with (
        rasterio.MemoryFile(turned) as first,
        rasterio.MemoryFile(written(turned, 2)) as second,
        first.open() as before,
        second.open() as after,
    ):
        assert (after.width, after.height) == (192, 128)
        assert after.bounds == before.bounds
        assert after.transform == before.transform @ Affine.scale(0.5)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_rational_polynomials_follow_the_size():
    coefficients = [1.0] + [0.0] * 19
    rpc = RPC(
        height_off=100, height_scale=500, lat_off=47, lat_scale=0.1, line_den_coeff=coefficients,
        line_num_coeff=coefficients, line_off=31.5, line_scale=32, long_off=8, long_scale=0.1,
        samp_den_coeff=coefficients, samp_num_coeff=coefficients, samp_off=47.5, samp_scale=48,
        err_bias=1, err_rand=1,
    )  # fmt: skip
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", width=96, height=64, count=1, dtype="uint8") as file:
            file.write(np.zeros((1, 64, 96), np.uint8))
            file.rpcs = rpc
        data = memory.read()
    new = written(data, 2)
    with rasterio.MemoryFile(new) as memory, memory.open() as file:
        assert file.rpcs.line_off == pytest.approx(63.5)
        assert file.rpcs.samp_off == pytest.approx(95.5)
        assert file.rpcs.line_scale == pytest.approx(64)
        assert file.rpcs.samp_scale == pytest.approx(96)
        assert file.rpcs.lat_off == 47


def photographic():
    """A TIFF as scanners and raw converters write it: EXIF, GPS, ICC, XMP, IPTC, resolution."""
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + exif_block(orientation=6))
    xmp = b"<a tiff:ImageWidth='96' xmp:Rating='5'/>"
    tags = {700: xmp, 33723: b"\x1c\x02\x50\0\x03Ann", 270: "a description", 315: "somebody"}
    for tag, value in tags.items():
        exif[tag] = value
    return saved(scene(), "TIFF", exif=exif, icc_profile=SRGB, dpi=(300, 300))


def test_all_other_tags_are_kept():
    data = photographic()
    new = written(data, 2)
    before, after = (all_tags(each) for each in (data, new))
    coding = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 338, 339, 700}
    for key, value in before.items():
        if key[0] == "main" and key[1] in coding:
            continue
        if key in {("exif", tag) for tag in (0x9214, 0xA002, 0xA003, 0xA20E, 0xA20F)}:
            continue
        if key in {("interop", 0x1001), ("interop", 0x1002)}:
            continue
        assert after[key] == value, key
    assert after[("exif", 0xA002)] == 192
    photo = decode(new, Limits())
    assert photo.metadata.xmp == b"<a tiff:ImageWidth='192' xmp:Rating='5'/>"
    assert photo.metadata.icc == SRGB
    assert photo.orientation == 6
    assert photo.size == (128, 192)
    assert probe(data).has_gps


def test_a_maker_note_stays_at_its_offset():
    data = photographic()
    for factor in (1, 2):
        new = written(data, factor)
        places = []
        for block in (Block(data), Block(new)):
            entry = block.child(block.first(), 0x8769).entries[0x927C]
            places.append((entry.at, block.bytes_of(entry)))
        assert places[0] == places[1]


def test_anonymising_writes_the_file_anew():
    data = photographic()
    new = written(data, anonymise=True)
    assert b"MAKER" not in new
    assert opened(new).getexif().get_ifd(0x8825)[17] == pytest.approx(123.45)
    np.testing.assert_array_equal(page_of(new)[1], scene())
    assert decode(new, Limits()).metadata.icc == SRGB


def test_overviews_are_dropped():
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(scene(), photometric="rgb", metadata=None, subifds=1)
        writer.write(scene()[::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
        writer.write(scene()[::4, ::4], photometric="rgb", metadata=None, subfiletype=1)
    new = written(target.getvalue())
    page, result = page_of(new)
    np.testing.assert_array_equal(result, scene())
    assert 330 not in page.tags


def pages(second):
    """Two pages; the second one's NewSubfileType is `second`."""
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        for _ in range(2):
            writer.write(scene(), photometric="rgb", metadata=None, subfiletype=2)
    block = Block(target.getvalue())
    block.set_unsigned(block.following(block.first()), 254, [second])
    return bytes(block.data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (pages(2), "several pages"),
        (pages(4), "mask"),
        (made(scene(), photometric="rgb", extratags=[(50706, 1, 4, bytes((1, 4, 0, 0)))]), "raw"),
        (made(scene()[:, :, 0], photometric=32803), "raw"),
        (made(scene(), photometric="rgb", extratags=[(37724, 7, 4, b"abcd")]), "layers"),
        (made(scene()[:, :, 0] > 99), "1 bits"),
        (made(scene(), photometric="rgb", compression="webp"), "WEBP"),
        (made(scene().astype(np.uint16), photometric="cielab"), "colour kind 8"),
    ],
)
def test_special_files_are_left_alone(data, word):
    with pytest.raises(Untouchable, match=word):
        decode(data, Limits())
    assert word in probe(data).skip


@given(share=st.floats(0, 1, exclude_max=True), compressed=st.booleans())
@settings(max_examples=25)
def test_a_truncated_file_is_an_error(share, compressed):
    data = made(scene(), photometric="rgb", compression="zlib" if compressed else None)
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], Limits())


def test_a_bomb_is_refused_by_its_header():
    data = bytearray(made(scene(), photometric="rgb"))
    block = Block(data)
    for tag in (256, 257):
        block.set_unsigned(block.first(), tag, [2**20])
    with pytest.raises(ImageError, match="--max-pixels"):
        decode(bytes(block.data), Limits())


def test_float_results_of_a_byte_file_are_written_as_they_are():
    data = made(scene(), photometric="rgb", compression="lzw", predictor=True)
    result = with_depth("float32", 3).transpose(2, 0, 1)
    new = written(data, pixels=result)
    np.testing.assert_array_equal(page_of(new)[1], result.transpose(1, 2, 0))


def test_what_jpeg_compression_cannot_hold_is_deflated():
    data = made(scene(), photometric="rgb", compression="jpeg")
    result = with_depth("float32", 3).transpose(2, 0, 1)
    page, array = page_of(written(data, pixels=result))
    np.testing.assert_array_equal(array, result.transpose(1, 2, 0))
    assert page.compression == 8


@pytest.mark.parametrize("kind", ["minisblack", "miniswhite"])
def test_a_grey_picture_that_gained_colour_is_shown_in_colour(kind):
    data = made(scene()[:, :, 0], photometric=kind)
    colour = scene(seed=1)
    new = written(data, pixels=colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(np.asarray(opened(new)), colour)


def test_many_bands_without_colour_stay_that():
    bands = np.dstack([scene(), scene(seed=1)[:, :, :1]])
    data = made(bands, photometric="minisblack", planarconfig="contig")
    page, array = page_of(written(data, pixels=bands[:, :, :3].transpose(2, 0, 1)))
    np.testing.assert_array_equal(array, bands[:, :, :3])
    assert page.photometric == 1
