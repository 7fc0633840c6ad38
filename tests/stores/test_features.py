from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, ImageError, SinkError
from attachtrans.journal import digest_of
from attachtrans.stores.catalog import detect
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.outputclass import OutputClass
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.photos import open_photos
from attachtrans.stores.selection import Selection

from .appending import (
    MARK,
    append,
    draft,
    findings,
    in_other_process,
    photos_of,
    provenance,
    rows,
    value,
)
from .gpkg import JPEG, PDF, PNG, Gpkg, attachment, picture, point

LAYOUTS = [str(layout) for layout in OutputLayout]
GUIDS = [f"{{0000000{n}-AAAA-4BBB-8CCC-DDDDDDDDDDDD}}" for n in range(1, 4)]


@pytest.fixture(scope="session")
def gdal_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees with GlobalIDs in a GeoPackage that GDAL wrote, with its triggers and counts."""
    path = tmp_path_factory.mktemp("gdal") / "field.gpkg"
    script = """
import sys, fiona
schema = {"geometry": "Point", "properties": {"species": "str:20", "height": "float",
          "GlobalID": "str:38"}}
layer = {"driver": "GPKG", "layer": "trees", "schema": schema, "crs": "EPSG:25832"}
with fiona.open(sys.argv[1], "w", **layer) as f:
    for n, guid in enumerate(sys.argv[2:]):
        f.write({"geometry": {"type": "Point", "coordinates": (5e5 + n, 5.4e6 - n)},
                 "properties": {"species": f"Föhre {n}", "height": n / 3, "GlobalID": guid}})
"""
    in_other_process(script, path, *GUIDS)
    return path


@pytest.fixture
def source(gdal_file: Path, tmp_path: Path) -> Path:
    """Tree 1 has two photos and a document, tree 2 has one photo, tree 3 none."""
    path = tmp_path / "field.gpkg"
    shutil.copy(gdal_file, path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        """
        CREATE TABLE trees__ATTACH (ATTACHMENTID INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
            REL_GLOBALID TEXT(38) NOT NULL, CONTENT_TYPE TEXT(150) NOT NULL, ATT_NAME TEXT(250)
            NOT NULL, DATA_SIZE MEDIUMINT NOT NULL, DATA BLOB, GLOBALID TEXT(38) NOT NULL,
            KEYWORDS TEXT);
        INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)
            VALUES ('trees__ATTACH', 'attributes', 'trees__ATTACH', 0);
        """
    )
    photos = [
        (1, GUIDS[0], "image/jpeg", "Photo1.JPG", picture(1)),
        (2, GUIDS[0], "image/png", "Photo1.jpg", PNG),
        (3, GUIDS[0], "application/pdf", "report.pdf", PDF),
        (4, GUIDS[1], "image/jpeg", "Photo1.jpg", picture(4)),
        (5, GUIDS[1], "image/jpeg", "Photo2.jpg", None),
    ]
    for number, parent, kind, name, data in photos:
        connection.execute(
            "INSERT INTO trees__ATTACH VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, parent, kind, name, len(data or b""), data, f"{{{number}}}", f"q{number}"),
        )
    connection.close()
    return path


EXPECTED = {
    (1, "trees__ATTACH.DATA/1", picture(1) + MARK),
    (1, "trees__ATTACH.DATA/2", PNG + MARK),
    (1, "trees__ATTACH.DATA/3", PDF),
    (2, "trees__ATTACH.DATA/4", picture(4) + MARK),
}


def place(where: str, source: Path, tmp_path: Path) -> Path:
    """An output that is new, that is there with other data, or that is the source."""
    if where == "new":
        return tmp_path / "results" / "out.gpkg"
    if where == "same":
        return source
    path = tmp_path / "other.gpkg"
    shutil.copy(source, path)
    return path


@pytest.mark.parametrize("where", ["new", "existing", "same"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_feature_and_photo_arrives_once_per_model(
    layout: str, where: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    output = place(where, source, tmp_path)
    before = findings(output) if output.exists() else []

    first = append(source, output, layout, to="result")
    assert first == {"done": 3, "kept": 1}
    assert append(source, output, layout, to="result") == {"already": 4}
    append(source, output, layout, to="result", model="fp2")

    assert photos_of(output, layout, "result") == {
        (fid, model, key, data): 1 for fid, key, data in EXPECTED for model in ("fp1", "fp2")
    }
    carried = rows(output, "SELECT species, height, geom, SRC_GLOBALID, SRC_FID FROM result")
    original = rows(source, "SELECT species, height, geom, GlobalID, fid FROM trees")
    assert sorted(carried) == sorted(original * 2)
    guids = [guid for (guid,) in rows(output, "SELECT GlobalID FROM result")]
    assert len(set(guids)) == 6
    assert not set(guids) & set(GUIDS)
    assert [f for f in findings(output) if f not in before] == []
    assert value(output, "PRAGMA journal_mode") == "delete"


def test_attachments_have_esris_columns_and_their_own_ids(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output)
    table = rows(output, "SELECT name, type, \"notnull\" FROM pragma_table_info('trees__ATTACH')")
    assert table[:7] == [
        ("ATTACHMENTID", "INTEGER", 1),
        ("REL_GLOBALID", "TEXT(38)", 1),
        ("CONTENT_TYPE", "TEXT(150)", 1),
        ("ATT_NAME", "TEXT(250)", 1),
        ("DATA_SIZE", "MEDIUMINT", 1),
        ("DATA", "BLOB", 0),
        ("GLOBALID", "TEXT(38)", 1),
    ]
    query = (
        "SELECT CONTENT_TYPE, ATT_NAME, DATA_SIZE = length(DATA), KEYWORDS, SRC_GLOBALID, "
        "SRC_DIGEST, MODEL_FP FROM trees__ATTACH ORDER BY SRC_ATT"
    )
    assert rows(output, query) == [
        ("image/jpeg", "Photo1.JPG", 1, "q1", "{1}", digest_of(picture(1)), "fp1"),
        ("image/png", "Photo1.png", 1, "q2", "{2}", digest_of(PNG), "fp1"),
        ("application/pdf", "report.pdf", 1, "q3", "{3}", digest_of(PDF), "fp1"),
        ("image/jpeg", "Photo1.jpg", 1, "q4", "{4}", digest_of(picture(4)), "fp1"),
    ]
    assert rows(output, "PRAGMA foreign_key_list('trees__ATTACH')")[0][2:5] == (
        "trees",
        "REL_GLOBALID",
        "GlobalID",
    )
    assert rows(output, "PRAGMA foreign_key_check") == []


READ_WITH_GDAL = """
import json, sys, warnings
warnings.simplefilter("error")
import fiona, pyogrio

def look(path):
    out = {"layers": sorted(fiona.listlayers(path)), "blobs": []}
    with fiona.open(path, layer="trees") as f:
        features = list(f)
        out["fiona"] = [len(f), f.crs.to_epsg(), f.schema["geometry"], [round(b) for b in f.bounds]]
        out["first"] = [features[0].properties[name] for name in ("species", "SRC_FILE")]
        out["box"] = len(list(f.filter(bbox=(500000.5, 5399990, 500003, 5400001))))
    info = pyogrio.read_info(path, layer="trees", force_feature_count=True)
    out["pyogrio"] = [info["features"], info["crs"], info["geometry_type"]]
    for layer, column in (("trees__ATTACH", "DATA"), ("trees_media", "data")):
        if layer in out["layers"]:
            with fiona.open(path, layer=layer) as f:
                out["blobs"] = sorted(len(bytes(r.properties[column])) for r in f)
    return out

print(json.dumps([look(path) for path in sys.argv[1:]]))
"""


@pytest.mark.slow
def test_gdal_reads_what_was_written(source: Path, tmp_path: Path) -> None:
    outputs = []
    for layout in LAYOUTS:
        outputs.append(tmp_path / f"{layout}.gpkg")
        append(source, outputs[-1], layout)
        append(source, outputs[-1], layout, model="fp2")
    seen = json.loads(in_other_process(READ_WITH_GDAL, *outputs))
    for each in seen:
        assert each["fiona"] == [6, 25832, "Point", [500000, 5399998, 500002, 5400000]]
        assert each["pyogrio"] == [6, "EPSG:25832", "Point"]
        assert each["box"] == 4
        assert each["first"] == ["Föhre 0", "field.gpkg"]
    sizes = sorted([len(data) for _, _, data in EXPECTED] * 2)
    assert [each["blobs"] for each in seen] == [sizes, sizes, [], []]
    assert "trees__ATTACH" in seen[0]["layers"]
    assert {"trees_media", "trees_trees_media"} <= set(seen[1]["layers"])


@pytest.mark.slow
def test_gdal_counts_right_after_it_has_counted_before(source: Path, tmp_path: Path) -> None:
    """GDAL gives a class of ours a count and triggers of its own when it edits it."""
    output = tmp_path / "out.gpkg"
    append(source, output)
    in_other_process(
        "import sys, fiona\n"
        "with fiona.open(sys.argv[1], layer='trees') as f:\n"
        "    feature = next(iter(f))\n"
        "with fiona.open(sys.argv[1], 'a', layer='trees') as f:\n"
        "    f.write({'geometry': None, 'properties': dict(feature.properties, GlobalID='{X}')})\n",
        output,
    )
    append(source, output, model="fp2")
    (seen,) = json.loads(in_other_process(READ_WITH_GDAL, output))
    assert seen["fiona"][0] == 7
    assert len(seen["blobs"]) == 8


def test_a_wrong_count_of_gdal_is_forgotten(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "other.gpkg"
    shutil.copy(source, output)
    append(source, output, to="result")
    connection = sqlite3.connect(output)
    connection.execute("INSERT OR REPLACE INTO gpkg_ogr_contents VALUES ('result', 3)")
    connection.commit()
    connection.close()
    append(source, output, to="result", model="fp2")
    query = "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = 'result'"
    assert value(output, query) is None
    query = "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = 'trees'"
    assert value(output, query) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_that_stopped_is_completed(layout: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output, layout, stop_after=1)
    assert append(source, output, layout) == {"already": 1, "done": 2, "kept": 1}
    assert photos_of(output, layout) == {(f, "fp1", k, d): 1 for f, k, d in EXPECTED}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_photo_edited_in_the_source_replaces_its_earlier_result(
    layout: str, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output, layout)
    connection = sqlite3.connect(source)
    connection.execute("UPDATE trees__ATTACH SET DATA = ? WHERE ATTACHMENTID = 4", (JPEG,))
    connection.commit()
    connection.close()
    assert append(source, output, layout) == {"already": 3, "done": 1}
    photos = photos_of(output, layout)
    assert sum(photos.values()) == 4
    assert photos[2, "fp1", "trees__ATTACH.DATA/4", JPEG + MARK] == 1


@pytest.mark.parametrize("layout", ["blob", "folder"])
def test_columns_are_added_when_a_feature_gets_more_photos(
    layout: str, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output, layout)
    connection = sqlite3.connect(source)
    more = (9, GUIDS[0], "image/jpeg", "new.jpg", 1, JPEG, "{9}", None)
    connection.execute("INSERT INTO trees__ATTACH VALUES (?, ?, ?, ?, ?, ?, ?, ?)", more)
    connection.commit()
    connection.close()
    assert append(source, output, layout) == {"already": 4, "done": 1}
    assert photos_of(output, layout)[1, "fp1", "trees__ATTACH.DATA/9", JPEG + MARK] == 1
    assert findings(output) == []


def test_features_beyond_a_selection_come_with_a_later_run(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    chosen = Selection(where="species LIKE '%0'")
    assert append(source, output, selection=chosen) == {"done": 2, "kept": 1}
    assert rows(output, "SELECT SRC_FID FROM trees") == [(1,)]
    assert append(source, output) == {"already": 3, "done": 1}
    assert sorted(rows(output, "SELECT SRC_FID FROM trees")) == [(1,), (2,), (3,)]


def test_with_limit_only_features_of_the_photos_taken_come_along(
    source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output, selection=Selection(limit=2))
    assert rows(output, "SELECT SRC_FID FROM trees") == [(1,)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chain_of_runs_keeps_what_every_step_wrote(
    layout: str, source: Path, tmp_path: Path
) -> None:
    a, b, c = (tmp_path / f"{name}.gpkg" for name in "abc")
    append(source, a, layout, model="A")
    append(a, b, layout, model="B")
    append(b, c, layout, model="C")
    names = "SRC_FILE, SRC_SRC_FILE, SRC_SRC_SRC_FILE, MODEL_FP, SRC_MODEL_FP, SRC_SRC_MODEL_FP"
    assert set(rows(c, f"SELECT {names} FROM trees")) == {
        ("b.gpkg", "a.gpkg", "field.gpkg", "C", "B", "A")
    }
    assert sorted(rows(c, "SELECT SRC_SRC_SRC_GLOBALID FROM trees")) == [(g,) for g in GUIDS]
    translated = [data for _, _, _, data in photos_of(c, layout).elements()]
    documents = (
        [PDF] if layout in ("attach", "media") else []
    )  # a column of PDFs is no photo column
    assert sorted(translated) == sorted(
        [data + MARK * 3 for data in (picture(1), PNG, picture(4))] + documents
    )
    assert findings(c) == []


def test_metadata_says_what_made_the_class(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    for model in ("fp1", "fp1", "fp2"):
        append(source, output, model=model)
    query = (
        "SELECT m.metadata FROM gpkg_metadata m JOIN gpkg_metadata_reference r ON "
        "r.md_file_id = m.id WHERE r.table_name = 'trees' AND r.reference_scope = 'table'"
    )
    texts = [json.loads(text) for (text,) in rows(output, query)]
    assert [text["MODEL_FP"] for text in texts] == ["fp1", "fp2"]
    assert texts[0] == {
        "software": "attachtrans",
        "version": "1.0",
        "model": "net",
        "MODEL_FP": "fp1",
        "arguments": {"scale": 2},
        "SRC_FILE": "field.gpkg",
        "SRC_LAYER": "trees",
    }


def shared_photos(path: Path) -> Path:
    """Photo 1 hangs on features 1 and 2, photo 2 on none."""
    gpkg = Gpkg(path)
    gpkg.layer("trees", "note TEXT", [(n, point(n, n), "x") for n in (1, 2)])
    gpkg.table(
        "pictures",
        "id INTEGER PRIMARY KEY, data BLOB NOT NULL, content_type TEXT NOT NULL, title TEXT",
        [(1, JPEG, "image/jpeg", "one"), (2, picture(2), "image/jpeg", "two")],
        "attributes",
    )
    gpkg.table("links", "base_id INTEGER, related_id INTEGER", [(1, 1), (2, 1)])
    gpkg.relations(("trees", "fid", "pictures", "id", "media", "links"))
    return gpkg.done()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shared_photo_hangs_on_each_feature_and_an_orphan_on_none(
    layout: str, tmp_path: Path
) -> None:
    source, output = shared_photos(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    assert append(source, output, layout) == {"done": 1, "refused": 1}
    assert photos_of(output, layout) == {
        (fid, "fp1", "pictures.data/1", JPEG + MARK): 1 for fid in (1, 2)
    }
    assert append(source, output, layout) == {"already": 1, "refused": 1}
    if layout == "media":
        assert rows(output, "SELECT name FROM trees_media") == [("one.jpg",)]
    if layout == "folder":
        assert len(list((tmp_path / "out_photos").iterdir())) == 1


def test_a_folder_has_safe_unique_names_and_missing_files_come_again(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer("trees", "GlobalID TEXT", [(1, point(1, 1), "{A}")])
    names = [
        "Höhe/../ü.jpg",
        "a.jpg",
        "a.jpg",
        "A.JPG",
        "con.jpg",
        'q"?*<>|.jpg',
        ".jpg",
        "日" * 200,
    ]
    photos = [attachment(n, "{A}", picture(n), name) for n, name in enumerate(names, 1)]
    gpkg.attach("trees", "REL_GLOBALID TEXT", photos)
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    assert append(source, output, "folder") == {"done": 8}
    files = sorted(path.name for path in (tmp_path / "out_photos").iterdir())
    assert len({name.casefold() for name in files}) == 8
    assert all(len(name.encode()) < 200 and not set(name) & set('<>:"/\\|?*') for name in files)
    assert sum(photos_of(output, "folder").values()) == 8
    (tmp_path / "out_photos" / files[3]).unlink()
    assert append(source, output, "folder") == {"already": 7, "done": 1}
    assert sorted(path.name for path in (tmp_path / "out_photos").iterdir()) == files


def test_a_result_of_another_format_gets_a_fitting_name(source: Path, tmp_path: Path) -> None:
    photos = open_photos(source, detect(source))
    output = OutputClass(path=tmp_path / "out.gpkg")
    sink = FeatureClassSink(source, photos, output, provenance())
    item = next(iter(photos))
    sink.commit(draft(item, JPEG, media_type="image/tiff", extension=".tif", reformatted=True))
    sink.close()
    found = rows(output.path, "SELECT ATT_NAME, CONTENT_TYPE FROM trees__ATTACH")
    assert found == [("Photo1.tif", "image/tiff")]


def test_a_photo_too_big_for_sqlite_fails_alone(source: Path, tmp_path: Path) -> None:
    photos = open_photos(source, detect(source))
    output = OutputClass(path=tmp_path / "out.gpkg")
    sink = FeatureClassSink(source, photos, output, provenance())
    sink._out.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    item = next(iter(photos))
    with pytest.raises(ImageError, match=r"does not fit into out\.gpkg"):
        sink.commit(draft(item, JPEG + bytes(20_000)))
    sink.commit(draft(item, JPEG))
    sink.finish()
    sink.close()
    assert value(output.path, "SELECT count(*) FROM trees__ATTACH") == 1


def test_a_full_disk_ends_the_run_and_leaves_a_good_file(source: Path, tmp_path: Path) -> None:
    photos = open_photos(source, detect(source))
    output = OutputClass(path=tmp_path / "out.gpkg")
    sink = FeatureClassSink(source, photos, output, provenance())
    (pages,) = sink._out.connection.execute("PRAGMA page_count").fetchone()
    sink._out.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    item = next(iter(photos))
    with pytest.raises(SinkError, match=r"full; free disk space"):
        sink.commit(draft(item, JPEG + bytes(50_000)))
    sink.close()
    assert append(source, output.path) == {"done": 3, "kept": 1}
    assert findings(output.path) == []


def test_the_source_layer_itself_is_refused(source: Path) -> None:
    with pytest.raises(ArgumentError, match="is the source itself"):
        append(source, source)
    with pytest.raises(ArgumentError, match="is the source itself"):
        append(source, source, to="TREES")


@pytest.mark.parametrize("layer", ["", "gpkg_contents", "sqlite_x", "rtree_x"])
def test_a_layer_cannot_have_a_name_of_the_system(layer: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be the name of a layer"):
        append(source, tmp_path / "out.gpkg", to=layer)
    assert not (tmp_path / "out.gpkg").exists()


def test_outputs_that_cannot_be_are_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        append(source, tmp_path / "missing" / "out.gpkg")
    text = tmp_path / "text.gpkg"
    text.write_text("no database")
    with pytest.raises(SinkError, match="not an SQLite file"):
        append(source, text)
    with pytest.raises(SinkError, match="is a folder"):
        append(source, tmp_path)
    plain = tmp_path / "plain.gpkg"
    connection = sqlite3.connect(plain)
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(SinkError, match="not a GeoPackage"):
        append(source, plain)


def test_one_name_for_several_layers_is_refused(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    for layer in ("a", "b"):
        gpkg.layer(layer, "GlobalID TEXT", [(1, point(1, 1), "{A}")])
        gpkg.attach(layer, "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    source = gpkg.done()
    with pytest.raises(ArgumentError, match="several"):
        append(source, tmp_path / "out.gpkg", to="x")
    assert append(source, tmp_path / "out.gpkg") == {"done": 2}
    assert append(source, tmp_path / "out.gpkg", to="x", layer="a") == {"done": 1}


def test_photos_without_any_layer_are_refused(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.attach("gone", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    with pytest.raises(ArgumentError, match="hang on no layer"):
        append(gpkg.done(), tmp_path / "out.gpkg")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["nga_rte.gpkg", "made/attach_ogr2ogr310.gpkg"])
def test_real_files_arrive_whole(layout: str, name: str, shared: Path, tmp_path: Path) -> None:
    source, output = shared / "data" / "geopackage" / name, tmp_path / "out.gpkg"
    done = append(source, output, layout)
    assert done["done"] == 3
    assert append(source, output, layout) == {"already": done.total() - done["refused"]}
    assert findings(output) == []


def test_results_in_the_source_file_are_translated_only_on_request(source: Path) -> None:
    assert append(source, source, to="one") == {"done": 3, "kept": 1}
    assert append(source, source, to="two", model="fp2") == {"done": 3, "kept": 1}
    assert append(source, source, to="three", layer="one") == {"done": 3, "kept": 1}
    assert set(rows(source, "SELECT SRC_LAYER FROM two")) == {("trees",)}
    assert set(rows(source, "SELECT SRC_LAYER FROM three")) == {("one",)}
    assert append(source, source, to="one") == {"already": 4}
