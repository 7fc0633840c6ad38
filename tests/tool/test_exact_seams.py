"""`--seams exact` from end to end: photos of a GeoPackage, notes, fingerprints, refusals."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attachtrans.errors import ArgumentError
from attachtrans.report import Report, Status
from attachtrans.tool.translate import plan_translation, translate_pixels
from tests.cli.inprocess import call
from tests.models.arcgis_nets import super_resolution
from tests.models.nets import cyclegan

Copy = Callable[[str], Path]


def photos_in(gpkg: Path) -> list[np.ndarray]:
    with closing(sqlite3.connect(gpkg)) as connection:
        sql = "SELECT DATA FROM results__ATTACH ORDER BY ATTACHMENTID"
        found = connection.execute(sql).fetchall()
    photos = []
    for (data,) in found:
        with suppress(OSError), Image.open(io.BytesIO(data)) as photo:  # not all are photos
            photos.append(np.asarray(photo.convert("RGB")))
    return photos


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cyclegan(tmp_path / "day.emd", blocks=2)


def test_photos_are_as_if_in_one_piece(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg = fixture_copy("esri_objectid.gpkg")

    def run(name: str, **options: object) -> tuple[Report, list[np.ndarray]]:
        out = tmp_path / f"{name}.gpkg"
        report = translate_pixels(
            gpkg, model, f"{out}:results", layer="hydrants", format="png", device="cpu", **options
        )  # type: ignore[arg-type]
        return report, photos_in(out)

    _, whole = run("whole", arguments={"tile_size": 2048})
    exact, tiled = run("exact", arguments={"tile_size": 64}, seams="exact")
    blend, blended = run("blend", arguments={"tile_size": 64})
    assert exact.counts[Status.TRANSLATED] == len(whole) > 1
    off = [np.abs(a.astype(int) - b).max() for a, b in zip(tiled, whole, strict=True)]
    assert max(off) <= 1
    assert any((a != b).any() for a, b in zip(blended, whole, strict=True))
    assert all(o.seam_ratio is None for o in exact.outcomes)
    assert any("exact seams: a photo of" in note and "in memory" in note for note in exact.notes)
    assert exact.arguments["seams"] == "exact"
    assert exact.fingerprint != blend.fingerprint


@pytest.mark.slow
def test_blended_and_exact_are_two_jobs(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg, out = fixture_copy("esri_objectid.gpkg"), f"{tmp_path / 'out.gpkg'}:results"

    def count(seams: str) -> int:
        report = translate_pixels(
            gpkg,
            model,
            out,
            layer="hydrants",
            device="cpu",
            arguments={"tile_size": 64},
            seams=seams,
        )
        return report.counts[Status.TRANSLATED]

    first = count("blend")
    assert first > 0
    assert count("exact") == first
    assert count("exact") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seams": "sharp"}, "--seams sharp: one of blend, exact"),
        ({"seams": "exact", "compile": True}, "--seams exact does not go with --compile"),
        ({"seams": "exact", "precision": "bf16"}, "leave --precision bf16 out"),
    ],
)
def test_what_does_not_go_together(
    options: dict[str, object], said: str, fixture_copy: Copy, model: Path, tmp_path: Path
) -> None:
    gpkg, out = fixture_copy("esri_objectid.gpkg"), f"{tmp_path / 'out.gpkg'}:results"
    with pytest.raises(ArgumentError, match=said):
        list(plan_translation(gpkg, model, out, layer="hydrants", **options))  # type: ignore[arg-type]


def test_attention_is_refused_with_the_way_out(fixture_copy: Copy, tmp_path: Path) -> None:
    model = super_resolution(tmp_path / "sr.emd", attention=True)
    gpkg, out = fixture_copy("esri_objectid.gpkg"), f"{tmp_path / 'out.gpkg'}:results"
    report = translate_pixels(
        gpkg, model, out, layer="hydrants", scale=1, seams="exact", device="cpu", limit=1
    )
    (outcome,) = report.outcomes
    assert outcome.status is Status.FAILED
    for words in ("SelfAttention uses flatten", "-a tile_size=N", "--seams blend"):
        assert words in outcome.reason


def test_from_the_command_line(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    command = ["translate", "--model", model]
    command += [fixture_copy("esri_objectid.gpkg"), "--output", f"{tmp_path / 'out.gpkg'}:results"]
    command += ["--layer", "hydrants", "--limit", "1", "--device", "cpu", "-a", "tile_size=64"]
    command += ["--seams", "exact", "--report", report]
    done = call(*command)
    assert done.code == 0, done.err
    assert done.out.count("exact seams: a photo of") == 1
    (line,) = report.read_text().splitlines()
    assert json.loads(line)["seam_ratio"] is None
