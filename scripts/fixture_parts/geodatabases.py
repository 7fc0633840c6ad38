"""Esri geodatabases with attachments: a zipped file geodatabase and a mobile one.

The file geodatabase is written by GDAL, through the binding that attachtrans writes with itself;
GDAL gives it new ids and times whenever it is built. The mobile one is plain SQL, with the tables
and checks that ArcGIS Runtime makes, as far as readers of attachments look at them.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
import zipfile
from pathlib import Path

from pyproj import CRS

from attachtrans.stores.geodatabase.gdal import created, opened
from attachtrans.stores.geodatabase.specs import AttachmentRelation, FieldSpec, FieldType, LayerSpec
from fixture_parts.photos import jpeg, pdf, png
from fixture_parts.survey import UTM, guid, place, taken

_SMALL = {"size": (160, 120)}
_POINT_Z, _LINES, _NO_GEOMETRY = 1001, 5, 100
_ESRI_APPLICATION_ID = 1165193833
_UNITS, _FALSE_X, _FALSE_Y = 10_000.0, -5_120_900.0, -9_998_100.0  # as Esri's for UTM


def _text(name: str, width: int = 0, *, needed: bool = False, esri: str = "") -> FieldSpec:
    return FieldSpec(name=name, type=FieldType.STRING, width=width, nullable=not needed, esri=esri)


def _attachment_fields(link: FieldSpec, *more: FieldSpec) -> tuple[FieldSpec, ...]:
    return (
        link,
        _text("CONTENT_TYPE", 150, needed=True),
        _text("ATT_NAME", 250, needed=True),
        FieldSpec(name="DATA_SIZE", type=FieldType.INTEGER, nullable=False),
        FieldSpec(name="DATA", type=FieldType.BINARY),
        *more,
    )


def _content(name: str, kind: str, data: bytes | None) -> dict[str, str | int | bytes | None]:
    return {
        "CONTENT_TYPE": kind,
        "ATT_NAME": name,
        "DATA_SIZE": len(data or b""),
        "DATA": data,
    }


def assets() -> list[tuple[int, str, str, bytes | None]]:
    """(asset, name, type, content) of the attachments by GlobalID."""
    return [
        (1, "Photo1.jpg", "image/jpeg", jpeg(taken("sign", 1, orientation=6, **_SMALL))),
        (1, "Photo2.jpg", "image/jpeg", jpeg(taken("pole", 2, feature=1, **_SMALL))),
        (2, "Photo1.jpg", "image/jpeg", jpeg(taken("hydrant", 3, feature=2, **_SMALL))),
        (2, "report.pdf", "application/pdf", pdf("Asset 0002")),
        (3, "never synced.jpg", "image/jpeg", None),
        (3, "scan.png", "image/png", png(taken("crack", 4, feature=3, size=(80, 60)))),
    ]


def geodatabase(folder: Path) -> None:
    """`assets` with attachments of the newest level, `sections` of the oldest, `remarks` without.

    The attachments of `sections` are in a table that only its relationship class tells of.
    """
    name = "inspections.gdb"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / name
        _make(path)
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path.iterdir()):
                info = zipfile.ZipInfo(f"{name}/{file.name}", (2026, 5, 4, 9, 30, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.read_bytes())
        shutil.rmtree(path)


def _make(path: Path) -> None:
    wkt = CRS.from_epsg(UTM).to_wkt("WKT1_ESRI")
    with created(path) as file:
        file.make_layer(
            LayerSpec(
                name="assets",
                geometry_type=_POINT_Z,
                wkt=wkt,
                key="OBJECTID",
                geometry="SHAPE",
                fields=(
                    _text("GlobalID", needed=True, esri="GlobalID"),
                    _text("name", 80),
                    FieldSpec(name="condition", type=FieldType.INTEGER, subtype=2),
                    FieldSpec(name="seen", type=FieldType.DATETIME),
                ),
            )
        )
        alt = [_text(f"ATT_{part}", 250) for part in ("TITLE", "ALT_TEXT", "CAPTION", "CREDIT")]
        file.make_layer(
            LayerSpec(
                name="assets__ATTACH",
                geometry_type=_NO_GEOMETRY,
                wkt=None,
                key="ATTACHMENTID",
                geometry="SHAPE",
                fields=_attachment_fields(
                    _text("REL_GLOBALID", needed=True, esri="GUID"),
                    _text("GLOBALID", needed=True, esri="GlobalID"),
                    _text("KEYWORDS", 250),
                    FieldSpec(name="EXIFINFO", type=FieldType.BINARY),
                    *alt,
                ),
            )
        )
        file.make_layer(
            LayerSpec(
                name="sections",
                geometry_type=_LINES,
                wkt=wkt,
                key="OBJECTID",
                geometry="SHAPE",
                fields=(_text("name", 80),),
            )
        )
        file.make_layer(
            LayerSpec(
                name="section_photos",
                geometry_type=_NO_GEOMETRY,
                wkt=None,
                key="ATTACHMENTID",
                geometry="SHAPE",
                fields=_attachment_fields(
                    FieldSpec(name="REL_OBJECTID", type=FieldType.INTEGER, nullable=False)
                ),
            )
        )
        file.make_layer(
            LayerSpec(
                name="remarks",
                geometry_type=_NO_GEOMETRY,
                wkt=None,
                key="OBJECTID",
                geometry="SHAPE",
                fields=(_text("text"),),
            )
        )
    for layer, table, keys in (
        ("assets", "assets__ATTACH", ("GlobalID", "REL_GLOBALID")),
        ("sections", "section_photos", ("OBJECTID", "REL_OBJECTID")),
    ):
        with opened(path) as file:
            file.relate(
                AttachmentRelation(
                    name=f"{layer}__ATTACHREL",
                    layer=layer,
                    layer_column=keys[0],
                    table=table,
                    column=keys[1],
                )
            )
    with opened(path) as file:
        for number in range(1, 5):
            values = {
                "GlobalID": guid(f"assets/{number}"),
                "name": f"Asset {number:04d}",
                "condition": number % 4,
                "seen": f"2026-05-04T09:{number:02d}:00Z",
            }
            shape = struct.pack("<BI3d", 1, 1001, *place(number))
            file.insert("assets", values, None if number == 4 else shape)
        for key, (asset, name, kind, data) in enumerate(assets(), start=1):
            file.insert(
                "assets__ATTACH",
                _content(name, kind, data)
                | {
                    "REL_GLOBALID": guid(f"assets/{asset}"),
                    "GLOBALID": guid(f"assets__ATTACH/{key}"),
                    "KEYWORDS": "photo_question",
                    "EXIFINFO": b"\1\2\3" if key == 1 else None,
                    "ATT_ALT_TEXT": f"{name} of asset {asset}",
                },
            )
        for number in (5, 6):
            points = [*place(number)[:2], *place(number + 1)[:2]]
            line = struct.pack("<BIIBII4d", 1, 5, 1, 1, 2, 2, *points)
            file.insert("sections", {"name": f"Section {number}"}, line)
        shot = taken("manhole", 5, **_SMALL)
        content = _content("Photo1.jpg", "image/jpeg", jpeg(shot))
        file.insert("section_photos", content | {"REL_OBJECTID": 2})
        file.insert("remarks", {"text": "nothing to see"})


_SYSTEM = f"""
PRAGMA application_id = {_ESRI_APPLICATION_ID};
CREATE TABLE st_aux_spatial_reference_systems (srid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
 auth_name TEXT(256), auth_srid INT32, srtext TEXT(2048), falsex FLOAT64 NOT NULL,
 falsey FLOAT64 NOT NULL, xyunits FLOAT64 NOT NULL);
CREATE TABLE st_geometry_columns (gcid INTEGER PRIMARY KEY AUTOINCREMENT,
 f_table_name CLOB NOT NULL, f_geometry_column CLOB NOT NULL, geometry_type INT32,
 coord_dimension INT32, srid INTEGER NOT NULL, spatial_index_type CLOB);
CREATE TABLE GDB_TableRegistry (registration_id INTEGER PRIMARY KEY AUTOINCREMENT,
 table_name TEXT(128) NOT NULL UNIQUE, rowid_column TEXT(32), description TEXT(65),
 object_flags INT32 NOT NULL, registration_date INT64 NOT NULL, minimum_id INT64);
CREATE TABLE GDB_Items (ObjectID integer primary key not null,
 UUID uuidtext check(typeof(UUID) = 'text' and length(UUID) = 38) not null unique,
 Type uuidtext check(typeof(Type) = 'text' and length(Type) = 38) not null,
 Name text(226), PhysicalName text(226), Path text(512),
 Definition xmltext check(typeof(Definition) = 'text' or typeof(Definition) = 'null'));
CREATE TABLE assets (OBJECTID integer primary key not null,
 GlobalID uuidtext check(typeof(GlobalID) = 'text' and length(GlobalID) = 38) not null,
 name text(80) check((typeof(name) = 'text' or typeof(name) = 'null') and not length(name) > 80),
 seen realdate check((typeof(seen) = 'real' and seen >= 0.0) or typeof(seen) = 'null'),
 Shape geometryblob check((typeof(Shape) = 'blob' and length(Shape) >= 18
  and cast(hex(substr(Shape,1,1)) as integer) = 64) or typeof(Shape) = 'null'));
CREATE VIRTUAL TABLE st_spindex__assets_Shape USING RTREE (pkid,minx,maxx,miny,maxy);
CREATE TRIGGER st_update_trigger_assets_Shape AFTER UPDATE OF Shape ON assets
 WHEN OLD._ROWID_ = NEW._ROWID_
 BEGIN SELECT UpdateIndexEntry ('st_spindex__assets_Shape',NEW.Shape,NEW._ROWID_,2); END;
CREATE TABLE assets__ATTACH (ATTACHMENTID integer primary key not null,
 GLOBALID uuidtext check(typeof(GLOBALID) = 'text' and length(GLOBALID) = 38) not null,
 REL_GLOBALID uuidtext check(typeof(REL_GLOBALID) = 'text' and length(REL_GLOBALID) = 38) not null,
 CONTENT_TYPE text(150) check(typeof(CONTENT_TYPE) = 'text' and not length(CONTENT_TYPE) > 150)
  not null,
 ATT_NAME text(250) check(typeof(ATT_NAME) = 'text' and not length(ATT_NAME) > 250) not null,
 DATA_SIZE int32 check(typeof(DATA_SIZE) = 'integer' and DATA_SIZE >= -2147483648
  and DATA_SIZE <= 2147483647) not null,
 DATA blob check(typeof(DATA) = 'blob' or typeof(DATA) = 'null'));
"""
_RELATIONSHIP = "{B606A7E1-FA5B-439C-849C-6E9C2481537B}"
_DEFINITION = """
<DERelationshipClassInfo xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:typens="http://www.esri.com/schemas/ArcGIS/10.8" xsi:type="typens:DERelationshipClassInfo">
<Name>main.assets__ATTACHREL</Name><Cardinality>esriRelCardinalityOneToMany</Cardinality>
<IsComposite>true</IsComposite>
<OriginClassNames xsi:type="typens:Names"><Name>main.assets</Name></OriginClassNames>
<DestinationClassNames xsi:type="typens:Names"><Name>main.assets__ATTACH</Name>
</DestinationClassNames><OriginClassKeys xsi:type="typens:ArrayOfRelationshipClassKey">
<RelationshipClassKey><ObjectKeyName>GlobalID</ObjectKeyName>
<KeyRole>esriRelKeyRoleOriginPrimary</KeyRole></RelationshipClassKey>
<RelationshipClassKey><ObjectKeyName>REL_GLOBALID</ObjectKeyName>
<KeyRole>esriRelKeyRoleOriginForeign</KeyRole></RelationshipClassKey></OriginClassKeys>
<IsAttachmentRelationship>true</IsAttachmentRelationship></DERelationshipClassInfo>
""".strip()


def mobile_geodatabase(folder: Path) -> None:
    """The same assets and attachments, in two dimensions."""
    path = folder / "inspections.geodatabase"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("UpdateIndexEntry", 4, lambda *_: None)
    connection.executescript(_SYSTEM)
    connection.execute(
        "INSERT INTO st_aux_spatial_reference_systems VALUES (?, 'EPSG', ?, ?, ?, ?, ?)",
        (UTM, UTM, CRS.from_epsg(UTM).to_wkt("WKT1_ESRI"), _FALSE_X, _FALSE_Y, _UNITS),
    )
    connection.execute(
        "INSERT INTO st_geometry_columns VALUES (1, 'assets', 'Shape', 1, 2, ?, 'RTREEXY')", (UTM,)
    )
    for name in ("assets", "assets__ATTACH"):
        connection.execute(
            "INSERT INTO GDB_TableRegistry VALUES (NULL, ?, 'OBJECTID', NULL, 3, 1777887000, 1)",
            (name,),
        )
    row = guid("assets__ATTACHREL"), _RELATIONSHIP, "main.assets__ATTACHREL", _DEFINITION
    connection.execute(
        "INSERT INTO GDB_Items (UUID, Type, Name, Definition) VALUES (?, ?, ?, ?)", row
    )
    for number in range(1, 5):
        east, north, _ = place(number)
        moment = 2461164.5 + (9 * 60 + number) / 1440  # Julian day of 2026-05-04 09:00 and so on
        connection.execute(
            "INSERT INTO assets VALUES (?, ?, ?, ?, ?)",
            (
                number,
                guid(f"assets/{number}"),
                f"Asset {number:04d}",
                moment,
                None if number == 4 else _point(east, north),
            ),
        )
        if number < 4:
            bounds = number, east, east, north, north
            connection.execute(
                "INSERT INTO st_spindex__assets_Shape VALUES (?, ?, ?, ?, ?)", bounds
            )
    for key, (asset, name, kind, data) in enumerate(assets(), start=1):
        link = guid(f"assets__ATTACH/{key}"), guid(f"assets/{asset}")
        connection.execute(
            "INSERT INTO assets__ATTACH VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, *link, kind, name, len(data or b""), data),
        )
    connection.execute("VACUUM")
    connection.close()


def _point(east: float, north: float) -> bytes:
    """A point as mobile geodatabases store it (see attachtrans.stores.geodatabase.esrishape)."""
    data = _varint(round((east - _FALSE_X) * _UNITS)) + _varint(round((north - _FALSE_Y) * _UNITS))
    srid = UTM.to_bytes(3, "little")
    head = b"\x64" + srid + struct.pack("<IBB", 1, 0x04, 1)
    return head + _varint(len(data)) + b"\0\0\0\1\0\0\0" + data


def _varint(value: int) -> bytes:
    sign, rest = 0x40 * (value < 0), abs(value)
    out = [rest & 0x3F | sign]
    rest >>= 6
    while rest:
        out[-1] |= 0x80
        out.append(rest & 0x7F)
        rest >>= 7
    return bytes(out)
