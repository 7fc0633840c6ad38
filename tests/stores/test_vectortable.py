"""Vector files as GeoPackages: what fiona and geopandas read in them is what is in the copy."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import fiona
import geopandas
import pandas as pd
import pytest
import shapely

from attachtrans.errors import LayoutError, SourceError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.crs import crs_of
from attachtrans.stores.geopackage import quote, reading
from attachtrans.stores.layouts.base import LayoutName
from attachtrans.stores.photos import open_photos
from attachtrans.stores.registry import read_geometry
from attachtrans.stores.selection import Selection
from attachtrans.stores.srs import read_all_srs
from attachtrans.stores.vectortable import is_vector_table, open_vector_table

from .appending import rows
from .gpkg import JPEG, picture

VRT = b"""<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/etc/passwd</SrcDataSource>
</OGRVRTLayer></OGRVRTDataSource>"""
ENDINGS = (".shp", ".geojson", ".fgb", ".parquet")


def survey(path: Path, **columns: list[Any]) -> Path:
    """Three points in EPSG:25832 with photos beside the file; GeoJSON is in WGS 84."""
    for number in range(3):
        photo = path.parent / f"DCIM/{number}.jpg"
        photo.parent.mkdir(exist_ok=True)
        photo.write_bytes(picture(number))
    values = {"photo": [f"DCIM/{number}.jpg" for number in range(3)]} | columns
    points = [shapely.Point(500_000 + number, 5_400_000) for number in range(3)]
    frame = geopandas.GeoDataFrame(values, geometry=points, crs=25832)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_crs(4326 if path.suffix == ".geojson" else 25832).to_file(path, engine="fiona")
    return path


def geojson(path: Path, *features: dict[str, Any]) -> Path:
    """Features by their properties; "geometry" and "id" go where they belong."""
    made = [
        {
            "type": "Feature",
            "geometry": properties.pop("geometry", None),
            **({"id": properties.pop("id")} if "id" in properties else {}),
            "properties": properties,
        }
        for properties in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": made}))
    return path


def table_of(path: Path) -> list[dict[str, Any]]:
    """The rows of the copy's layer."""
    copy = open_vector_table(path)
    ((layer,),) = rows(copy.database, "SELECT table_name FROM gpkg_contents")
    names = [
        name for (name,) in rows(copy.database, "SELECT name FROM pragma_table_info(?)", (layer,))
    ]
    found = rows(copy.database, f"SELECT * FROM {quote(layer)}")
    return [dict(zip(names, row, strict=True)) for row in found]


@pytest.mark.parametrize("ending", ENDINGS)
def test_photos_are_those_of_the_paths(tmp_path: Path, ending: str) -> None:
    path = survey(tmp_path / f"points{ending}", n=[3, 1, 2])
    source = open_vector_table(path)
    (table,) = detect(source)
    assert table.layout is LayoutName.PATH
    assert table.base == tmp_path.resolve()
    photos = open_photos(source, [table], Selection(where="n < 3"))
    assert photos.path == path
    expected = {"DCIM/1.jpg": 1, "DCIM/2.jpg": 2}
    if ending == ".fgb":  # its index puts features in an order of its own
        with fiona.open(path) as file:
            expected = {f.properties["photo"]: int(f.id) for f in file if f.properties["n"] < 3}
    found = {item.key: item.features for item in photos}
    assert found == {key: (("points", number),) for key, number in expected.items()}
    assert photos.read(next(iter(photos))) in (picture(1), picture(2))
    photos.close()


@pytest.mark.parametrize("ending", ENDINGS)
def test_places_and_their_system_are_kept(tmp_path: Path, ending: str) -> None:
    path = survey(tmp_path / f"points{ending}")
    copy = open_vector_table(path)
    expected = geopandas.read_parquet(path) if ending == ".parquet" else geopandas.read_file(path)
    with reading(copy.database) as connection:
        shape = read_geometry(connection, "points")
        systems = {srs.srs_id: srs for srs in read_all_srs(connection)}
    assert shape is not None
    assert (shape.type_name, shape.z, shape.m) == ("POINT", 0, 0)
    assert crs_of(systems[shape.srs_id]) == expected.crs
    blobs = [row["geom"] for row in table_of(path)]
    found = [shapely.from_wkb(blob[8 + 32 :]) for blob in blobs]
    assert found == list(expected.geometry)


@pytest.mark.parametrize("ending", [".shp", ".geojson", ".fgb"])
def test_values_are_those_that_fiona_reads(tmp_path: Path, ending: str) -> None:
    path = survey(
        tmp_path / f"points{ending}",
        whole=pd.array([1, None, -3], dtype="Int64"),
        broken=[0.5, None, 1e300],
        text=["ä'\"", None, "x"],
        day=[date(2024, 2, 29), None, date(1999, 12, 31)],
    )
    with fiona.open(path) as file:
        expected = [(int(f.id), *f.properties.values()) for f in file]
    found = [tuple(v for n, v in row.items() if n != "geom") for row in table_of(path)]
    assert found == expected


def test_values_of_a_parquet_keep_their_types(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, 125000, tzinfo=UTC)
    path = survey(
        tmp_path / "points.parquet",
        whole=pd.array([2**62 + 1, None, -3], dtype="Int64"),
        yes=[True, None, False],
        day=[date(2024, 2, 29), None, date(1999, 12, 31)],
        when=[moment, None, moment],
        several=[["a", "b"], None, []],
        raw=[b"\0\1", None, b""],
    )
    row, empty, _ = table_of(path)
    assert row["whole"] == 2**62 + 1
    assert row["yes"] == 1
    assert row["day"] == "2024-02-29"
    assert row["when"] == "2024-05-06T07:08:09.125Z"
    assert json.loads(row["several"]) == ["a", "b"]
    assert row["raw"] == b"\0\1"
    assert {v for n, v in empty.items() if n not in ("fid", "geom", "photo")} == {None}
    copy = open_vector_table(path)
    declared = dict(rows(copy.database, "SELECT name, type FROM pragma_table_info('points')"))
    assert [declared[n] for n in ("whole", "yes", "day", "when", "several", "raw")] == [
        *("INTEGER", "BOOLEAN", "DATE", "DATETIME", "TEXT", "BLOB")
    ]


def test_features_of_a_geojson_are_known_by_their_ids(tmp_path: Path) -> None:
    path = geojson(
        tmp_path / "a.geojson",
        {
            "id": 70,
            "fid": 1,
            "Photo": "a.jpg",
            "photo": "b.jpg",
            "when": "2024-01-02T03:04:05+02:00",
        },
        {"id": 7, "fid": 2, "geom": "x"},
    )
    first, second = sorted(table_of(path), key=lambda row: -row["fid_2"])
    assert (first["fid_2"], first["fid"], first["when"]) == (70, 1, "2024-01-02T01:04:05.000Z")
    assert (first["Photo"], first["photo_2"]) == ("a.jpg", "b.jpg")
    assert (second["fid_2"], second["fid"], second["geom"]) == (7, 2, "x")


def test_areas_of_one_and_of_several_parts_have_one_type(tmp_path: Path) -> None:
    square = shapely.box(0, 0, 1, 1)
    frame = geopandas.GeoDataFrame(
        {"n": [1, 2]}, geometry=[square, shapely.MultiPolygon([square])], crs=4326
    )
    frame.to_file(tmp_path / "areas.shp", engine="fiona")
    copy = open_vector_table(tmp_path / "areas.shp")
    with reading(copy.database) as connection:
        shape = read_geometry(connection, "areas")
        blobs = [blob for (blob,) in connection.execute("SELECT geom FROM areas")]
    assert shape is not None
    assert shape.type_name == "MULTIPOLYGON"
    kinds = {shapely.from_wkb(blob[8 + 32 :]).geom_type for blob in blobs}
    assert kinds == {"MultiPolygon"}


def test_a_file_named_like_what_runs_a_geopackage_is_read(tmp_path: Path) -> None:
    path = geojson(tmp_path / "gpkg_contents.geojson", {"a": 1})
    assert [row["a"] for row in table_of(path)] == [1]


def test_the_copy_lives_as_long_as_what_reads_it(tmp_path: Path) -> None:
    path = survey(tmp_path / "points.geojson")
    source = open_vector_table(path)
    photos = open_photos(source, detect(source))
    database = photos.database
    del source
    gc.collect()
    assert len(list(photos)) == 3
    photos.close()
    del photos
    gc.collect()
    assert not database.parent.exists()


def test_nothing_is_left_when_the_program_ends(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", {"a": 1})
    script = (
        "import sys, pathlib\n"
        "from attachtrans.stores.vectortable import open_vector_table\n"
        "copy = open_vector_table(pathlib.Path(sys.argv[1]))\n"
        "print(copy.database)\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert not Path(done.stdout.strip()).parent.exists()


def test_photos_in_a_column_can_be_read_but_not_replaced(tmp_path: Path) -> None:
    path = survey(tmp_path / "points.parquet", picture=[JPEG, None, JPEG])
    findings = inspect(open_vector_table(path), layout="blob")
    (table,) = findings.tables
    assert table.data == "picture"
    assert "points.parquet itself" in str(table.read_only)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.geojson", None, "no such file"),
        ("bad.geojson", b"{", "cannot be read as GeoJSON"),
        ("bad.shp", b"nothing", "cannot be read as ESRI Shapefile"),
        ("bad.fgb", b"nothing", "cannot be read as FlatGeobuf"),
        ("bad.parquet", b"nothing", "cannot be read as GeoParquet"),
        (
            "other.geojson",
            VRT,
            "cannot be read as GeoJSON",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_vector_table(path)


def test_a_table_without_geometries_is_no_geoparquet(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="names no column of geometries"):
        open_vector_table(tmp_path / "a.parquet")


def test_a_file_without_photos_says_what_was_looked_for(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", {"a": "b"})
    with pytest.raises(LayoutError, match=r"a\.geojson: no photos found"):
        detect(open_vector_table(path))


def test_endings_say_what_is_a_vector_file(tmp_path: Path) -> None:
    (tmp_path / "folder.shp").mkdir()
    names = ("a.SHP", "a.geojson", "a.json", "a.fgb", "a.parquet", "a.geoparquet")
    assert all(is_vector_table(tmp_path / name) for name in names)
    assert not any(is_vector_table(tmp_path / n) for n in ("a.gpkg", "a.tif", "a", "folder.shp"))
