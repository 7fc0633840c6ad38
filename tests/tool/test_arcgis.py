"""Models of the ArcGIS types through the tool: sizes, bands, data types and what photos carry."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from attachtrans.report import Status
from attachtrans.tool.translate import translate_pixels
from tests.models.arcgis_nets import (
    SMALL,
    SMALL_HD,
    pix2pix,
    pix2pix_hd,
    pix2pix_resnet,
    super_resolution,
)
from tests.models.diffusion_nets import sr3
from tests.models.nets import cyclegan, stats
from tests.test_pains import encoded, noise, pixels, stored, survey

torch.set_num_threads(1)

ORIENTATION, WIDTH, HEIGHT = 0x0112, 0xA002, 0xA003
EXIF, GPS = 0x8769, 0x8825
LABELS = {"label_nc": 5, "mask_map": [0, 7, 20, 41]}


def translated(
    folder: Path, model: Path, photo: bytes, arguments: dict[str, Any] | None = None, **options: Any
) -> bytes:
    gpkg = survey(folder, [photo])
    report = translate_pixels(
        gpkg,
        model,
        overwrite_attachments=True,
        backup=False,
        device="cpu",
        arguments=arguments,
        **options,
    )
    assert report.counts[Status.TRANSLATED] == 1, report.outcomes
    (data,) = stored(gpkg)
    return data


def jpeg(width: int, height: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(EXIF).update({WIDTH: width, HEIGHT: height, 0x829A: (1, 250)})
    exif.get_ifd(GPS).update({1: "N", 2: (51.0, 2.0, 3.5), 3: "E", 4: (9.0, 1.0, 2.0)})
    return encoded(noise(width, height), "JPEG", quality=95, exif=exif)


SUPER_RESOLUTION = {
    "UNet": (lambda emd: super_resolution(emd, downsample_factor=2), {}),
    "SR3": (lambda emd: sr3(emd, downsample_factor=2), {"n_timestep": 2}),
    "SR3_UViT": (lambda emd: sr3(emd, "SR3_UViT", downsample_factor=2), {"n_timestep": 2}),
    "SR3_Wavelet": (lambda emd: sr3(emd, "SR3_Wavelet", downsample_factor=2), {"n_timestep": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUPER_RESOLUTION)
@pytest.mark.parametrize(("options", "factor"), [({}, 2), ({"scale": 3}, 3)])
def test_super_resolution_enlarges_and_keeps_what_photos_carry(name, options, factor, tmp_path):
    write, arguments = SUPER_RESOLUTION[name]
    data = translated(tmp_path, write(tmp_path / "m.emd"), jpeg(29, 18), arguments, **options)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (29 * factor, 18 * factor))
    exif = image.getexif()
    assert exif[ORIENTATION] == 6
    assert exif.get_ifd(EXIF)[WIDTH] == 29 * factor
    assert exif.get_ifd(EXIF)[HEIGHT] == 18 * factor
    assert exif.get_ifd(GPS)[2] == (51.0, 2.0, 3.5)


def tiff(array: np.ndarray) -> bytes:
    """A TIFF of (bands, height, width), bands stored together, none of them alpha."""
    target = io.BytesIO()
    tifffile.imwrite(
        target,
        np.moveaxis(array, 0, 2) if len(array) > 1 else array[0],
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unspecified"] * (len(array) - 1),
        metadata=None,
    )
    return target.getvalue()


FOUR_BANDS = {"blocks": (1, 1, 1, 1), "bottleneck": False, "bands": 4, "stem": 4}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("arch", ["UNet", "SR3"])
def test_multispectral_super_resolution_keeps_the_data_type(arch, dtype, tmp_path):
    top = np.iinfo(dtype).max
    mean, spread = [0.4 * top] * 4, [0.1 * top] * 4
    emd = tmp_path / "m.emd"
    if arch == "UNet":
        keys = {"is_multispec": True, "image_stats": [mean, spread], "image_stats2": [mean, spread]}
        super_resolution(emd, type(SMALL)(**FOUR_BANDS), downsample_factor=2, **keys)
        arguments = {}
    else:
        keys = {key: stats(4, 0.1 * top, 0.9 * top) for key in ("image_stats", "image_stats2")}
        sr3(emd, bands=4, is_multispec=True, downsample_factor=2, **keys)
        arguments = {"n_timestep": 2}
    array = np.random.default_rng(1).integers(0, top, (4, 20, 30), dtype=dtype, endpoint=True)
    data = translated(tmp_path, emd, tiff(array), arguments)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        result = file.asarray()
    assert (result.dtype, result.shape) == (dtype, (40, 60, 4))
    assert 0.02 * top < result.std()
    assert abs(result.mean() / top - 0.45) < 0.3


@pytest.mark.parametrize("mode", ["L", "RGB", "TIFF"])
def test_label_maps_become_pictures(mode, tmp_path):
    plan = type(SMALL_HD)(**{**as_dict(SMALL_HD), "bands": 5})
    emd = pix2pix_hd(tmp_path / "m.emd", plan, **LABELS)
    values = np.array([0, 7, 20, 41, 4], np.uint8)
    labels = values[np.random.default_rng(1).integers(0, 5, (40, 70))]
    photo = {
        "L": lambda: encoded(labels),
        "RGB": lambda: encoded(np.stack([labels] * 3, axis=2)),
        "TIFF": lambda: tiff(labels[None]),
    }[mode]()
    data = translated(tmp_path, emd, photo)
    if mode == "TIFF":
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            drawn = file.asarray()
    else:
        drawn = pixels(data)
    assert (drawn.dtype, drawn.shape) == (np.uint8, (40, 70, 3))
    assert drawn.std() > 1


def test_a_label_map_in_colours_is_refused(tmp_path):
    plan = type(SMALL_HD)(**{**as_dict(SMALL_HD), "bands": 5})
    emd = pix2pix_hd(tmp_path / "m.emd", plan, **LABELS)
    picture = Image.fromarray(np.full((40, 70), 2, np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 7, 255])
    file = io.BytesIO()
    picture.save(file, "PNG")
    gpkg = survey(tmp_path, [file.getvalue()])
    report = translate_pixels(gpkg, emd, overwrite_attachments=True, device="cpu")
    (outcome,) = report.outcomes
    assert outcome.status == Status.REFUSED
    assert "grey image" in outcome.reason
    assert stored(gpkg) == [file.getvalue()]


def as_dict(plan: Any) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__slots__}


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [cyclegan, pix2pix, pix2pix_resnet, pix2pix_hd, super_resolution, sr3],
    ids=lambda write: write.__name__,
)
def test_alpha_stays_and_grey_photos_go_through(write, tmp_path):
    emd = write(tmp_path / "m.emd")
    arguments = {"n_timestep": 2} if write is sr3 else {}
    options = {"scale": 1} if write in (sr3, super_resolution) else {}
    photo = noise(50, 34, bands=4)
    data = translated(tmp_path, emd, encoded(photo), arguments, **options)
    result = pixels(data)
    assert result.shape == photo.shape
    np.testing.assert_array_equal(result[..., 3], photo[..., 3])
    assert not np.array_equal(result[..., :3], photo[..., :3])
    (tmp_path / "survey.gpkg").unlink()
    for file in tmp_path.glob("*.attachtrans"):
        file.unlink()
    translated(tmp_path, emd, encoded(photo[..., 0]), arguments, **options)


def test_alpha_is_enlarged_with_the_photo(tmp_path):
    emd = super_resolution(tmp_path / "m.emd", downsample_factor=2)
    photo = noise(20, 16, bands=4)
    photo[..., 3] = 200
    photo[4:, :, 3] = 10
    data = translated(tmp_path, emd, encoded(photo))
    alpha = pixels(data)[..., 3]
    assert alpha.shape == (32, 40)
    assert (alpha[:6] == 200).all()
    assert (alpha[10:] == 10).all()


def test_photos_go_through_a_net_for_other_band_counts(tmp_path):
    emd = cyclegan(tmp_path / "m.emd", bands_a=1, bands_b=3)
    data = translated(tmp_path, emd, encoded(noise(40, 30)[..., 0]))
    assert pixels(data).shape == (30, 40, 3)
