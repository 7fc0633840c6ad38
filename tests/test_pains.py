"""What hurts in other tools, each pain as a test: the whole job, on photos that show it.

Each test names the tool (and its issue) that has or had the trouble.
"""

from __future__ import annotations

import io
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor, nn

from attachtrans import translate_pixels
from attachtrans.image import Limits, decode
from attachtrans.report import Report
from tests.image.make import exif_block
from tests.models.nets import write_torchscript
from tests.stores.gpkg import Gpkg, attachment, point

ORIENTATION, GPS = 0x0112, 0x8825


class Same(nn.Module):
    """Gives what it gets, so that any change is the pipeline's."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


class Blur(nn.Module):
    """Looks three pixels around its own place."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.rand(3, 1, 7, 7, generator=torch.Generator().manual_seed(3))
        self.weights = nn.Parameter(weights / weights.sum((2, 3), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, [3, 3, 3, 3], mode="reflect")
        return nn.functional.conv2d(padded, self.weights, groups=3)


class TileMean(nn.Module):
    """The mean of its tile everywhere, so that tiles can be told apart."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True).expand_as(x)


class NoRed(nn.Module):
    """Breaks on red photos, as nets break on what they were not made for."""

    def forward(self, x: Tensor) -> Tensor:
        red = x[:, 0:1] - x[:, 1:2] > 0.9
        return torch.where(red, torch.full_like(x, float("nan")), x)


class Quarters(nn.Module):
    """Halves twice and doubles twice, as U-Nets do; wants sides that four divides."""

    def forward(self, x: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(x, 4)
        return nn.functional.interpolate(small, scale_factor=4.0)


def net(folder: Path, module: nn.Module, **keys: Any) -> Path:
    facts = {"InputBands": 3, "OutputBands": 3, "Scale": 1, **keys}
    return write_torchscript(module, folder / f"{type(module).__name__}.emd", **facts)


def whole_net(folder: Path, module: nn.Module) -> Path:
    """A net that says it depends on its tile, so that tiles are blended."""
    return net(folder, module, ReceptiveField="global")


def survey(folder: Path, photos: list[bytes]) -> Path:
    gpkg = Gpkg(folder / "survey.gpkg")
    gpkg.layer("trees", "OBJECTID INTEGER", [(1, point(9, 51), 1)])
    rows = [attachment(n, 1, data, f"photo{n}") for n, data in enumerate(photos, 1)]
    gpkg.attach("trees", "REL_OBJECTID INTEGER", rows)
    return gpkg.done()


def stored(gpkg: Path) -> list[bytes]:
    with closing(sqlite3.connect(gpkg)) as connection:
        rows = connection.execute("SELECT DATA FROM trees__ATTACH ORDER BY ATTACHMENTID")
        return [data for (data,) in rows]


def translated(
    folder: Path, model: Path, photos: list[bytes], **arguments: int
) -> tuple[list[bytes], Report]:
    gpkg = survey(folder, photos)
    report = translate_pixels(
        gpkg, model, overwrite_attachments=True, backup=False, device="cpu", arguments=arguments
    )
    return stored(gpkg), report


def encoded(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, kind, **options)
    return target.getvalue()


def noise(width: int, height: int, bands: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


# --- seams, borders, tiles ----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"tile_size": 32}, {"tile_size": 40, "padding": 5}])
def test_no_seam_where_the_net_looks_no_further_than_the_padding(
    arguments: dict[str, int], tmp_path: Path
) -> None:
    """Real-ESRGAN #211, satlas #38, MONAI (16 grey levels), opensr-utils (2)."""
    photo = noise(143, 101)
    model = net(tmp_path, Blur(), ReceptiveField=3)
    (result,), _ = translated(tmp_path, model, [encoded(photo)], **arguments)
    with torch.inference_mode():
        batch = torch.from_numpy(photo.transpose(2, 0, 1)[None] / np.float32(255))
        untiled = (Blur()(batch)[0] * 255).numpy().transpose(1, 2, 0)
    assert np.abs(pixels(result) - untiled).max() <= 0.51


@pytest.mark.parametrize("padding", [0, 1, 7, 16])
def test_blending_changes_nothing_that_tiles_agree_on(padding: int, tmp_path: Path) -> None:
    """ArcGIS: NaN at padding 0, an error at half a tile; geoai: dark rim; Deepness #122: strips."""
    photo = noise(101, 77)
    model = whole_net(tmp_path, Same())
    (result,), report = translated(tmp_path, model, [encoded(photo)], tile_size=32, padding=padding)
    assert report.ok
    np.testing.assert_array_equal(pixels(result), photo)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_the_batch_size_is_taken_and_changes_nothing(batch_size: int, tmp_path: Path) -> None:
    """ArcGIS floors it to a square; segment-geospatial #379 kept only the last tile."""
    photos = [noise(75, 50, seed=seed) for seed in range(3)]
    model = whole_net(tmp_path, Same())
    results, _ = translated(
        tmp_path, model, [encoded(photo) for photo in photos], tile_size=32, batch_size=batch_size
    )
    for photo, result in zip(photos, results, strict=True):
        np.testing.assert_array_equal(pixels(result), photo)


def test_the_tile_size_is_really_used(tmp_path: Path) -> None:
    """ArcGIS ignores it for CycleGAN."""
    photo = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 64, axis=0)
    model = whole_net(tmp_path, TileMean())
    spans = []
    for size in (16, 128):
        folder = tmp_path / str(size)
        folder.mkdir()
        (result,), _ = translated(
            folder, model, [encoded(photo.repeat(3, axis=2))], tile_size=size, padding=0
        )
        spans.append(int(np.ptp(pixels(result)[:, :, 0].astype(int))))
    assert spans[0] > 200
    assert spans[1] == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (2, 90), (127, 65), (64, 64)])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int], tmp_path: Path) -> None:
    """pytorch-CycleGAN #760, mmagic #1993 (multiples of 4); sen2sr (square only); sr4rs #50."""
    photo = np.full((size[1], size[0], 3), 77, np.uint8)
    model = net(tmp_path, Quarters(), MultipleOf=4)
    (result,), report = translated(tmp_path, model, [encoded(photo)], tile_size=32)
    assert report.ok
    np.testing.assert_array_equal(pixels(result), photo)


def test_colours_do_not_drift(tmp_path: Path) -> None:
    """SR3 #69, krita-ai-diffusion #1117: a tone per tile. Here each tile must keep its own."""
    ramp = np.linspace(0, 255, 160).astype(np.uint8)
    photo = np.dstack(
        [
            np.tile(ramp, (96, 1)),
            np.full((96, 160), 200, np.uint8),
            255 - ramp + np.zeros((96, 1), np.uint8),
        ]
    )
    model = whole_net(tmp_path, Same())
    (as_png, as_jpeg), _ = translated(
        tmp_path,
        model,
        [encoded(photo), encoded(photo, "JPEG", quality=95)],
        tile_size=48,
    )
    np.testing.assert_array_equal(pixels(as_png), photo)
    shift = pixels(as_jpeg).astype(float).mean((0, 1)) - photo.mean((0, 1))
    assert np.abs(shift).max() < 0.7


# --- depths, bands, alpha -----------------------------------------------------------------------


def test_a_dark_photo_of_16_bits_stays_16_bits(tmp_path: Path) -> None:
    """Real-ESRGAN takes it for 8 bits when no value is above 255; Deepness #224."""
    photo = np.random.default_rng(2).integers(0, 200, (40, 60, 3), dtype=np.uint16)
    target = io.BytesIO()
    Image.fromarray(photo[:, :, 0]).save(target, "PNG")
    results, report = translated(tmp_path, net(tmp_path, Same()), [target.getvalue()])
    assert report.ok
    result = decode(results[0], Limits()).pixels
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[0], photo[:, :, 0])


def test_bright_results_are_clipped_and_never_wrap(tmp_path: Path) -> None:
    """ArcGIS 2.4.4 casts and wraps: 256 becomes 0."""

    photo = noise(40, 30)
    (result,), _ = translated(tmp_path, net(tmp_path, Brighter()), [encoded(photo)])
    np.testing.assert_array_equal(
        pixels(result), np.clip(photo.astype(int) * 2, 0, 255).astype(np.uint8)
    )


class Brighter(nn.Module):
    """Twice as bright, beyond white."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0


def test_alpha_is_carried_beside_the_net(tmp_path: Path) -> None:
    """geoai and MONAI feed it to the net as a band, Deepness drops it."""
    photo = noise(50, 40, bands=4)
    (result,), _ = translated(tmp_path, whole_net(tmp_path, Same()), [encoded(photo)], tile_size=24)
    np.testing.assert_array_equal(pixels(result), photo)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA"])
def test_pictures_without_three_bands_do_not_end_the_run(mode: str, tmp_path: Path) -> None:
    """Real-ESRGAN #555: crash on grey pictures."""
    odd = Image.fromarray(noise(30, 20)).convert(mode)
    target = io.BytesIO()
    odd.save(target, "PNG")
    after = noise(31, 21)
    results, report = translated(
        tmp_path, net(tmp_path, Same()), [target.getvalue(), encoded(after)]
    )
    assert report.ok
    got = Image.open(io.BytesIO(results[0])).convert("RGBA")
    np.testing.assert_array_equal(np.asarray(got), np.asarray(odd.convert("RGBA")))
    np.testing.assert_array_equal(pixels(results[1]), after)


# --- what photos carry --------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_stay_turned_the_same_way(orientation: int, tmp_path: Path) -> None:
    """upscayl #63, QField #3704: pictures come out lying on their side."""
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 250  # bright where the upper left corner belongs
    image = Image.fromarray(upright)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    probe = encoded(np.asarray(_turned(image, orientation)), "JPEG", quality=95, exif=exif)
    (result,), _ = translated(tmp_path, whole_net(tmp_path, Same()), [probe], tile_size=32)
    opened = Image.open(io.BytesIO(result))
    assert opened.getexif()[ORIENTATION] == orientation
    shown = np.asarray(ImageOps.exif_transpose(opened)).astype(int)
    assert np.abs(shown - upright).max() < 30


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Stored so that a viewer who heeds the tag sees the picture upright."""
    transpose = Image.Transpose
    inverse = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_90,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_270,
    }
    return image.transpose(inverse[orientation]) if orientation in inverse else image


def test_position_camera_and_profile_survive(tmp_path: Path) -> None:
    """QField #3779 and #5446, chaiNNer #1312, upscayl #327, geoai: EXIF, GPS and ICC are lost."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = b"Exif\0\0" + exif_block()
    photo = encoded(noise(96, 64), "JPEG", quality=90, exif=exif, icc_profile=icc)
    (result,), _ = translated(tmp_path, whole_net(tmp_path, Same()), [photo])
    assert result != photo
    old, new = (Image.open(io.BytesIO(data)) for data in (photo, result))
    assert dict(new.getexif().get_ifd(GPS)) == dict(old.getexif().get_ifd(GPS))
    assert dict(old.getexif().get_ifd(GPS))
    kept = dict(new.getexif())
    assert all(
        kept[tag] == value for tag, value in old.getexif().items() if tag not in (0x8769, GPS)
    )
    assert new.info["icc_profile"] == icc


def test_each_photo_keeps_its_own_format_and_quality(tmp_path: Path) -> None:
    """upscayl #750: a batch gets one compression."""
    photo = noise(64, 48)
    photos = [encoded(photo, "JPEG", quality=quality) for quality in (35, 80, 97)]
    photos += [encoded(photo), encoded(photo, "WEBP", lossless=True), encoded(photo, "TIFF")]
    results, report = translated(tmp_path, whole_net(tmp_path, Same()), photos)
    assert report.ok
    for old, new in zip(photos, results, strict=True):
        before, after = (Image.open(io.BytesIO(data)) for data in (old, new))
        assert after.format == before.format
        tables = [getattr(image, "quantization", None) for image in (before, after)]
        assert tables[0] == tables[1]


# --- errors -------------------------------------------------------------------------------------


def test_a_photo_that_breaks_the_net_fails_alone_and_stays(tmp_path: Path) -> None:
    """Real-ESRGAN prints the error and pastes the previous tile; chaiNNer #913: black pictures."""
    fine = noise(50, 40) // 2
    red = noise(50, 40, seed=5) // 2
    red[10:12, 20:22] = (255, 0, 0)
    photos = [encoded(fine), encoded(red), encoded(fine[::-1])]
    results, report = translated(tmp_path, whole_net(tmp_path, NoRed()), photos, tile_size=24)
    assert [outcome.status for outcome in report.outcomes] == ["translated", "failed", "translated"]
    assert "NaN" in report.outcomes[1].reason
    assert results[1] == photos[1]
    np.testing.assert_array_equal(pixels(results[0]), fine)
    np.testing.assert_array_equal(pixels(results[2]), fine[::-1])


def test_a_broken_file_in_the_batch_ends_nothing(tmp_path: Path) -> None:
    """upscayl #493 and #1303, chaiNNer #2135: the run stops, without a word or a result."""
    fine = noise(40, 30)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(40)
    broken = [encoded(fine, "JPEG")[:-60], b"\xff\xd8\xff", b"", b"%PDF-1.4", bomb]
    photos = [*broken, encoded(fine)]
    results, report = translated(tmp_path, whole_net(tmp_path, Same()), photos)
    assert results[: len(broken)] == broken
    assert all(outcome.reason for outcome in report.outcomes[:-1])
    assert report.outcomes[-1].status == "translated"


def test_finished_photos_are_not_done_again(tmp_path: Path) -> None:
    """waifu2x-chainer #18: no resume; geoai, Real-ESRGAN: start over."""
    photos = [encoded(noise(40, 30, seed=seed)) for seed in range(3)]
    gpkg = survey(tmp_path, photos)
    model = net(tmp_path, Brighter())
    counts = []
    for limit in (2, None):
        report = translate_pixels(
            gpkg, model, overwrite_attachments=True, device="cpu", limit=limit
        )
        counts.append(report.counts)
    assert counts[0]["translated"] == 2
    assert (counts[1]["already"], counts[1]["translated"]) == (2, 1)
    for photo, result in zip(photos, stored(gpkg), strict=True):
        once = np.clip(pixels(photo).astype(int) * 2, 0, 255)
        np.testing.assert_array_equal(pixels(result), once)
