"""Fixtures whose photos lie in tables: Esri attachments, OGC related media, BLOB columns."""

from __future__ import annotations

import base64
from pathlib import Path

from fixture_parts.geopackage import Layer, Package, Table, line, point
from fixture_parts.photos import (
    gimbal_xmp,
    jpeg,
    mp4,
    pdf,
    plain_jpeg,
    png,
    png16,
    srgb_profile,
    thumbnail_png,
    tiff,
    truncated,
    webp,
)
from fixture_parts.survey import UTM, guid, place, spot, taken, wgs84

ATTACH = {
    "CONTENT_TYPE": "TEXT(150) NOT NULL",
    "ATT_NAME": "TEXT(250) NOT NULL",
    "DATA_SIZE": "MEDIUMINT NOT NULL",
    "DATA": "BLOB",
}
KINDS = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "mp4": "video/mp4",
}
Attachment = tuple[str, bytes | None]


def attachment_row(key: int, link: object, attachment: Attachment) -> tuple[object, ...]:
    """(key, link, CONTENT_TYPE, ATT_NAME, DATA_SIZE, DATA)."""
    name, data = attachment
    kind = KINDS[name.rpartition(".")[2].lower()]
    return key, link, kind, name, len(data or b""), data


def every_format() -> list[tuple[int, Attachment]]:
    """(feature, attachment): all kinds of good photos, two files that are none."""
    profile = srgb_profile()
    turned = [
        (number, ("Photo1.jpg", jpeg(taken("sign", number, orientation=number, thumbnail=True))))
        for number in range(1, 9)
    ]
    xmp = gimbal_xmp(pitch_deg=18.5, yaw_deg=-65.0)
    big = taken("pole", 10, size=(640, 480), thumbnail=True)
    return [
        *turned,
        (10, ("pole oblique.jpg", jpeg(big, xmp=xmp, subsampling="4:4:4"))),
        (10, ("Photo2.jpg", jpeg(taken("manhole", 11, feature=10), icc_profile=profile))),
        (12, ("progressive.jpg", jpeg(taken("tree", 12), progressive=True))),
        (12, ("grey.jpg", jpeg(taken("hydrant", 13, feature=12), "L"))),
        (12, ("cmyk.jpg", jpeg(taken("crack", 14, feature=12, size=(320, 240)), "CMYK"))),
        (15, ("sixteen bits.png", png16(taken("manhole", 15, size=(240, 180))))),
        (15, ("alpha.png", png(taken("hydrant", 16, size=(320, 240)), alpha=True))),
        (15, ("scan.tif", tiff(taken("crack", 17, size=(320, 240))))),
        (18, ("app.webp", webp(taken("tree", 18)))),
        (18, ("no tags.jpg", plain_jpeg(taken("pole", 19, size=(360, 480))))),
        (18, ("a png by content.jpg", png(taken("sign", 20, size=(240, 180))))),
        (21, ("report.pdf", pdf("Inspection 0021"))),
        (21, ("clip.mp4", mp4())),
    ]


def esri_globalid(folder: Path) -> None:
    """Survey123-like: GlobalID key, KEYWORDS; gaps in the ids, a NULL geometry."""
    numbers = [*range(1, 9), 10, 12, 15, 18, 21, 30, 31]
    rows = [
        (n, None if n == 30 else spot(n), guid(f"assets/{n}"), f"Asset {n:04d}", n % 4)
        for n in numbers
    ]
    attachments = []
    for key, (feature, attachment) in enumerate(every_format(), start=3):
        link = guid(f"assets/{feature}")
        # Other tools write GUIDs bare and in lower case; feature 18 went through one.
        link = link.strip("{}").lower() if feature == 18 else link
        row = attachment_row(key, link, attachment)
        attachments.append((*row, guid(f"assets__ATTACH/{key}"), "photo_question"))
    with Package(folder / "esri_globalid.gpkg") as package:
        package.add_layer(
            Layer(
                name="assets",
                srs_id=UTM,
                key="OBJECTID",
                geometry="SHAPE",
                geometry_type="POINT Z",
                columns={
                    "GlobalID": "TEXT(38) NOT NULL UNIQUE",
                    "name": "TEXT(80)",
                    "condition": "MEDIUMINT",
                },
                rows=rows,
            )
        )
        package.add_table(
            Table(
                name="assets__ATTACH",
                key="ATTACHMENTID",
                columns={
                    "REL_GLOBALID": "TEXT(38) NOT NULL",
                    **ATTACH,
                    "GLOBALID": "TEXT(38) NOT NULL",
                    "KEYWORDS": "TEXT(250)",
                },
                rows=attachments,
            )
        )


def esri_objectid(folder: Path) -> None:
    """All upgrade levels, mostly with object ids; damaged content; GeoPackage 1.2 triggers."""
    broken = truncated(jpeg(taken("hydrant", 41, feature=5)))
    with Package(folder / "esri_objectid.gpkg", version=10200) as package:
        hydrants = [
            (2, ("Photo1.jpg", jpeg(taken("hydrant", 2)))),
            (2, ("Photo2.jpg", jpeg(taken("sign", 42, feature=2)))),
            (5, ("broken.jpg", broken)),
            (5, ("never synced.jpg", None)),
            (9, ("empty.jpg", b"")),
            (9, ("datasheet.pdf", pdf("Hydrant 0009"))),
        ]
        package.add_layer(
            Layer(
                name="hydrants",
                srs_id=UTM,
                key="OBJECTID",
                geometry="SHAPE",
                columns={"name": "TEXT(80)"},
                rows=[(n, point(UTM, *place(n)[:2]), f"Hydrant {n}") for n in (2, 5, 9, 14)],
            )
        )
        package.add_table(
            Table(
                name="hydrants__ATTACH",
                key="ATTACHMENTID",
                columns={"REL_OBJECTID": "MEDIUMINT NOT NULL", **ATTACH},
                rows=[attachment_row(k, n, a) for k, (n, a) in enumerate(hydrants, start=1)],
            )
        )
        add_qgis_export(package)
        add_alt_text_level(package)


def add_qgis_export(package: Package) -> None:
    """As QGIS exports an ArcGIS class: new fids, the old keys as plain columns; Exif level."""
    package.add_layer(
        Layer(
            name="valves",
            srs_id=4326,
            columns={"OBJECTID": "INTEGER", "name": "TEXT"},
            rows=[
                (fid, point(4326, *wgs84(number)[:2]), number, f"Valve {number}")
                for fid, number in ((1, 7), (2, 3), (3, 11))
            ],
        )
    )
    rows = []
    for fid, number in ((1, 3), (2, 7), (3, 11)):
        row = attachment_row(100 + fid, number, ("Photo1.jpg", jpeg(taken("manhole", number))))
        rows.append((fid, *row, "photo", None))
    package.add_table(
        Table(
            name="valves__ATTACH",
            columns={
                "ATTACHMENTID": "INTEGER",
                "REL_OBJECTID": "MEDIUMINT NOT NULL",
                **ATTACH,
                "KEYWORDS": "TEXT",
                "EXIFINFO": "BLOB",
            },
            rows=rows,
        )
    )


def add_alt_text_level(package: Package) -> None:
    """The newest level under a name that needs quoting; GlobalID key, one orphan (90)."""
    name = 'Schächte "Süd"; 2 % neu'
    package.add_layer(
        Layer(
            name=name,
            srs_id=UTM,
            key="OBJECTID",
            geometry="the geom",
            geometry_type="POINT Z",
            columns={"GlobalID": "TEXT(38) NOT NULL UNIQUE", "select": "TEXT"},
            rows=[(n, spot(n), guid(f"{name}/{n}"), f"Schacht {n}") for n in (4, 8)],
        )
    )
    alt = ["ATT_TITLE", "ATT_ALT_TEXT", "ATT_CAPTION", "ATT_CREDIT"]
    said = "Schacht", "A manhole cover in gravel", "Deckel, Süd", "A. Surveyor"
    rows = []
    for key, feature in ((4, 4), (8, 8), (90, 5)):
        photo = f"Schächt'e {key}.jpg", jpeg(taken("manhole", key))
        row = attachment_row(key, guid(f"{name}/{feature}"), photo)
        rows.append((*row, guid(f"{name}__ATTACH/{key}"), "", None, *said))
    package.add_table(
        Table(
            name=f"{name}__ATTACH",
            key="ATTACHMENTID",
            columns={
                "REL_GLOBALID": "TEXT(38) NOT NULL",
                **ATTACH,
                "GLOBALID": "TEXT(38) NOT NULL",
                "KEYWORDS": "TEXT",
                "EXIFINFO": "BLOB",
                **dict.fromkeys(alt, "TEXT"),
            },
            rows=rows,
        )
    )


def related_media(folder: Path) -> None:
    """OGC related tables: photos shared by features of two layers, a mapping view, map icons."""
    one, other = taken("tree", 50, feature=1), taken("tree", 51, feature=1, orientation=6)
    photos = [
        (17, jpeg(one), "image/jpeg", "tree and sign", "shared by both layers"),
        (18, jpeg(other), "image/jpeg", "two trees", "shared by two"),
        (20, png(taken("sign", 52, size=(240, 180))), "image/png", "sign", None),
        (25, pdf("Felling permit"), "application/pdf", "permit", None),
        (31, jpeg(taken("pole", 53, feature=6)), "image/jpeg", "unlinked", "an orphan"),
    ]
    icons = [(1, thumbnail_png(taken("tree", 54)), "image/png")]
    media = {"data": "BLOB NOT NULL", "content_type": "TEXT NOT NULL"}
    mapping = {"base_id": "INTEGER NOT NULL", "related_id": "INTEGER NOT NULL"}
    with Package(folder / "related_media.gpkg") as package:
        package.add_layer(
            Layer(
                name="trees",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={"species": "TEXT"},
                rows=[(n, spot(n), "Tilia cordata") for n in (1, 4, 6)],
            )
        )
        parcel = [place(8)[:2], place(9)[:2], place(12)[:2], place(8)[:2]]
        package.add_layer(
            Layer(
                name="parcels",
                srs_id=UTM,
                geometry_type="POLYGON",
                columns={"owner": "TEXT"},
                rows=[(3, line(UTM, parcel, kind=3), "Town"), (7, None, None)],
            )
        )
        columns = {**media, "name": "TEXT", "description": "TEXT"}
        package.add_table(Table(name="media", key="id", columns=columns, rows=photos))
        package.add_table(Table(name="nga_icon", key="id", columns=media, rows=icons))
        links = [(1, 1, 17, 1), (2, 1, 18, 2), (3, 4, 18, 1), (4, 6, 25, 1)]
        columns = {**mapping, "sort_order": "INTEGER"}
        package.add_table(Table(name="trees_media", key="id", columns=columns, rows=links))
        package.add_table(
            Table(name="icon_links", key="id", columns=mapping, rows=[(1, 1, 1), (2, 4, 1)])
        )
        links = [(1, 3, 17, "2026-05-04"), (2, 3, 20, "2026-05-05")]
        columns = {"parcel": "INTEGER", "photo": "INTEGER", "since": "TEXT"}
        package.add_table(Table(name="photo_log", key="id", columns=columns, rows=links))
        package.connection.execute(
            "CREATE VIEW parcels_media AS SELECT parcel AS base_id, photo AS related_id "
            "FROM photo_log"
        )
        package.relate("trees", "media", "media", "trees_media", ("fid", "id"))
        package.relate("parcels", "media", "media", "parcels_media", ("fid", "id"))
        package.relate("trees", "nga_icon", "media", "icon_links", ("fid", "id"))


def blob_column(folder: Path) -> None:
    """Photos in columns: BLOB with thumbnail, base64 text, and pandas' b'...' text."""
    small = {"size": (240, 180)}
    images = []
    for fid in (1, 3, 4):
        shot = taken("hydrant" if fid > 1 else "manhole", 85 + fid, feature=fid)
        images.append(
            (fid, spot(fid), jpeg(shot), thumbnail_png(shot), f"IMG {fid}", b"\0\1\2not an image")
        )
    images.append((8, spot(8), pdf("Not a photo"), thumbnail_png(taken("tree", 86)), None, None))
    encoded = base64.b64encode(jpeg(taken("sign", 90, feature=10, **small))).decode()
    with Package(folder / "blob_column.gpkg") as package:
        package.add_layer(
            Layer(
                name="images",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={
                    "image": "BLOB NOT NULL",
                    "thumbnail": "BLOB",
                    "text": "TEXT",
                    "signature": "BLOB",
                },
                rows=images,
            )
        )
        package.add_layer(
            Layer(
                name="notes",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={"note": "TEXT", "picture": "TEXT"},
                rows=[(1, spot(10), "base64", encoded), (2, spot(11), "none", None)],
            )
        )
        text = repr(jpeg(taken("crack", 91, feature=12, **small)))
        package.add_layer(
            Layer(
                name="exported",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={"photo": "TEXT"},
                rows=[(1, spot(12), text)],
            )
        )
