"""The whole job on published GeoPackages, photos and nets. Needs the real data."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from attachtrans import translate_pixels
from attachtrans.errors import LayoutError, ModelError
from tests.models.nets import bicubic_x2
from tests.safety.world import contents, everything_else, geopackage_in, judge
from tests.stores.appending import findings
from tests.test_pains import encoded, pixels, stored, survey

# Photos that are there; the paths of the others lead nowhere.
WITH_PHOTOS = {
    "nga_rte.gpkg": 3,
    "nga_example_js.gpkg": 2,
    "made/attach_ogr2ogr310.gpkg": 3,
    "made/rte_media_gdal310.gpkg": 2,
    "mergin_mediasync": 2,
    "qfieldcloud_bees": 2,
}
WITHOUT_PHOTOS = (
    "domains.gpkg",
    "ets_null_geometry.gpkg",
    "ets_view.gpkg",
    "geodiff_custom_triggers.gpkg",
    "geodiff_edge.gpkg",
    "geodiff_fk.gpkg",
    "pyogrio_line_zm.gpkg",
    "relation_mapping_table.gpkg",
)


def taken(shared: Path, name: str, folder: Path) -> Path:
    """A copy that may be changed: the file, or the project folder."""
    source, target = shared / "data" / "geopackage" / name, folder / Path(name).name
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PHOTOS)
def test_photos_are_replaced_and_nothing_else(name: str, shared: Path, tmp_path: Path) -> None:
    place = taken(shared, name, tmp_path)
    gpkg = geopackage_in(place)
    before, rest, had = contents(place), everything_else(gpkg), findings(gpkg)
    model = bicubic_x2(tmp_path / "bicubic.emd")
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    assert report.counts["translated"] == WITH_PHOTOS[name]
    verdicts = list(judge(before, contents(place)).values())
    assert verdicts.count("once") == WITH_PHOTOS[name]
    assert set(verdicts) == {"once", "original"}
    assert everything_else(gpkg) == rest
    assert findings(gpkg) == had


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["attach", "media", "blob", "folder"])
@pytest.mark.parametrize("name", ["nga_example_js.gpkg", "mergin_mediasync"])
def test_appended_layers_are_valid(name: str, layout: str, shared: Path, tmp_path: Path) -> None:
    place = taken(shared, name, tmp_path)
    gpkg, output = geopackage_in(place), tmp_path / "out.gpkg"
    before, had = contents(place), gpkg.read_bytes()
    model = bicubic_x2(tmp_path / "bicubic.emd")
    for status in ("translated", "already"):
        report = translate_pixels(gpkg, model, output, output_layout=layout, device="cpu")
        assert report.counts[status] == WITH_PHOTOS[name]
    assert findings(output) == []
    assert contents(place) == before
    assert gpkg.read_bytes() == had


@pytest.mark.parametrize("name", WITHOUT_PHOTOS)
def test_where_no_photos_are_nothing_is_touched(name: str, shared: Path, tmp_path: Path) -> None:
    gpkg = taken(shared, name, tmp_path)
    had = gpkg.read_bytes()
    model = bicubic_x2(tmp_path / "bicubic.emd")
    with pytest.raises(LayoutError, match="no photos found"):
        translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    assert gpkg.read_bytes() == had
    assert not [path for path in tmp_path.iterdir() if "attachtrans" in path.name]


def test_every_orientation_of_a_camera_shows_the_same_picture(shared: Path, tmp_path: Path) -> None:
    paths = sorted((shared / "data/geo/exif_samples/jpg/orientation").glob("portrait_*.jpg"))
    assert len(paths) == 8
    photos = [path.read_bytes() for path in paths]
    gpkg = survey(tmp_path, photos)
    model = bicubic_x2(tmp_path / "bicubic.emd")
    assert translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu").ok
    for old, new in zip(photos, stored(gpkg), strict=True):
        before, after = (Image.open(io.BytesIO(data)) for data in (old, new))
        assert after.getexif().get(0x0112) == before.getexif().get(0x0112)
        assert after.size == (before.width * 2, before.height * 2)
        shown = ImageOps.exif_transpose(before)
        result = ImageOps.exif_transpose(after).resize(shown.size, Image.Resampling.BOX)
        difference = np.asarray(shown, float) - np.asarray(result, float)
        assert np.abs(difference).mean() < 4


FACTS = {"Framework": "attachtrans", "InputRange": [0, 1], "OutputRange": [0, 1]}
NETS = {
    "waifu2x-upconv7-photo-x2/scalex2.onnx": 7,
    "waifu2x-upconv7-photo-x2/scalex2.ts.pt": 7,
    "websr-anime4k-s-rl-x2/anime4k_s_rl.onnx": 0,
    "upscalerjs-esrgan-slim/x4.onnx": 0,
    "upscalerjs-esrgan-slim/x2.ts.pt": 0,
    "neuro-low-light-zerodce/zerodcepp.ts.pt": 0,
    "realesr-animevideov3-x4/realesr-animevideov3-x4.onnx": 0,
}
# Measuring how far these look takes many passes.
LARGE = ("waifu2x-upconv7-photo-x2/scalex2.ts.pt", "upscalerjs-esrgan-slim/x2.ts.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n in LARGE else n for n in NETS]
)
def test_a_net_file_with_the_least_definition_gives_its_untiled_result(
    name: str, shared: Path, tmp_path: Path
) -> None:
    weights = shared / "models" / name
    file = Path(shutil.copy2(weights, tmp_path / weights.name))
    with Image.open(shared / "data/geo/exif_samples/jpg/gps/DSCN0010.jpg") as whole:
        photo = np.asarray(whole.crop((200, 150, 331, 239)))
    gpkg = survey(tmp_path, [encoded(photo)])
    with pytest.raises(ModelError, match="InputRange"):
        translate_pixels(gpkg, file, overwrite_attachments=True, device="cpu")
    kind = "ONNX" if file.suffix == ".onnx" else "TorchScript"
    definition = file.with_name(f"{file.name.removesuffix('.ts.pt').removesuffix('.onnx')}.emd")
    definition.write_text(json.dumps({**FACTS, "ModelType": kind, "ModelFile": file.name}))
    report = translate_pixels(
        gpkg, file, overwrite_attachments=True, device="cpu", arguments={"tile_size": 72}
    )
    assert report.ok
    (result,) = stored(gpkg)
    margin = NETS[name]
    batch = torch.from_numpy(photo.transpose(2, 0, 1)[None] / np.float32(255))
    batch = torch.nn.functional.pad(batch, [margin] * 4, mode="reflect")
    expected = 255 * _untiled(file, batch)[0].transpose(1, 2, 0).clip(0, 1)
    assert np.abs(pixels(result) - expected).max() < 1


def _untiled(file: Path, batch: torch.Tensor) -> np.ndarray:
    if file.suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        return np.asarray(result)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(file).eval()
    with torch.inference_mode(), torch.jit.optimized_execution(False):
        return np.asarray(module(batch))


@pytest.mark.slow
def test_both_directions_of_a_package_from_arcgis(shared: Path, tmp_path: Path) -> None:
    package = shared / "arcgis" / "cyclegan_rgb" / "cyclegan_rgb.dlpk"
    photo = encoded(np.tile(np.arange(0, 250, 2, dtype=np.uint8)[None, :, None], (90, 1, 3)))
    results = []
    for direction in ("AtoB", "BtoA"):
        folder = tmp_path / direction
        folder.mkdir()
        gpkg = survey(folder, [photo])
        arguments = {"direction": direction, "padding": 16}
        report = translate_pixels(
            gpkg, package, overwrite_attachments=True, device="cpu", arguments=arguments
        )
        assert report.ok
        assert report.outcomes[0].seam_ratio is not None
        results.append(stored(gpkg)[0])
    assert pixels(results[0]).shape == pixels(photo).shape
    assert not np.array_equal(pixels(results[0]), pixels(results[1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attach_globalid.gdb", "usa_attach_synth.geodatabase"])
def test_photos_of_geodatabases_are_appended_with_their_features(
    name: str, shared: Path, tmp_path: Path
) -> None:
    model = bicubic_x2(tmp_path / "bicubic.emd")
    source, output = shared / "data/geopackage/made" / name, tmp_path / "out.gpkg"
    report = translate_pixels(source, model, f"{output}:done", where="OBJECTID = 2", device="cpu")
    assert report.ok
    with closing(sqlite3.connect(output)) as connection:
        found = connection.execute("SELECT SRC_FID, SRC_FILE FROM done").fetchall()
        photos = connection.execute("SELECT DATA FROM done__ATTACH").fetchall()
    assert {fid for fid, _ in found} == {2}
    assert [pixels(photo).shape for (photo,) in photos] == [(1598, 2400, 3)] * len(photos)
    assert len(photos) == report.counts["translated"]


def test_a_real_geodatabase_without_photos_says_so(shared: Path, tmp_path: Path) -> None:
    model = bicubic_x2(tmp_path / "bicubic.emd")
    source = shared / "data/geopackage/esri_usa.geodatabase"
    with pytest.raises(OSError, match="no photos found"):
        translate_pixels(source, model, tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()


def test_a_file_in_wal_mode_stays_in_wal_mode(shared: Path, tmp_path: Path) -> None:
    gpkg = taken(shared, "nga_rte.gpkg", tmp_path)
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA journal_mode = WAL").fetchall() == [("wal",)]
    model = bicubic_x2(tmp_path / "bicubic.emd")
    assert translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu").ok
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
