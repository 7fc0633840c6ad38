"""Folders of results with an index: what is in it, and that nothing gets lost or doubled."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from attachtrans.errors import OutputExistsError, SchemaError
from attachtrans.journal import JobDescription, Journal, digest_of
from attachtrans.stores.catalog import detect
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.folder import open_folder
from attachtrans.stores.foldersink import prepare_results, results_journal
from attachtrans.stores.indexed import FolderIndex, FolderRowsSink, IndexedSink, rows_of
from attachtrans.stores.photoclass import PhotoClassSink
from attachtrans.stores.photofeatures import Footprinting
from attachtrans.stores.photos import open_photos
from attachtrans.types import Placement

from .appending import MARK, drive, provenance
from .gpkg import PDF, Gpkg, attachment, picture, point

REPOSITORY = Path(__file__).resolve().parents[2]
FOOTPRINTS = Footprinting(crs=CRS.from_epsg(4326), placing="p1")
SQUARE = shapely.box(7, 50, 8, 51)
PLACE = Placement(geometry=shapely.to_wkb(SQUARE), attributes={"KIND": "ground", "GSD_M": 0.5})

CHILD = """
import sys
from pathlib import Path
from tests.stores.test_indexed import append
append(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def survey(path: Path, photos: int = 3) -> Path:
    """Features with columns of all kinds; one more has no photo."""
    gpkg = Gpkg(path)
    columns = (
        "GlobalID TEXT, path TEXT, photo TEXT, yes BOOLEAN, whole INTEGER, share REAL, day DATE, "
        "moment DATETIME, empty INTEGER, raw BLOB"
    )
    values = ("own", "p", 1, 2**60, 0.25, "2024-02-29", "2024-02-29T01:02:03.500Z", None, b"\0")
    features = [
        (n, point(n, -n), f"{{{n:036}}}", *(values if n == 1 else (None,) * 9))
        for n in range(1, photos + 2)
    ]
    gpkg.layer("trees", columns, features)
    gpkg.attach(
        "trees",
        "REL_GLOBALID TEXT",
        [attachment(n, f"{{{n:036}}}", picture(n), "Photo1.jpg") for n in range(1, photos + 1)],
    )
    return gpkg.done()


def append(
    source: Path,
    folder: Path,
    kind: Any = "geojson",
    *,
    model: str = "fp1",
    geometry: str = "source",
    stop_after: int | None = None,
    **changes: Any,
) -> Counter[str]:
    """One run over the photos of a feature class, into a folder."""
    prepare_results(folder)
    photos = open_photos(source, detect(source, layout="attach"))
    index, rows = FolderIndex(folder=folder, kind=kind), rows_of(folder)
    index.path()
    inner: Any
    if geometry == "source":
        inner = FeatureClassSink(source, photos, rows, provenance(model))
    else:
        inner = PhotoClassSink(source, photos, rows, provenance(model), FOOTPRINTS)
    return drive(IndexedSink(inner, index), photos, stop_after=stop_after, **changes)


@contextmanager
def folder_sink(source: Path, folder: Path, kind: Any = "geojson") -> Iterator[IndexedSink]:
    photos = open_folder(source)
    prepare_results(folder, photos.folder)
    journal = Journal(results_journal(folder))
    try:
        journal.begin(
            JobDescription(
                source="", fingerprint="fp1", model="net", arguments="{}", version="1.0"
            ),
            again=False,
        )
        inner = FolderRowsSink(photos, journal, provenance(), rows_of(folder), FOOTPRINTS)
        yield IndexedSink(inner, FolderIndex(folder=folder, kind=kind))
    finally:
        journal.close()


def index_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.geojson").read_text(encoding="utf-8"))["features"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".jpg", ".geojson", ".pdf")
    }


def test_each_photo_has_a_file_and_a_feature(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    assert append(source, out) == {"done": 3}
    features = index_of(out)
    rows = [feature["properties"] for feature in features]
    for number, (row, feature) in enumerate(zip(rows, features, strict=True), 1):
        data = picture(number)
        assert (out / row["path"]).read_bytes() == data + MARK
        assert row["SRC_ATT"] == f"trees__ATTACH.DATA/{number}"
        assert row["SRC_DIGEST"] == digest_of(data)
        assert (row["SRC_FILE"], row["SRC_LAYER"]) == ("../in.gpkg", "trees")
        assert (row["SRC_GLOBALID"], row["SRC_FID"]) == (f"{{{number:036}}}", number)
        assert row["MODEL_FP"] == "fp1"
        assert feature["geometry"] == {"type": "Point", "coordinates": [number, -number]}
    assert len({row["path"] for row in rows}) == 3
    first = rows[0]
    assert (first["path_"], first["SRC_photo"]) == ("own", "p")
    assert (first["yes"], first["whole"], first["share"]) == (True, 2**60, 0.25)
    assert (first["day"], first["moment"]) == ("2024-02-29", "2024-02-29T01:02:03.500Z")
    assert not {"raw", "photo", "GlobalID", "fid", "PLACE_FP"} & first.keys()


def test_columns_of_a_geoparquet_keep_their_types(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    append(source, out, "geoparquet")
    table = pq.read_table(out / "results.parquet")
    types = {
        "yes": pa.bool_(),
        "whole": pa.int64(),
        "share": pa.float64(),
        "day": pa.date32(),
        "moment": pa.timestamp("ms", "UTC"),
        "empty": pa.int64(),
        "path_": pa.string(),
        "SRC_FID": pa.int64(),
    }
    assert {name: table.schema.field(name).type for name in types} == types
    assert table["whole"].to_pylist() == [2**60, None, None]
    frame = geopandas.read_parquet(out / "results.parquet")
    assert frame.crs.to_epsg() == 4326
    assert list(frame.geometry) == [shapely.Point(n, -n) for n in (1, 2, 3)]


def test_the_same_again_adds_nothing_and_another_model_appends(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    append(source, out)
    before = files_of(out)
    assert append(source, out) == {"already": 3}
    assert files_of(out) == before
    assert append(source, out, model="fp2") == {"done": 3}
    assert [f["properties"]["MODEL_FP"] for f in index_of(out)] == ["fp1"] * 3 + ["fp2"] * 3
    assert len({f["properties"]["path"] for f in index_of(out)}) == 6
    assert before.items() - files_of(out).items() == {
        ("results.geojson", before["results.geojson"])
    }


def test_footprints_instead_of_the_features_places(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    assert append(source, out, geometry="footprint", placement=PLACE) == {"done": 3}
    row = index_of(out)[0]
    assert shapely.geometry.shape(row["geometry"]).equals(SQUARE)
    properties = row["properties"]
    assert (properties["KIND"], properties["GSD_M"], properties["whole"]) == ("ground", 0.5, 2**60)
    assert append(source, out, geometry="footprint", placement=PLACE) == {"already": 3}
    with pytest.raises(SchemaError, match="--geometry footprint"):
        append(source, out)


def test_a_run_that_stops_leaves_whole_files_and_the_next_completes_it(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    append(source, out, stop_after=1)
    assert not (out / "results.geojson").exists()
    assert list(files_of(out).values()) == [picture(1) + MARK]
    assert append(source, out) == {"already": 1, "done": 2}
    append(source, tmp_path / "whole")
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_file_that_is_gone_is_made_again(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    append(source, out)
    gone = index_of(out)[1]["properties"]["path"]
    (out / gone).unlink()
    append(source, out, model="fp2", stop_after=3)
    assert FolderIndex(folder=out, kind="geojson").write()[0].endswith("photos that are there")
    assert gone not in {f["properties"]["path"] for f in index_of(out)}
    assert append(source, out) == {"already": 2, "done": 1}
    assert (out / gone).exists()


def test_other_attachments_are_files_too(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer("trees", "GlobalID TEXT", [(1, point(1, 2), "{1}")])
    gpkg.attach(
        "trees",
        "REL_GLOBALID TEXT",
        [attachment(1, "{1}", PDF, "../a.pdf"), attachment(2, "{1}", picture(2), "../b/c.jpg")],
    )
    out = tmp_path / "out"
    assert append(gpkg.done(), out) == {"kept": 1, "done": 1}
    paths = [f["properties"]["path"] for f in index_of(out)]
    assert [Path(path).suffix for path in paths] == [".pdf", ".jpg"]
    assert [(out / path).parent for path in paths] == [out] * 2
    assert (out / paths[0]).read_bytes() == PDF


def test_photos_of_a_folder_keep_their_tree_and_get_rows(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for key in ("a.jpg", "DCIM/b.jpg"):
        (source / key).parent.mkdir(parents=True, exist_ok=True)
        (source / key).write_bytes(picture(len(key)))
    for expected in ({"done": 2}, {"already": 2}):
        with folder_sink(source, out) as sink:
            assert drive(sink, open_folder(source), placement=PLACE) == expected
        rows = {f["properties"]["path"]: f for f in index_of(out)}
        assert set(rows) == {"a.jpg", "DCIM/b.jpg"}
        assert (out / "DCIM/b.jpg").read_bytes().endswith(MARK)
        assert rows["a.jpg"]["properties"]["SRC_ATT"] == "a.jpg"
        assert rows["a.jpg"]["properties"]["SRC_FILE"] == "../in"
        assert rows["a.jpg"]["properties"]["KIND"] == "ground"
        assert shapely.geometry.shape(rows["a.jpg"]["geometry"]).equals(SQUARE)


def test_a_folder_of_results_is_no_source_of_photos(tmp_path: Path) -> None:
    source = survey(tmp_path / "in.gpkg")
    (tmp_path / "a.jpg").write_bytes(picture(1))
    append(source, tmp_path / "out", "none")
    assert [item.key for item in open_folder(tmp_path)] == ["a.jpg"]


def test_without_an_index_there_are_rows_alone(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    append(source, out, "none")
    assert sorted(path.suffix for path in out.iterdir()) == [".attachtrans", *[".jpg"] * 3]


def test_an_index_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg"), tmp_path / "out"
    out.mkdir()
    append(source, tmp_path / "other")
    ours_but_not_here = (tmp_path / "other/results.geojson").read_text()
    for content in ('{"type": "FeatureCollection", "features": []}', ours_but_not_here):
        (out / "results.geojson").write_text(content)
        with pytest.raises(OutputExistsError, match=r"results\.geojson is there"):
            append(source, out)
        assert (out / "results.geojson").read_text() == content


@pytest.mark.slow
def test_killed_at_any_moment_a_folder_is_whole(tmp_path: Path) -> None:
    source, out = survey(tmp_path / "in.gpkg", photos=60), tmp_path / "out"
    moments = random.Random(5)
    for _ in range(6):
        command = [sys.executable, "-c", CHILD, str(source), str(out)]
        child = subprocess.Popen(command, cwd=REPOSITORY)
        beginning = time.monotonic()
        while child.poll() is None and not (out / "rows.attachtrans").exists():
            time.sleep(0.005)
            assert time.monotonic() < beginning + 60
        time.sleep(moments.uniform(0, 0.6))
        child.send_signal(signal.SIGKILL)
        child.wait()
        files = files_of(out)
        index = files.pop("results.geojson", None)
        assert index is None or len(json.loads(index)["features"]) == 60
        assert set(files.values()) <= {picture(n) + MARK for n in range(1, 61)}
    append(source, out)
    append(source, tmp_path / "whole")
    assert files_of(out) == files_of(tmp_path / "whole")
