"""The shipped fixtures are valid, small, and hold what fixtures/README.md says."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shapely
from osgeo_utils.samples import validate_gpkg
from PIL import Image, ImageOps

from attachtrans.stores.catalog import inspect
from attachtrans.stores.photos import open_photos
from attachtrans.tool.place.options import Placing
from attachtrans.tool.poses import PoseSummary, pose_facts

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "fixtures"
PACKAGES = sorted(FIXTURES.rglob("*.gpkg"))
READ_WITH_GDAL = """
import json, sys, fiona
found = {}
for layer in fiona.listlayers(sys.argv[1]):
    with fiona.open(sys.argv[1], layer=layer) as source:
        found[layer] = len(source), sum(1 for _ in source)
print(json.dumps(found))
"""
APPEND_WITH_GDAL = """
import sys, fiona
with fiona.open(sys.argv[1], "a", layer=sys.argv[2]) as target:
    first = {name: None for name in target.schema["properties"]}
    geometry = {"type": "Point", "coordinates": (1.5, 2.5, 3.5)}
    target.write({"type": "Feature", "geometry": geometry, "properties": first})
"""


def connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True))


def attachments(path: Path, table: str) -> Iterator[tuple[int, str, bytes | None]]:
    with connect(path) as connection:
        yield from connection.execute(f'SELECT ATTACHMENTID, ATT_NAME, DATA FROM "{table}"')


def run_python(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_everything_stays_small() -> None:
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) <= 10e6


def test_every_package_is_named_in_the_readme() -> None:
    readme = (FIXTURES / "README.md").read_text(encoding="utf-8")
    for path in PACKAGES:
        first = path.relative_to(FIXTURES).parts[0]
        assert f"`{first}`" in readme or f"`{first}/`" in readme


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.name)
def test_the_validator_finds_nothing(path: Path) -> None:
    validate_gpkg.check(str(path))
    with connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.slow
@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.name)
def test_gdal_reads_every_table(path: Path) -> None:
    found = json.loads(run_python(READ_WITH_GDAL, str(path)))
    with connect(path) as connection:
        counts = dict(connection.execute("SELECT table_name, feature_count FROM gpkg_ogr_contents"))
    assert {layer: tuple(found[layer]) for layer in counts} == {
        layer: (count, count) for layer, count in counts.items()
    }


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.name)
def test_the_r_tree_agrees_with_the_geometries(path: Path) -> None:
    with connect(path) as connection:
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM gpkg_geometry_columns"
        ).fetchall():
            quoted = table.replace('"', '""')
            rows = connection.execute(f'SELECT rowid, "{column}" FROM "{quoted}"').fetchall()
            shapes = {key: shapely.from_wkb(wkb_of(blob)) for key, blob in rows if blob}
            index = connection.execute(f'SELECT * FROM "rtree_{quoted}_{column}"').fetchall()
            assert {row[0] for row in index} == set(shapes)
            for key, left, right, bottom, top in index:
                bounds = shapes[key].bounds
                assert np.allclose((left, bottom, right, top), bounds, rtol=1e-6)


def wkb_of(blob: bytes) -> bytes:
    """The WKB behind a GeoPackage header without envelope, or with one of four numbers."""
    return blob[8:] if blob[3] == 1 else blob[40:]


@pytest.mark.parametrize(
    ("name", "layer", "index"),
    [
        ("related_media.gpkg", "trees", "rtree_trees_geom"),
        ("esri_objectid.gpkg", "hydrants", "rtree_hydrants_SHAPE"),
    ],
)
def test_the_triggers_work_for_gdal(
    name: str, layer: str, index: str, fixture_copy: Callable[[str], Path]
) -> None:
    path = fixture_copy(name)

    def indexed() -> int:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(f"SELECT count(*) FROM {index}").fetchone()[0]

    before = indexed()
    run_python(APPEND_WITH_GDAL, str(path), layer)
    assert indexed() == before + 1


def test_the_formats_are_there() -> None:
    path = FIXTURES / "esri_globalid.gpkg"
    seen = set()
    orientations = set()
    for _, name, data in attachments(path, "assets__ATTACH"):
        assert data
        if name.endswith((".pdf", ".mp4")):
            seen.add(name[-3:])
            continue
        image = Image.open(io.BytesIO(data))
        image.load()
        seen.add((image.format, image.mode))
        if name == "Photo1.jpg":
            orientations.add(image.getexif()[0x0112])
            assert ImageOps.exif_transpose(image).size == (480, 360)
    assert orientations == set(range(1, 9))
    assert {("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA")} <= seen
    assert {("TIFF", "RGB"), ("WEBP", "RGB"), "pdf", "mp4"} <= seen


def test_a_turned_photo_is_upright_after_its_orientation() -> None:
    for _, name, data in attachments(FIXTURES / "esri_globalid.gpkg", "assets__ATTACH"):
        if name == "Photo1.jpg":
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data or b"")))
            pixels = np.asarray(upright, np.float32)
            redness = pixels[..., 0] - pixels[..., 2]
            assert redness[40:250, :40].mean() > 30, "a brick wall above"
            assert redness[330:].mean() < 15, "gravel below"


def test_damaged_content_is_there() -> None:
    found = {n: d for _, n, d in attachments(FIXTURES / "esri_objectid.gpkg", "hydrants__ATTACH")}
    assert found["never synced.jpg"] is None
    assert found["empty.jpg"] == b""
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(found["broken.jpg"] or b"")).load()


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.name)
def test_photos_stand_near_their_features(path: Path) -> None:
    summary = PoseSummary()
    photos = open_photos(path, inspect(path).tables)
    assert list(pose_facts(photos, Placing(), summary))
    photos.close()
    assert summary.warnings == []


@pytest.mark.long
def test_the_script_builds_what_is_shipped(tmp_path: Path) -> None:
    script = REPOSITORY / "scripts" / "make_fixtures.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    built = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    shipped = {path.relative_to(FIXTURES) for path in FIXTURES.rglob("*") if path.is_file()}
    assert shipped - built == {Path("README.md")}
    assert not built - shipped
    for path in PACKAGES:
        assert table_rows(path) == table_rows(tmp_path / path.relative_to(FIXTURES))


def table_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of every table; encoded photos and their sizes vary with the versions of encoders."""
    with connect(path) as connection:
        names = connection.execute("SELECT table_name FROM gpkg_contents").fetchall()
        found = {}
        for (name,) in names:
            quoted = name.replace('"', '""')
            cursor = connection.execute(f'SELECT * FROM "{quoted}"')
            sizes = [column[0] == "DATA_SIZE" for column in cursor.description]
            found[name] = [
                tuple(
                    None if size or isinstance(value, bytes) or len(str(value)) > 5000 else value
                    for value, size in zip(row, sizes, strict=True)
                )
                for row in cursor
            ]
        return found
