"""A feature per photo: what goes in, what is done again, what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import shapely
from pyproj import CRS
from shapely.geometry import MultiPolygon, box

from attachtrans.errors import ArgumentError, ImageError, SchemaError, SinkError
from attachtrans.stores.catalog import detect
from attachtrans.stores.classes import without_results
from attachtrans.stores.crs import crs_of
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.folder import open_folder
from attachtrans.stores.outputclass import OutputClass
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.photoclass import PhotoClassSink, class_names, layer_of
from attachtrans.stores.photofeatures import Footprinting
from attachtrans.stores.photos import open_photos
from attachtrans.stores.selection import EVERYTHING, Selection
from attachtrans.stores.srs import read_all_srs
from attachtrans.types import Item, Placement, Size

from .appending import MARK, append, draft, drive, findings, in_other_process, provenance, rows
from .gpkg import JPEG, PDF, PNG, Gpkg, attachment, picture, point

LAYOUTS = [str(layout) for layout in OutputLayout]
WGS84, UTM = CRS.from_epsg(4326), CRS.from_epsg(25832)
GUIDS = [f"{{0000000{n}-AAAA-4BBB-8CCC-DDDDDDDDDDDD}}" for n in range(1, 4)]


def placement(item: Item) -> Placement:
    """A square that the photo's key tells apart; photos called nowhere have no place."""
    if "nowhere" in item.name:
        return Placement(geometry=None, attributes={"NAME": item.name}, problem="no position")
    x = sum(item.key.encode()) % 90
    shape = MultiPolygon([box(x, 10, x + 1, 11)])
    known = {"NAME": item.name, "KIND": "ground", "GSD_M": 0.25, "HEADING": 12.5, "TIME": None}
    return Placement(geometry=shapely.to_wkb(shape, flavor="iso"), attributes=known)


def place(
    source: Path,
    output: Path,
    layout: str = "attach",
    *,
    to: str | None = None,
    model: str = "fp1",
    footprints: Footprinting | None = None,
    selection: Selection = EVERYTHING,
    both: bool = False,
    stop_after: int | None = None,
    **draft: Any,
) -> Counter[str]:
    """One run with a footprint per photo; see `appending.append`."""
    footprints = footprints or Footprinting(crs=WGS84, placing="p1")
    target = OutputClass(path=output, layer=to, layout=OutputLayout(layout))
    if source.is_dir():
        photos: Any = open_folder(source)
    else:
        photos = open_photos(source, without_results(source, detect(source), output, to), selection)
    sink: Any
    if both:
        sink = FeatureClassSink(source, photos, target, provenance(model), footprints=footprints)
    else:
        sink = PhotoClassSink(source, photos, target, provenance(model), footprints)
    return drive(sink, photos, stop_after=stop_after, **{"placement": placement} | draft)


def content(path: Path, layout: str, layer: str) -> Counter[tuple[Any, ...]]:
    """(SRC_ATT, SRC_FID, MODEL_FP, content) of every photo of a class, with its feature."""
    joins = {
        "attach": f'JOIN "{layer}__ATTACH" a ON a.REL_GLOBALID = f.GlobalID',
        "media": f'JOIN "{layer}_{layer}_media" p ON p.base_id = f.fid '
        f'JOIN "{layer}_media" a ON a.id = p.related_id',
    }
    column = {"attach": "a.DATA", "media": "a.data"}.get(layout, "f.photo")
    found = rows(
        path,
        f'SELECT f.SRC_ATT, f.SRC_FID, f.MODEL_FP, {column} FROM "{layer}" f '
        f"{joins.get(layout, '')}",
    )
    if layout == "folder":
        found = [(*row[:3], (path.parent / row[3]).read_bytes()) for row in found]
    return Counter(found)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Tree 1 has two photos and a document, tree 2 one photo; one hangs on none, one on a gone."""
    gpkg = Gpkg(tmp_path / "field.gpkg")
    trees = [(n, point(n, n), guid, f"tree {n}", 7) for n, guid in enumerate(GUIDS, 1)]
    gpkg.layer("trees", "GlobalID TEXT, name TEXT, kind INTEGER NOT NULL", trees)
    photos = [
        attachment(1, GUIDS[0], picture(1), "Photo1.JPG"),
        attachment(2, GUIDS[0], PNG, "nowhere.png"),
        attachment(3, GUIDS[0], PDF, "report.pdf"),
        attachment(4, GUIDS[1], picture(4)),
        attachment(5, "{gone}", picture(5), "orphan.jpg"),
    ]
    gpkg.attach(
        "trees", "REL_GLOBALID TEXT", [(*row, f"q{row[0]}") for row in photos], "KEYWORDS TEXT"
    )
    return gpkg.done()


KEY = "trees__ATTACH.DATA/"
EXPECTED = {
    (f"{KEY}1", 1, picture(1) + MARK),
    (f"{KEY}2", 1, PNG + MARK),
    (f"{KEY}3", 1, PDF),
    (f"{KEY}4", 2, picture(4) + MARK),
    (f"{KEY}5", None, picture(5) + MARK),
}


@pytest.mark.parametrize("same_file", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_photo_has_one_feature_per_model(
    layout: str, same_file: bool, source: Path, tmp_path: Path
) -> None:
    output = source if same_file else tmp_path / "out.gpkg"
    assert place(source, output, layout, to="seen") == {"done": 4, "kept": 1}
    assert place(source, output, layout, to="seen") == {"already": 5}
    place(source, output, layout, to="seen", model="fp2")
    assert content(output, layout, "seen") == {
        (key, fid, model, data): 1 for key, fid, data in EXPECTED for model in ("fp1", "fp2")
    }
    told = "SELECT SRC_ATT, NAME, SRC_name, PROBLEM, geom ISNULL, KIND FROM seen "
    assert rows(output, f"{told} WHERE MODEL_FP = 'fp1' ORDER BY 1") == [
        (f"{KEY}1", "Photo1.JPG", "tree 1", None, 0, "ground"),
        (f"{KEY}2", "nowhere.png", "tree 1", "no position", 1, None),
        (f"{KEY}3", "report.pdf", "tree 1", "not translated, so not placed", 1, None),
        (f"{KEY}4", "Photo1.jpg", "tree 2", None, 0, "ground"),
        (f"{KEY}5", "orphan.jpg", None, None, 0, "ground"),
    ]
    assert len(set(rows(output, "SELECT GlobalID FROM seen"))) == 10
    if not same_file:  # which is no whole GeoPackage
        assert findings(output) == []


def test_a_photo_that_several_features_share_has_one(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer("trees", "note TEXT", [(n, point(n, n), f"note {n}") for n in (1, 2)])
    gpkg.table(
        "pictures",
        "id INTEGER PRIMARY KEY, data BLOB NOT NULL, content_type TEXT NOT NULL, title TEXT",
        [(1, JPEG, "image/jpeg", "one")],
        "attributes",
    )
    gpkg.table("links", "base_id INTEGER, related_id INTEGER", [(2, 1), (1, 1)])
    gpkg.relations(("trees", "fid", "pictures", "id", "media", "links"))
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    assert place(source, output) == {"done": 1}
    assert rows(output, "SELECT SRC_FID, note FROM trees") == [(1, "note 1")]


READ_WITH_GDAL = """
import json, sys, warnings
warnings.simplefilter("error")
import pyogrio, shapely
frame = pyogrio.read_dataframe(sys.argv[1], layer=sys.argv[2])
box = pyogrio.read_info(sys.argv[1], layer=sys.argv[2], force_total_bounds=True)
shapes = [shape for shape in frame.geometry if shape is not None]
print(json.dumps([len(frame), frame.crs.to_epsg(), box["geometry_type"],
    sorted({shape.geom_type for shape in shapes}), all(shape.is_valid for shape in shapes),
    list(box["total_bounds"]) == list(frame.total_bounds)]))
"""


@pytest.mark.slow
def test_gdal_reads_footprints(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    place(source, output, to="seen", footprints=Footprinting(crs=UTM))
    seen = json.loads(in_other_process(READ_WITH_GDAL, output, "seen"))
    assert seen == [5, 25832, "MultiPolygon", ["MultiPolygon"], True, True]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("both", [False, True])
def test_a_run_that_stopped_is_completed(
    both: bool, layout: str, source: Path, tmp_path: Path
) -> None:
    calm, output = tmp_path / "calm.gpkg", tmp_path / "out.gpkg"
    place(source, calm, layout, both=both)
    place(source, output, layout, both=both, stop_after=1)
    place(source, output, layout, both=both)
    name = "trees_footprints" if both else "trees"
    query = f"SELECT SRC_ATT, SRC_FID, SRC_GLOBALID, NAME, geom, PROBLEM FROM {name} ORDER BY 1"
    assert rows(output, query) == rows(calm, query)


def test_features_with_footprints_beside_them(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    first = place(source, output, both=True)
    assert first == {"done": 3, "kept": 1, "refused": 1}
    query = "SELECT SRC_ATT, SRC_FID, SRC_GLOBALID, PROBLEM FROM trees_footprints ORDER BY 1"
    assert rows(output, query) == [
        (f"{KEY}1", 1, GUIDS[0], None),
        (f"{KEY}2", 1, GUIDS[0], "no position"),
        (f"{KEY}4", 2, GUIDS[1], None),
    ]
    assert rows(output, "SELECT count(*) FROM trees") == [(3,)]
    # A document has no footprint: it is looked at again, and nothing is added.
    assert place(source, output, both=True) == {"already": 3, "kept": 1, "refused": 1}
    assert rows(output, "SELECT count(*) FROM trees__ATTACH") == [(4,)]
    assert findings(output) == []


def test_footprints_come_later(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(source, output)
    attached = "SELECT SRC_ATT, DATA FROM trees__ATTACH ORDER BY 1"
    before = rows(output, attached)
    place(source, output, both=True)
    assert rows(output, "SELECT count(*) FROM trees_footprints") == [(3,)]
    assert rows(output, attached) == before


@pytest.mark.parametrize("both", [False, True])
def test_other_poses_or_another_ground_replace_footprints(
    both: bool, source: Path, tmp_path: Path
) -> None:
    output, name = tmp_path / "out.gpkg", "trees_footprints" if both else "trees"

    def elsewhere(item: Item) -> Placement:
        shape = MultiPolygon([box(0, 0, 1, 1)])
        return Placement(geometry=shapely.to_wkb(shape), attributes={"NAME": item.name})

    place(source, output, both=both)
    before = rows(output, f"SELECT fid, GlobalID FROM {name}")
    again = place(
        source,
        output,
        both=both,
        placement=elsewhere,
        footprints=Footprinting(crs=WGS84, placing="p2"),
    )
    assert again["done"] == (3 if both else 4)
    assert rows(output, f"SELECT fid, GlobalID FROM {name}") == before
    images = f"FROM {name} WHERE SRC_ATT <> '{KEY}3'"
    assert rows(output, f"SELECT DISTINCT PLACE_FP, PROBLEM, geom ISNULL {images}") == [
        ("p2", None, 0)
    ]
    assert len(rows(output, f"SELECT DISTINCT geom {images}")) == 1
    assert findings(output) == []


def test_a_photo_edited_in_the_source_replaces_its_result(source: Path, tmp_path: Path) -> None:
    for layout in LAYOUTS:
        output = tmp_path / f"{layout}.gpkg"
        place(source, output, layout)
        with closing(sqlite3.connect(source)) as connection:
            change = "UPDATE trees__ATTACH SET DATA = ? WHERE ATTACHMENTID = 4"
            connection.execute(change, (picture(77 + len(layout)),))
            connection.execute("UPDATE trees SET name = ?", (f"for {layout}",))
            connection.commit()
        assert place(source, output, layout) == {"done": 1, "already": 4}
        found = content(output, layout, "trees")
        assert sum(found.values()) == 5
        assert found[f"{KEY}4", 2, "fp1", picture(77 + len(layout)) + MARK] == 1
        name = "SELECT SRC_name FROM trees WHERE SRC_FID = 2"
        assert rows(output, name) == [(f"for {layout}",)]


def test_a_feature_with_very_many_photos_needs_one_column(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer("trees", "GlobalID TEXT", [(1, point(1, 1), "{A}")])
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(n, "{A}") for n in range(1, 120)])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    assert place(source, output, "blob", stop_after=2) == {"done": 2}
    names = [name for (name,) in rows(output, "SELECT name FROM pragma_table_info('trees')")]
    assert [name for name in names if name.startswith("photo")] == ["photo"]


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Two layers in two systems, with photo tables of other columns, and photos without a layer."""
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.sql(
        "INSERT INTO gpkg_spatial_ref_sys VALUES ('UTM', 25832, 'EPSG', 25832, 'undefined', NULL)"
    )
    for name, extra in (("a", "KEYWORDS TEXT"), ("b", "author TEXT")):
        gpkg.layer(name, "GlobalID TEXT", [(1, point(1, 1), "{A}")])
        photos = [(*attachment(1, "{A}"), name), (*attachment(2, "{gone}"), name)]
        gpkg.attach(name, "REL_GLOBALID TEXT", photos, extra)
    gpkg.attach("gone", "REL_GLOBALID TEXT", [(*attachment(1, "{A}"), "c")], "title TEXT")
    gpkg.sql("UPDATE gpkg_geometry_columns SET srs_id = 25832 WHERE table_name = 'b'")
    return gpkg.done()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layer_has_its_class_and_orphans_go_with_their_table(
    layout: str, layers: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    systems = Footprinting(crs=WGS84, layers={"b": UTM})
    assert place(layers, output, layout, footprints=systems) == {"done": 5}
    assert place(layers, output, layout, footprints=systems) == {"already": 5}
    tables = "SELECT table_name, srs_id FROM gpkg_geometry_columns ORDER BY 1"
    assert rows(output, tables) == [("a", 4326), ("b", 25832)]
    found = {name: sorted(rows(output, f"SELECT SRC_ATT, SRC_FID FROM {name}")) for name in "ab"}
    assert found == {
        "a": [("a__ATTACH.DATA/1", 1), ("a__ATTACH.DATA/2", None), ("gone__ATTACH.DATA/1", None)],
        "b": [("b__ATTACH.DATA/1", 1), ("b__ATTACH.DATA/2", None)],
    }
    if layout == "attach":
        assert rows(output, "SELECT DISTINCT author FROM b__ATTACH") == [("b",)]
        query = "SELECT KEYWORDS, title FROM a__ATTACH ORDER BY SRC_ATT"
        assert rows(output, query) == [("a", None), ("a", None), (None, "c")]
    assert findings(output) == []


def test_the_class_of_a_photo(layers: Path) -> None:
    photos = open_photos(layers, detect(layers))
    found = {item.key: layer_of(photos, item) for item in photos}
    photos.close()
    assert set(found.values()) == {"a", "b"}
    assert found["gone__ATTACH.DATA/1"] == "a"
    assert class_names(layers, photos, None) == {"a": "a", "b": "b"}
    with pytest.raises(ArgumentError, match="several"):
        class_names(layers, photos, "x")


def test_photos_without_any_layer_have_features(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.attach("gone", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    assert place(source, output) == {"done": 1}
    assert rows(output, 'SELECT SRC_LAYER, SRC_ATT FROM "in"') == [("", "gone__ATTACH.DATA/1")]
    assert findings(output) == []


def folder(path: Path) -> Path:
    for key in ("DCIM/1.jpg", "DCIM/1.png", "nowhere.jpg"):
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(picture(len(key), "PNG" if key.endswith("png") else "JPEG"))
    (path / "notes.txt").write_text("no photo")
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_photos_of_a_folder(layout: str, tmp_path: Path) -> None:
    source, output = folder(tmp_path / "drone.v2"), tmp_path / "out.gpkg"
    assert place(source, output, layout) == {"done": 3}
    assert place(source, output, layout) == {"already": 3}
    query = 'SELECT SRC_ATT, SRC_FILE, SRC_LAYER, PROBLEM FROM "drone.v2" ORDER BY 1'
    assert rows(output, query) == [
        ("DCIM/1.jpg", "drone.v2", "", None),
        ("DCIM/1.png", "drone.v2", "", None),
        ("nowhere.jpg", "drone.v2", "", "no position"),
    ]
    assert sum(content(output, layout, "drone.v2").values()) == 3
    assert findings(output) == []


@pytest.mark.parametrize("name", ["gpkg_photos", "rtree_x"])
def test_a_folder_whose_name_no_layer_can_have(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path / name)
    with pytest.raises(ArgumentError, match="cannot be the name of a layer"):
        place(source, tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()
    assert place(source, tmp_path / "out.gpkg", to="photos") == {"done": 3}


def test_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder(tmp_path / "drone"))
    photos = open_folder(Path())
    assert class_names(Path(), photos, None) == {"": "drone"}
    assert class_names(Path("DCIM/1.jpg"), open_folder(Path("DCIM/1.jpg")), None) == {"": "1"}


def polygons(path: Path) -> Path:
    """A layer whose geometries are of the kind of footprints."""
    gpkg = Gpkg(path)
    gpkg.layer("trees", "GlobalID TEXT", [(1, None, GUIDS[0])])
    gpkg.sql("UPDATE gpkg_geometry_columns SET geometry_type_name = 'MULTIPOLYGON'")
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, GUIDS[0])])
    return gpkg.done()


@pytest.mark.parametrize("make", [polygons, None])
def test_classes_of_another_kind_are_refused(
    make: Callable[[Path], Path] | None, source: Path, tmp_path: Path
) -> None:
    source = make(tmp_path / "in.gpkg") if make else source
    output, other = tmp_path / "features.gpkg", tmp_path / "footprints.gpkg"
    append(source, output)
    place(source, other)
    before = output.read_bytes(), other.read_bytes()
    with pytest.raises(SchemaError, match="has the source's features"):
        place(source, output)
    with pytest.raises(SchemaError, match="has a feature per photo"):
        append(source, other)
    with pytest.raises(SchemaError, match="has a feature per photo"):
        place(source, other, both=True)
    assert (output.read_bytes(), other.read_bytes()) == before


def test_a_misfit_makes_nothing(layers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(layers, output, layer="b")
    before = rows(output, "SELECT name, sql FROM sqlite_master")
    with pytest.raises(SchemaError, match="output class b has the source's"):
        place(layers, output)
    gpkg = sqlite3.connect(output)
    gpkg.execute("CREATE TABLE a_footprints (fid INTEGER PRIMARY KEY)")
    gpkg.close()
    after = rows(output, "SELECT name, sql FROM sqlite_master")
    with pytest.raises(SchemaError, match="a_footprints"):
        place(layers, output, both=True)
    assert rows(output, "SELECT name, sql FROM sqlite_master") == after
    assert len(after) == len(before) + 1


def test_another_system_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    place(source, output)
    with pytest.raises(SchemaError, match=r"is in EPSG:4326 .*UTM zone 32N.*leave --crs out"):
        place(source, output, footprints=Footprinting(crs=UTM))


CUSTOM = [
    "+proj=tmerc +lat_0=50 +lon_0=9 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m",
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +to_meter=0.01745329",
    "ESRI:102003",
    "EPSG:7415",
    "EPSG:4979",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", CUSTOM)
def test_systems_without_a_number_stay_the_same(text: str, source: Path, tmp_path: Path) -> None:
    output, crs = tmp_path / "out.gpkg", CRS.from_user_input(text)
    place(source, output, footprints=Footprinting(crs=crs))
    with closing(sqlite3.connect(output)) as connection:
        listed = {srs.srs_id: srs for srs in read_all_srs(connection)}
        ((number,),) = connection.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchall()
    found = crs_of(listed[number])
    assert found is not None
    # The next run takes the system that it finds.
    for again in (found, crs):
        assert place(source, output, footprints=Footprinting(crs=again)) == {"already": 5}
    assert len(rows(output, "SELECT * FROM gpkg_spatial_ref_sys")) == len(listed)
    assert findings(output) == []


def test_a_chain_of_footprints(source: Path, tmp_path: Path) -> None:
    """Results are a source like any other: names that are taken move aside."""
    first, second, third = (tmp_path / f"{n}.gpkg" for n in range(3))
    place(source, first)
    assert place(first, second) == {"done": 4, "kept": 1}
    query = "SELECT SRC_FILE, SRC_SRC_FILE, KIND, SRC_KIND FROM trees WHERE SRC_FID = 1"
    assert rows(second, query) == [("0.gpkg", "field.gpkg", "ground", "ground")]
    append(second, third)
    assert rows(third, "SELECT count(*), count(SRC_PLACE_FP) FROM trees") == [(5, 5)]
    append(first, second, to="features")
    place(first, second, to="more")
    for path in (first, second, third):
        assert findings(path) == []


A0_TO_B2 = (100.0, 50.0, 0.0, 80.0, 0.0, -50.0)
ORIENTATION = "1|25832||5|6|7|10|90|0|" + "|".join(map(str, A0_TO_B2)) + "|35|||||||"


def oriented_imagery(path: Path, orientation: str = ORIENTATION) -> Path:
    gpkg = Gpkg(path)
    columns = "GlobalID TEXT, CameraOrientation TEXT, HFOV REAL, " + ", ".join(
        f"{name} REAL" for name in ("A0", "A1", "A2", "B0", "B1", "B2")
    )
    gpkg.layer("shots", columns, [(1, point(1, 1), GUIDS[0], orientation, 60.0, *A0_TO_B2)])
    gpkg.attach("shots", "REL_GLOBALID TEXT", [attachment(1, GUIDS[0])])
    return gpkg.done()


def test_cameras_in_attributes_follow_a_larger_photo(tmp_path: Path) -> None:
    source, output = oriented_imagery(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    place(source, output, size_in=Size(8, 6), size_out=Size(16, 12))
    ((text, hfov, *affine),) = rows(
        output, "SELECT CameraOrientation, HFOV, A0, A1, A2, B0, B1, B2 FROM shots"
    )
    expected = [200.5, 100.0, 0.0, 160.5, 0.0, -100.0]  # s (A0 + 1/2) - 1/2, and s times the rest
    assert affine == pytest.approx(expected, abs=1e-12)
    parts = text.split("|")
    assert list(map(float, parts[9:15])) == pytest.approx(expected, abs=1e-12)
    assert (hfov, parts[:9], parts[15]) == (60.0, ORIENTATION.split("|")[:9], "35")
    # Of the same size, and of an ortho, which is no longer the photo, they stay.
    place(source, output, to="same", size_in=Size(8, 6), size_out=Size(8, 6))
    place(source, output, to="ortho", placement=Placement(geometry=None, rectified=True))
    for name in ("same", "ortho"):
        assert rows(output, f"SELECT CameraOrientation FROM {name}") == [(ORIENTATION,)]


def test_cameras_that_cannot_be_read_stay_and_are_told(tmp_path: Path) -> None:
    source, output = oriented_imagery(tmp_path / "in.gpkg", "9|what"), tmp_path / "out.gpkg"
    photos = open_photos(source, detect(source))
    sink = PhotoClassSink(
        source, photos, OutputClass(path=output), provenance(), Footprinting(crs=WGS84)
    )
    for item in photos:
        sink.commit(draft(item, JPEG))
    assert any("attributes were left as they are" in note for note in sink.finish())
    sink.close()
    photos.close()
    assert rows(output, "SELECT CameraOrientation, A0 FROM shots") == [("9|what", 100.0)]


def test_kept_features_tell_that_cameras_stay(tmp_path: Path) -> None:
    source = oriented_imagery(tmp_path / "in.gpkg")
    photos = open_photos(source, detect(source))
    sink = FeatureClassSink(source, photos, OutputClass(path=tmp_path / "o.gpkg"), provenance())
    for item in photos:
        sink.commit(draft(item, JPEG))
    assert any("CameraOrientation, A0" in note for note in sink.finish())
    sink.close()
    photos.close()


def test_text_that_is_not_utf8_and_odd_names_arrive(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer('l"o%s', '"we\'ird" TEXT, geom_ TEXT, SRC_ATT TEXT, PLACE_FP TEXT, GlobalID TEXT')
    gpkg.sql(
        "INSERT INTO \"l\"\"o%s\" VALUES (1, NULL, CAST(X'ff41' AS TEXT), 'b', 'c', 'd', '{A}')"
    )
    gpkg.attach('l"o%s', "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    place(source, output)
    query = 'SELECT hex("we\'ird"), geom_, SRC_SRC_ATT, SRC_PLACE_FP, PLACE_FP FROM "l""o%s"'
    assert rows(output, query) == [("FF41", "b", "c", "d", "p1")]


def test_a_photo_that_does_not_fit_fails_alone(source: Path, tmp_path: Path) -> None:
    photos = open_photos(source, detect(source))
    output = OutputClass(path=tmp_path / "out.gpkg")
    sink = PhotoClassSink(source, photos, output, provenance(), Footprinting(crs=WGS84))
    sink._out.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    item, other, *_ = photos
    with pytest.raises(ImageError, match=r"does not fit into out\.gpkg"):
        sink.commit(draft(item, JPEG + bytes(20_000), placement=placement(item)))
    with pytest.raises(ImageError, match="footprint cannot be stored"):
        sink.commit(draft(item, JPEG, placement=Placement(geometry=b"\1\2")))
    sink.commit(draft(other, JPEG, placement=placement(other)))
    sink.finish()
    sink.close()
    photos.close()
    assert rows(output.path, "SELECT SRC_ATT FROM trees") == [(other.key,)]
    assert rows(output.path, "SELECT count(*) FROM trees__ATTACH") == [(1,)]


def test_a_full_disk_ends_the_run_and_leaves_a_good_file(source: Path, tmp_path: Path) -> None:
    photos = open_photos(source, detect(source))
    output = OutputClass(path=tmp_path / "out.gpkg")
    sink = PhotoClassSink(source, photos, output, provenance(), Footprinting(crs=WGS84))
    (pages,) = sink._out.connection.execute("PRAGMA page_count").fetchone()
    sink._out.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    item = next(iter(photos))
    with pytest.raises(SinkError, match="full; free disk space"):
        sink.commit(draft(item, JPEG + bytes(50_000), placement=placement(item)))
    sink.close()
    photos.close()
    assert rows(output.path, "SELECT count(*) FROM trees") == [(0,)]
    footprints = Footprinting(crs=WGS84)
    assert place(source, output.path, footprints=footprints) == {"done": 4, "kept": 1}
    assert findings(output.path) == []


def test_the_source_layer_itself_is_refused(source: Path) -> None:
    with pytest.raises(ArgumentError, match="is the source itself"):
        place(source, source)


def test_extents_follow_footprints(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    place(source, output)
    extent = "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = 'trees'"
    shapes = [
        shapely.from_wkb(blob[40:])
        for (blob,) in rows(output, "SELECT geom FROM trees WHERE geom NOTNULL")
    ]
    assert rows(output, extent) == [MultiPolygon([s.geoms[0] for s in shapes]).bounds]
