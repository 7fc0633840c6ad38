from __future__ import annotations

import json
from pathlib import Path

import pytest

from attachtrans.stores.catalog import inspect
from attachtrans.stores.inventory import Inventory, inventory
from tests.stores.gpkg import JPEG, PDF, Gpkg, attachment, picture


def look(path: Path, *, deep: bool = True) -> Inventory:
    return inventory(path, inspect(path), deep=deep)


def test_attachments(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(n, None, f"g{n}") for n in (1, 2, 3)])
    contents = [JPEG, PDF, None, b"", picture(1, "PNG", (30, 20)), picture(2, "JPEG", (4, 90))]
    rows = [attachment(n, "g1", data) for n, data in enumerate(contents, 1)]
    file.attach("trees", "REL_GLOBALID TEXT", [*rows, attachment(9, "gone")])
    found = look(file.done())
    assert [(f.table, f.kind, f.geometry, f.crs, f.rows) for f in found.layers] == [
        ("trees", "features", "POINT", "EPSG:4326", 3),
        ("trees__ATTACH", "attributes", None, None, 7),
    ]
    (place,) = found.places
    assert (place.attachments, place.images, place.not_images, place.empty) == (6, 4, 2, 2)
    assert place.formats == {
        "image/jpeg": 3,
        "application/pdf": 1,
        "application/octet-stream": 1,
        "image/png": 1,
    }
    assert (place.smallest, place.largest) == ((8, 6), (30, 20))
    assert (place.orphan_count, place.orphans) == (1, ["trees__ATTACH.DATA/9"])
    assert (place.features, place.features_without) == (3, 2)
    assert place.nbytes == sum(map(len, filter(None, contents))) + len(JPEG)


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(JPEG)
    file = Gpkg(tmp_path / "x.gpkg")
    values = ("1.jpg", "1.jpg", "gone.jpg", "", None)
    file.layer("trees", "photo TEXT", [(n, None, v) for n, v in enumerate(values)])
    found = look(file.done())
    (place,) = found.places
    assert (found.attachments, place.attachments, place.images) == (2, 2, 1)
    assert (place.shared, place.empty, place.missing_count) == (1, 2, 1)
    assert "gone.jpg" in place.missing["gone.jpg"]
    assert place.features_without == 2
    assert place.base == tmp_path


@pytest.mark.parametrize("deep", [False, True])
def test_shipped_fixtures_as_json(fixtures_dir: Path, deep: bool) -> None:
    found = look(fixtures_dir / "esri_globalid.gpkg", deep=deep)
    shown = json.loads(json.dumps(found.to_json()))
    (place,) = shown["places"]
    assert place["layout"] == "attach"
    assert place["formats"]["image/tiff"] == 1
    assert place["formats"]["application/pdf"] == 1
    assert (place["with_gps"] > 0) == deep
    assert (place["with_heading"] > 0) == deep
    assert (place["turned"] > 0) == deep
    assert (place["largest"] == [640, 480]) == deep


def test_what_is_left_out_is_told(fixtures_dir: Path) -> None:
    shown = look(fixtures_dir / "related_media.gpkg").to_json()
    assert [refusal["table"] for refusal in shown["excluded"]] == ["nga_icon"]
    assert shown["places"][0]["shared"] == 2


def test_real_files(shared: Path) -> None:
    found = look(shared / "data" / "geopackage" / "nga_rte.gpkg")
    (place,) = found.places
    assert (place.images, place.shared, place.features_without) == (3, 2, 0)
    assert look(shared / "data" / "geopackage" / "ets_view.gpkg").places == ()
