"""Where the results of a job go: the sink, its journal, what a mark says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyproj import CRS

from attachtrans.errors import ArgumentError, OutputExistsError
from attachtrans.journal import Journal
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.folder import RESULTS
from attachtrans.stores.foldersink import FolderOverwriteSink, FolderSink
from attachtrans.stores.indexed import IndexedSink
from attachtrans.stores.overwrite import OverwriteSink
from attachtrans.stores.photoclass import PhotoClassSink
from attachtrans.stores.photofeatures import Footprinting
from attachtrans.tool.place.open import footprinting
from attachtrans.tool.place.options import Placing
from attachtrans.tool.sinks import Job
from attachtrans.tool.translate import plan_translation
from tests.models.nets import bicubic_x2

from .survey import picture, survey


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bicubic_x2(tmp_path_factory.mktemp("model") / "bicubic.emd")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    (path / "a.jpg").write_bytes(picture(1))
    return path


def job(source: Path, model: Path, output: Path | str | None, **options: Any) -> Job:
    plan = plan_translation(
        source, model, output, overwrite_attachments=output is None, dry_run=True, **options
    )
    plan.job.photos.close()
    return plan.job


@pytest.mark.parametrize(
    ("of_folder", "output", "geometry", "kind"),
    [
        (False, "out.gpkg", None, FeatureClassSink),
        (False, "out.gpkg", "source", FeatureClassSink),
        (False, "out.gpkg:x", "both", FeatureClassSink),
        (False, "out.gpkg", "footprint", PhotoClassSink),
        (False, None, None, OverwriteSink),
        (True, "out.gpkg", None, PhotoClassSink),
        (False, "out", None, IndexedSink),
        (False, "out", "footprint", IndexedSink),
        (True, "out", None, FolderSink),
        (True, None, None, FolderOverwriteSink),
    ],
)
def test_each_way_has_its_sink(
    of_folder: bool,
    output: str | None,
    geometry: str | None,
    kind: type,
    folder: Path,
    model: Path,
    tmp_path: Path,
) -> None:
    source = folder if of_folder else survey(tmp_path / "in.gpkg")
    target = None if output is None else tmp_path / output
    one = job(source, model, target, geometry=geometry)
    one.prepare()
    with closing(Journal(one.journal_path)) as journal:
        journal.begin(one.description, again=False)
        sink = one.sink(journal, footprinting(one), lambda *_: None)
        assert type(sink) is kind
        sink.close()
    one.photos.close()


def test_journals_lie_beside_what_is_written(folder: Path, model: Path, tmp_path: Path) -> None:
    gpkg, work = survey(tmp_path / "in.gpkg"), tmp_path / "work"
    work.mkdir()
    places = {
        job(gpkg, model, None).journal_path: tmp_path / "in.gpkg.attachtrans",
        job(gpkg, model, tmp_path / "o.gpkg:x").journal_path: tmp_path / "o.gpkg.attachtrans",
        job(folder, model, tmp_path / "o.gpkg").journal_path: tmp_path / "o.gpkg.attachtrans",
        job(folder, model, tmp_path / "out").journal_path: tmp_path / "out" / RESULTS,
    }
    assert list(places) == list(places.values())
    for source, output in ((gpkg, None), (folder, tmp_path / "o.gpkg"), (folder, tmp_path / "out")):
        assert job(source, model, output, work_dir=work).journal_path.parent == work


def test_a_mark_says_by_what(model: Path, tmp_path: Path) -> None:
    one = job(survey(tmp_path / "in.gpkg"), model, None, arguments={"tile_size": 32})
    assert one.mark.startswith("attachtrans ")
    assert "model=bicubic" in one.mark
    assert f"fingerprint={one.model.fingerprint[:16]}" in one.mark
    assert "tile_size=32" in one.mark
    secured = job(one.source, model, None, secure=True)
    assert secured.description.fingerprint != secured.model.fingerprint


def test_an_index_of_a_folder_is_asked_for(folder: Path, model: Path, tmp_path: Path) -> None:
    one = job(folder, model, tmp_path / "out", index="geoparquet")
    assert (one.writing.geometry, one.writing.index) == ("footprint", "geoparquet")
    assert job(folder, model, tmp_path / "out", index="none").writing.index is None
    one = job(survey(tmp_path / "in.gpkg"), model, tmp_path / "out")
    assert (one.writing.geometry, one.writing.index) == ("source", "geojson")
    one.prepare()
    (tmp_path / "out/results.geojson").write_text("{}")
    with pytest.raises(OutputExistsError, match=r"results\.geojson is there"):
        job(one.source, model, tmp_path / "out")


@pytest.mark.parametrize(
    ("output", "options", "said"),
    [
        ("out", {"geometry": "both"}, "an index is one"),
        ("out.gpkg", {"index": "geojson"}, "--index geojson goes with --output FOLDER only"),
        (None, {"index": "none"}, "--index none goes with --output FOLDER only"),
        ("out.gpkg", {"patterns": ("*.jpg",)}, "--pattern concerns folders"),
    ],
)
def test_what_does_not_go_with_feature_classes(
    output: str | None, options: dict[str, Any], said: str, model: Path, tmp_path: Path
) -> None:
    target = None if output is None else tmp_path / output
    with pytest.raises(ArgumentError, match=said):
        job(survey(tmp_path / "in.gpkg"), model, target, **options)


@pytest.mark.parametrize("geometry", ["source", "both"])
def test_folders_have_footprints_only(
    geometry: str, folder: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="can only be footprints"):
        job(folder, model, tmp_path / "out.gpkg", geometry=geometry)
    with pytest.raises(ArgumentError, match=r"goes with --output OUT\.gpkg or --index only"):
        job(folder, model, tmp_path / "out", geometry=geometry)
    said = "can only be footprints|an index is one"
    with pytest.raises(ArgumentError, match=said):
        job(folder, model, tmp_path / "out", geometry=geometry, index="geojson")


def test_the_folder_of_the_photos_is_no_output(folder: Path, model: Path) -> None:
    with pytest.raises(ArgumentError, match="is the folder of the photos"):
        job(folder, model, folder).prepare()


def test_systems_of_footprints(folder: Path, model: Path, tmp_path: Path) -> None:
    gpkg, out = survey(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    utm, wgs84 = CRS.from_epsg(25832), CRS.from_epsg(4326)

    def of(source: Path, **options: Any) -> Footprinting:
        return footprinting(job(source, model, out, **options))

    assert of(folder).crs_of("") == wgs84
    assert of(gpkg, geometry="both").crs_of("shots") == utm
    assert of(gpkg, geometry="footprint").crs_of("another") == wgs84
    mercator = Placing(crs="EPSG:3857")
    assert of(gpkg, geometry="both", placing=mercator).crs_of("shots") == CRS.from_epsg(3857)
    out.touch()  # what a killed run may leave
    assert of(gpkg, geometry="both").crs_of("shots") == utm


def test_what_footprints_are_made_of_is_told_apart() -> None:
    wishes = [
        Placing(),
        Placing(ground_m=1.0),
        Placing(height_m=1.0),
        Placing(far_m=1.0),
        Placing(near_m=1.0),
        Placing(dem=Path("a.tif")),
        Placing(camera=Path("a.tif")),
        Placing(poses=Path("a.tif")),
        Placing(poses_crs="EPSG:25832"),
        Placing(columns={"heading": "a"}),
        Placing(mode="disc"),
        Placing(dem=Path("a.tif"), visible=True),
        Placing(header=("name", "x", "y")),
        Placing(radius_unit="mm"),
    ]
    assert len({wish.footprints_fingerprint for wish in wishes}) == len(wishes)
    moved = Placing(dem=Path("/elsewhere/a.tif"), ortho=Path("orthos"), crs="EPSG:25832", cog=True)
    assert moved.footprints_fingerprint == Placing(dem=Path("a.tif")).footprints_fingerprint
    grids = [
        *wishes,
        Placing(resolution=1.0),
        Placing(dem=Path("a.tif"), occlusion=True),
        Placing(crs="EPSG:25832"),
    ]
    assert len({wish.grid_fingerprint for wish in grids}) == len(grids)
