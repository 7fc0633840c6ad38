"""What is in a geodatabase, by other readers: fiona's GDAL for .gdb, sqlite3 for .geodatabase."""

from __future__ import annotations

import ctypes
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fiona

from attachtrans.journal import JobDescription, Journal, digest_of
from attachtrans.stores.catalog import detect
from attachtrans.stores.geodatabase.source import as_source
from attachtrans.stores.overwrite import OverwriteSink, Safety
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.types import Draft, Item, Size

JOB = JobDescription(source="s", fingerprint="f", model="m", arguments="{}", version="0")
FOLLOWING = ("DATA", "DATA_SIZE")
Rows = dict[str, dict[str, dict[str, Any]]]


def unzipped(archive: Path) -> Path:
    """The geodatabase of a .gdb.zip, beside it."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(archive.parent)
    archive.unlink()
    return archive.with_name(archive.name.removesuffix(".zip"))


def rows(path: Path) -> Rows:
    """Every row of every table, by object id; geometries as GeoJSON has them."""
    found: Rows = {}
    for layer in fiona.listlayers(path):
        with fiona.open(path, layer=layer) as table:
            found[layer] = {
                feature.id: dict(feature.properties)
                | {"geometry": feature.geometry and feature.geometry.__geo_interface__}
                for feature in table
            }
    return found


def photos_in(path: Path) -> dict[str, bytes]:
    """Every photo by table and row, whoever put it there; as `judge` takes them."""
    if path.suffix == ".geodatabase":
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("SELECT ATTACHMENTID, DATA FROM assets__ATTACH").fetchall()
        return {f"assets__ATTACH/{key}": data for key, data in found if data is not None}
    return {
        f"{table}/{key}": values["DATA"]
        for table, features in rows(path).items()
        for key, values in features.items()
        if values.get("DATA") is not None
    }


def everything_else(path: Path) -> Any:
    """All but the photos and their sizes."""
    if path.suffix == ".geodatabase":
        return _other_tables(path)
    return {
        table: {
            key: {name: value for name, value in values.items() if name not in FOLLOWING}
            for key, values in features.items()
        }
        for table, features in rows(path).items()
    } | {"relationships": relationships(path)}


def _other_tables(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        master = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        found: dict[str, list[Any]] = {"sqlite_master": master}
        for kind, name, sql in master:
            if kind == "table" and "VIRTUAL" not in sql:
                cursor = connection.execute(f'SELECT * FROM "{name}"')
                names = [column[0] for column in cursor.description]
                found[name] = [
                    [v for n, v in zip(names, row, strict=True) if n not in FOLLOWING]
                    for row in cursor
                ]
    return found


def relationships(path: Path) -> list[dict[str, Any]]:
    """What the GDAL of fiona's wheel, which is not the one that writes, says of relationships."""
    gdal = _fionas_gdal()
    data = ctypes.c_void_p(gdal.GDALOpenEx(str(path).encode(), 4, None, None, None))
    names = gdal.GDALDatasetGetRelationshipNames(data, None)
    found = []
    for index in range(100):
        if not names or not names[index]:
            break
        one = ctypes.c_void_p(gdal.GDALDatasetGetRelationship(data, names[index]))
        found.append(
            {
                "name": names[index].decode(),
                "tables": [
                    gdal.GDALRelationshipGetLeftTableName(one).decode(),
                    gdal.GDALRelationshipGetRightTableName(one).decode(),
                ],
                "fields": [
                    gdal.GDALRelationshipGetLeftTableFields(one)[0].decode(),
                    gdal.GDALRelationshipGetRightTableFields(one)[0].decode(),
                ],
                "kind": gdal.GDALRelationshipGetRelatedTableType(one).decode(),
                "composite": gdal.GDALRelationshipGetType(one) == 0,
                "one to many": gdal.GDALRelationshipGetCardinality(one) == 1,
            }
        )
    gdal.GDALClose(data)
    return sorted(found, key=lambda one: one["name"])


@cache
def _fionas_gdal() -> ctypes.CDLL:
    spec = find_spec("fiona.ogrext")
    assert spec is not None
    gdal = ctypes.CDLL(str(spec.origin))
    texts = ctypes.POINTER(ctypes.c_char_p)
    gdal.GDALOpenEx.restype = ctypes.c_void_p
    gdal.GDALDatasetGetRelationshipNames.restype = texts
    gdal.GDALDatasetGetRelationship.restype = ctypes.c_void_p
    for name in ("LeftTableName", "RightTableName", "RelatedTableType"):
        getattr(gdal, f"GDALRelationshipGet{name}").restype = ctypes.c_char_p
    for name in ("LeftTableFields", "RightTableFields"):
        getattr(gdal, f"GDALRelationshipGet{name}").restype = texts
    return gdal


def source(path: Path, **wish: Any) -> Photos:
    opened = as_source(path)
    return open_photos(opened, detect(opened, **wish))


@contextmanager
def sink_on(
    path: Path, *, backup: bool = True, secure: bool = False
) -> Iterator[tuple[OverwriteSink, Photos, Journal]]:
    """An open sink and what it works on."""
    photos = source(path)
    journal = Journal(path.with_name(f"{path.name}.attachtrans"))
    journal.begin(JOB, again=False)
    try:
        sink = OverwriteSink(
            photos, journal, Safety(folder=path.parent, backup=backup, secure=secure)
        )
        try:
            yield sink, photos, journal
        finally:
            sink.close()
    finally:
        photos.close()
        journal.close()


def draft_of(photos: Photos, item: Item, data: bytes, *, reformatted: bool = False) -> Draft:
    """A result with any content."""
    return Draft(
        item=item,
        data=data,
        media_type="image/png",
        extension=".png",
        reformatted=reformatted,
        size_in=Size(1, 1),
        size_out=Size(2, 2),
        digest_in=digest_of(photos.read(item)),
        digest_out=digest_of(data),
    )


def copied(path: Path, name: str) -> Path:
    """A copy of a geodatabase beside it, under another name."""
    target = path.with_name(name)
    shutil.copytree(path, target)
    return target
