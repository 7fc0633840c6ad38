"""The tool end to end on shipped fixtures, with a bicubic net that enlarges by two."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, BusyError, LayoutError, SourceError
from attachtrans.journal import Journal
from attachtrans.report import Report, Status
from attachtrans.tool.translate import iter_translate, plan_translation, translate_pixels
from tests.models.nets import bicubic_x2
from tests.safety.world import contents, everything_else, geopackage_in, judge

Copy = Callable[[str], Path]
PHOTOS = 19  # translatable ones in esri_globalid.gpkg


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return bicubic_x2(folder / "bicubic.emd")


def test_overwriting_translates_every_photo_once(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    before, rest = contents(gpkg), everything_else(gpkg)
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    assert report.ok
    assert report.counts[Status.TRANSLATED] == PHOTOS
    verdicts = judge(before, contents(gpkg))
    assert sorted(verdicts.values()).count("once") == PHOTOS
    assert set(verdicts.values()) <= {"once", "original"}
    assert everything_else(gpkg) == rest
    again = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    assert again.counts[Status.ALREADY] == PHOTOS
    assert again.counts[Status.TRANSLATED] == 0


def test_appending_leaves_the_source_alone(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = gpkg.read_bytes()
    out = tmp_path / "out" / "sharp.gpkg"
    out.parent.mkdir()
    for expected in (PHOTOS, 0):
        report = translate_pixels(gpkg, model, f"{out}:sharp", device="cpu")
        assert report.counts[Status.TRANSLATED] == expected
    assert gpkg.read_bytes() == before
    assert not gpkg.with_name("esri_globalid.gpkg.attachtrans").exists()
    with closing(sqlite3.connect(out)) as connection:
        assert connection.execute('SELECT count(*) FROM "sharp__ATTACH"').fetchone() == (
            PHOTOS + 2,
        )
        (features,) = connection.execute("SELECT count(*) FROM sharp").fetchone()
    with closing(sqlite3.connect(gpkg)) as connection:
        (layer,) = connection.execute(
            "SELECT table_name FROM gpkg_contents WHERE data_type = 'features'"
        ).fetchone()
        assert connection.execute(f'SELECT count(*) FROM "{layer}"').fetchone() == (features,)


@pytest.mark.slow
def test_a_chain_of_models_and_again_are_new_jobs(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("related_media.gpkg")
    before = contents(gpkg)

    def run(**options: object) -> Report:
        return translate_pixels(  # type: ignore[arg-type]
            gpkg, model, overwrite_attachments=True, device="cpu", limit=1, **options
        )

    first, other = run(), run(arguments={"tile_size": 96})
    assert first.fingerprint != other.fingerprint
    assert other.counts[Status.TRANSLATED] == first.counts[Status.TRANSLATED] == 1
    assert list(judge(before, contents(gpkg), scale=4).values()).count("once") == 1
    again = run(arguments={"tile_size": 96}, again=True)
    assert again.counts[Status.TRANSLATED] == 1
    restarted = run(restart=True)
    assert restarted.counts[Status.TRANSLATED] == 1
    assert list(judge(before, contents(gpkg)).values()).count("once") == 1


def test_a_dry_run_writes_nothing(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg = fixture_copy("esri_objectid.gpkg")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    options = {"device": "cpu", "dry_run": True}
    report = translate_pixels(gpkg, model, overwrite_attachments=True, **options)
    assert report.counts[Status.PLANNED] >= 7
    report = translate_pixels(gpkg, model, tmp_path / "out.gpkg", **options)
    assert report.counts[Status.PLANNED] >= 7
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    translate_pixels(gpkg, model, tmp_path / "out.gpkg", device="cpu")
    report = translate_pixels(gpkg, model, tmp_path / "out.gpkg", **options)
    assert report.counts[Status.ALREADY] >= 7


def test_an_iterator_left_early_leaves_whole_photos(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = contents(gpkg)
    outcomes = iter_translate(gpkg, model, overwrite_attachments=True, device="cpu")
    for _ in range(3):
        next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    verdicts = list(judge(before, contents(gpkg)).values())
    assert verdicts.count("once") == 3
    assert set(verdicts) == {"once", "original"}
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    assert report.counts[Status.ALREADY] == 3


def test_a_second_run_meanwhile_is_refused(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("related_media.gpkg")
    journal = Journal(gpkg.with_name(f"{gpkg.name}.attachtrans"))
    with pytest.raises(BusyError, match="another run"):
        translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    journal.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say where results go"),
        ({"output": "x.gpkg", "overwrite_attachments": True}, "say where results go"),
        ({"output": "x.shp"}, "--output x.shp"),
        ({"output": "x.gpkg", "secure": True}, "--secure goes with --overwrite-attachments"),
        ({"output": "x.gpkg", "arguments": {"colour": "red"}}, "batch_size, padding, tile_size"),
        ({"output": "x.gpkg", "arguments": {"padding": "wide"}}, "whole number"),
        ({"output": "x.gpkg", "device": "tpu"}, "--device tpu"),
        ({"output": "x.gpkg", "where": "no such column = 1"}, "--where"),
        ({"output": "x.gpkg", "limit": 0}, "--limit"),
        ({"output": "x.gpkg", "work_dir": "no/such/folder"}, "--work-dir"),
        ({"output": "no/such/x.gpkg"}, "--output: there is no folder"),
        ({"output": "x.gpkg", "seams": "sharp"}, "--seams sharp"),
    ],
)
def test_what_cannot_be_says_so(
    options: dict[str, object], said: str, fixture_copy: Copy, model: Path, tmp_path: Path
) -> None:
    gpkg = fixture_copy("related_media.gpkg")
    if "output" in options:
        options = {**options, "output": str(tmp_path / str(options["output"]))}
        said = said.replace("--output x.shp", f"--output {tmp_path / 'x.shp'}")
    with pytest.raises(ArgumentError) as caught:
        list(plan_translation(gpkg, model, **options))  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert not (tmp_path / "x.gpkg").exists()


def test_sources_that_are_none(tmp_path: Path, model: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        translate_pixels(tmp_path / "none.gpkg", model, tmp_path / "out.gpkg")
    text = tmp_path / "text.gpkg"
    text.write_text("hello", encoding="utf-8")
    with pytest.raises(SourceError, match="not an SQLite file"):
        translate_pixels(text, model, tmp_path / "out.gpkg")


def test_a_geopackage_without_photos(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with pytest.raises(LayoutError, match="no photos found"):
        translate_pixels(gpkg, model, tmp_path / "out.gpkg", layout="path")


def test_map_space_refuses_photos_with_a_camera(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("esri_objectid.gpkg")
    before = contents(gpkg)
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu", space="map")
    assert report.counts[Status.REFUSED] > 0
    assert contents(gpkg) == before
    assert any("PIXELSPACE" in outcome.reason for outcome in report.outcomes)


def test_a_project_folder_is_warned_of(fixture_copy: Copy, model: Path) -> None:
    gpkg = geopackage_in(fixture_copy("mergin"))
    plan = plan_translation(gpkg, model, overwrite_attachments=True, dry_run=True)
    assert any("--work-dir" in note for note in plan.notes)
    plan.job.photos.close()


def test_a_work_folder_takes_journal_and_backup(
    fixture_copy: Copy, model: Path, tmp_path: Path
) -> None:
    gpkg = fixture_copy("related_media.gpkg")
    work = tmp_path / "work"
    work.mkdir()
    translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu", work_dir=work)
    assert {path.suffix for path in work.iterdir()} == {".gpkg", ".attachtrans"}
    assert not list(tmp_path.glob("related_media.*attachtrans"))
    assert not list(tmp_path.glob("*.bak*"))
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu", work_dir=work)
    assert report.counts[Status.TRANSLATED] == 0


@pytest.mark.slow
def test_surveys_of_one_name_share_a_work_folder(
    fixture_copy: Copy, model: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    surveys: dict[Path, dict[str, bytes]] = {}
    for name in ("related_media.gpkg", "esri_objectid.gpkg"):
        (tmp_path / name[:4]).mkdir()
        gpkg = fixture_copy(name).rename(tmp_path / name[:4] / "survey.gpkg")
        surveys[gpkg] = contents(gpkg)
    for restart in (False, True):
        for gpkg, before in surveys.items():
            report = translate_pixels(
                gpkg,
                model,
                overwrite_attachments=True,
                device="cpu",
                work_dir=work,
                restart=restart,
            )
            assert report.ok
            assert set(judge(before, contents(gpkg)).values()) == {"original", "once"}
    assert len(list(work.glob("*.bak.gpkg"))) == 2


def test_a_link_and_what_it_leads_to_have_one_backup(
    fixture_copy: Copy, model: Path, tmp_path: Path
) -> None:
    gpkg = fixture_copy("related_media.gpkg")
    link = tmp_path / "links" / "other.gpkg"
    link.parent.mkdir()
    link.symlink_to(gpkg)
    before = contents(gpkg)
    translate_pixels(link, model, overwrite_attachments=True, device="cpu")
    assert link.is_symlink()
    assert [path.name for path in link.parent.iterdir()] == [link.name]
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu", restart=True)
    assert report.counts[Status.TRANSLATED] == 4
    assert set(judge(before, contents(gpkg)).values()) == {"original", "once"}


def test_the_report_as_a_geodataframe(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("esri_objectid.gpkg")
    report = translate_pixels(gpkg, model, overwrite_attachments=True, device="cpu")
    frame = report.to_geodataframe()
    assert frame.crs is not None
    placed = frame[frame["layer"].notna()]
    assert len(placed) >= 7
    assert placed.geometry.notna().any()
    assert set(frame["status"]) <= {str(status) for status in Status}


@pytest.mark.slow
def test_half_precision_that_nobody_asked_for_is_told(fixture_copy, monkeypatch):
    from attachtrans.infer.engine import Engine

    source = fixture_copy("esri_globalid.gpkg")
    options = {"overwrite_attachments": True, "backup": False, "device": "cpu", "limit": 1}
    report = translate_pixels(source, "sr-x2", **options)
    assert not any("--precision fp32" in note for note in report.notes)
    monkeypatch.setattr(Engine, "precision", property(lambda _: "bf16"))
    report = translate_pixels(source, "sr-x2", again=True, **options)
    assert any("bf16" in note and "--precision fp32" in note for note in report.notes)


def test_a_dry_run_knows_what_a_folder_of_results_has(
    fixtures_dir: Path, model: Path, tmp_path: Path
) -> None:
    photos, out = fixtures_dir / "oblique" / "drone", tmp_path / "out"
    report = translate_pixels(photos, model, out, device="cpu")
    planned = translate_pixels(photos, model, out, device="cpu", dry_run=True)
    assert planned.counts == {Status.ALREADY: report.counts[Status.TRANSLATED]}
    min(out.glob("*.JPG")).unlink()
    again = translate_pixels(photos, model, out, device="cpu", dry_run=True)
    assert again.counts[Status.PLANNED] == 1
