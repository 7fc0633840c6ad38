"""Coordinate systems to GeoPackage rows and back, against pyproj's own database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pyproj import CRS
from pyproj.database import query_crs_info

from attachtrans.stores.crs import crs_of, srs_of
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.srs import Srs, ensure_srs, read_all_srs

KINDS = ("EPSG", "ESRI")


def row(**changes: object) -> Srs:
    values = {
        "name": "x",
        "srs_id": 7,
        "organization": "NONE",
        "code": 7,
        "definition": "undefined",
        "description": None,
        "wkt2": "undefined",
        "epoch": None,
    }
    return Srs(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("authority", KINDS)
def test_numbered_systems_keep_their_numbers(authority: str) -> None:
    listed = query_crs_info(authority)
    for info in listed[:: max(1, len(listed) // 50)]:
        if not info.code.isdecimal():
            continue
        crs = CRS.from_authority(authority, info.code)
        made = srs_of(crs)
        assert crs_of(made) == crs
        if made.organization == authority:  # pyproj may know an equal one of another authority
            assert (made.srs_id, made.code) == (int(info.code), int(info.code))


@pytest.mark.parametrize(
    "text",
    [
        "+proj=tmerc +lat_0=50 +lon_0=9 +k=1 +ellps=GRS80 +units=us-ft +no_defs",
        "+proj=aeqd +lat_0=51 +lon_0=10 +datum=WGS84",
        "EPSG:25832+5783",
        "EPSG:9518",
        "EPSG:4978",
        "OGC:CRS84",
        "IAU_2015:30100",
    ],
)
@pytest.mark.parametrize("listed", [False, True], ids=["alone", "beside another custom one"])
def test_other_systems_come_back_from_a_file(text: str, listed: bool, tmp_path: Path) -> None:
    crs = CRS.from_user_input(text)
    out = OutFile(tmp_path / "out.gpkg")
    with out.transaction() as connection:
        if listed:
            ensure_srs(connection, srs_of(CRS.from_proj4("+proj=aeqd +lat_0=1 +lon_0=2")))
        number = ensure_srs(connection, srs_of(crs))
        assert ensure_srs(connection, srs_of(crs)) == number
    out.close()
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as connection:
        found = {srs.srs_id: srs for srs in read_all_srs(connection)}
    there = crs_of(found[number])
    assert there is not None
    assert there.equals(crs, ignore_axis_order=True)
    assert len(found) == len({srs.srs_id for srs in found.values()})


@pytest.mark.parametrize(
    "srs",
    [
        None,
        row(srs_id=-1, definition="undefined"),
        row(srs_id=0),
        row(),
        row(definition="no WKT at all"),
        row(organization="EPSG", code=1, definition=""),
    ],
)
def test_what_nobody_knows_is_none(srs: Srs | None) -> None:
    assert crs_of(srs) is None


def test_a_code_of_its_makers_is_read_from_its_definition() -> None:
    wkt = CRS.from_epsg(3857).to_wkt("WKT1_GDAL")
    assert crs_of(row(organization="ACME", code=9, definition=wkt)) == CRS.from_wkt(wkt)
    wkt2 = CRS.from_epsg(25832).to_wkt()
    assert crs_of(row(definition=wkt, wkt2=wkt2)) == CRS.from_epsg(25832)
