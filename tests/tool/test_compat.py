"""`--compat`: the reference's results, rounded and clipped, in photos of a GeoPackage."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attachtrans.errors import ArgumentError
from attachtrans.report import Status
from attachtrans.tool.translate import plan_translation, translate_pixels
from tests.models.arcgis_nets import super_resolution
from tests.models.nets import bicubic_x2

Copy = Callable[[str], Path]


def with_photo(gpkg: Path, pixels: np.ndarray) -> None:
    """Put a PNG in the place of a layer's first photo, and take the layer's others away."""
    png = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(png, "PNG")
    with closing(sqlite3.connect(gpkg)) as connection, connection:
        first = "SELECT min(ATTACHMENTID) FROM hydrants__ATTACH"
        connection.execute(f"DELETE FROM hydrants__ATTACH WHERE ATTACHMENTID > ({first})")
        connection.execute(
            "UPDATE hydrants__ATTACH SET DATA = ?, CONTENT_TYPE = 'image/png', ATT_NAME = 'p.png'",
            (png.getvalue(),),
        )


def photo_in(gpkg: Path) -> np.ndarray:
    with closing(sqlite3.connect(gpkg)) as connection:
        ((data,),) = connection.execute("SELECT DATA FROM hydrants__ATTACH").fetchall()
    return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "full_scale"), [("cyclegan_rgb", 1), ("sr_unet_rgb", 255)])
def test_recorded_blocks_of_the_reference(
    shared: Path, fixture_copy: Copy, name: str, full_scale: float
) -> None:
    folder = shared / "arcgis" / name
    with np.load(folder / "io.npz") as stored:
        arrays = dict(stored)
    case = json.loads((folder / "run.json").read_text())["cases"][0]
    recorded = arrays[f"{case['id']}_block_in"]
    key = f"{case['id']}_block_out"
    expected = arrays[key if key in arrays else f"{key}_float"] * full_scale
    padding, inner = int(case["scalars"]["padding"]), expected.shape[1]
    photo = np.zeros((3, 2 * inner + padding, 2 * inner + padding), np.uint8)
    photo[:, inner - padding :, inner - padding :] = recorded
    gpkg = fixture_copy("esri_objectid.gpkg")
    with_photo(gpkg, photo)
    report = translate_pixels(
        gpkg,
        folder / f"{name}.dlpk",
        arguments=case["scalars"],
        overwrite_attachments=True,
        compat="arcgis-2.4.4",
        scale=1 if full_scale == 255 else None,
        layer="hydrants",
        device="cpu",
    )
    assert report.counts[Status.TRANSLATED] == 1
    assert report.arguments["compat"] == "arcgis-2.4.4"
    found = photo_in(gpkg)[:, inner : 2 * inner, inner : 2 * inner]
    rounded = np.clip(np.floor(expected + 0.5), 0, 255)
    unsure = np.abs(expected + 0.5 - np.round(expected + 0.5)) < 1e-3 * max(full_scale, 1)
    np.testing.assert_array_equal(found[~unsure], rounded[~unsure])


def test_it_is_a_job_of_its_own(fixture_copy: Copy, tmp_path: Path) -> None:
    gpkg, model = fixture_copy("esri_objectid.gpkg"), super_resolution(tmp_path / "sr.emd")

    def fingerprint(**options: object) -> str:
        plan = plan_translation(gpkg, model, tmp_path / "o.gpkg", **options)  # type: ignore[arg-type]
        return plan.job.model.fingerprint

    one, other = "arcgis-2.4.4", "arcgis-2.4.2"
    jobs = [
        fingerprint(),
        fingerprint(compat=one),
        fingerprint(compat=other),
        fingerprint(compat=one, arguments={"batch_size": 9}),
    ]
    assert len(set(jobs)) == len(jobs)
    assert fingerprint(arguments={"batch_size": 9}) == jobs[0]


def test_what_it_does_not_go_with_is_refused(fixture_copy: Copy, tmp_path: Path) -> None:
    gpkg, out = fixture_copy("esri_objectid.gpkg"), tmp_path / "o.gpkg"
    model = super_resolution(tmp_path / "sr.emd")
    with pytest.raises(ArgumentError, match=r"--seams exact does not go with --compat"):
        plan_translation(gpkg, model, out, compat="arcgis-2.4.4", seams="exact")
    with pytest.raises(ArgumentError, match=r"arcgis-1\.9.*arcgis-2\.4\.4"):
        plan_translation(gpkg, model, out, compat="arcgis-1.9")
    with pytest.raises(ArgumentError, match=r"TorchScript.*none of arcgis\.learn"):
        plan_translation(gpkg, bicubic_x2(tmp_path / "x2.emd"), out, compat="arcgis-2.4.4")
    plan = plan_translation(
        gpkg, model, out, compat="arcgis-2.4.4", arguments={"padding": 0}, device="cpu"
    )
    with pytest.raises(ArgumentError, match="padding=0"):
        next(iter(plan))
