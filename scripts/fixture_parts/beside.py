"""Fixtures whose photos are files beside the GeoPackage: QField, Mergin Maps, ODK, QGIS imports."""

from __future__ import annotations

import json
from pathlib import Path

from fixture_parts.geopackage import Layer, Package, Table, line, point
from fixture_parts.photos import jpeg, mp4, pdf, truncated
from fixture_parts.qgis import attachment_style, project
from fixture_parts.survey import UTM, bare_uuid, place, save, spot, station, taken


def qfield(folder: Path) -> None:
    """A QField project: photo paths below the project, shared, missing, empty and odd ones."""
    home = folder / "qfield"
    files = {
        "DCIM/poles_20260504093000123.jpg": jpeg(taken("pole", 60, feature=1, thumbnail=True)),
        "DCIM/poles_20260504093512000.jpg": jpeg(taken("pole", 61, feature=2, orientation=8)),
        "DCIM/Mast 7, north side.jpg": jpeg(taken("pole", 62, feature=5)),
        "DCIM/Upper.JPG": jpeg(taken("sign", 63, feature=6)),
        "DCIM/notes_1.jpg": jpeg(taken("crack", 64, feature=1)),
        "DCIM/notes_2.jpg": truncated(jpeg(taken("crack", 65, feature=1))),
        "files/report.pdf": pdf("Pole 0060"),
        "video/clip.mp4": mp4(),
    }
    save(home, files)
    paths = [
        (1, "DCIM/poles_20260504093000123.jpg"),
        (2, "DCIM/poles_20260504093512000.jpg"),
        (4, "DCIM/poles_20260504093512000.jpg"),
        (5, "DCIM/Mast 7, north side.jpg"),
        (6, "DCIM/upper.jpg"),
        (8, "DCIM/missing.jpg"),
        (9, ""),
        (11, None),
        (12, "files/report.pdf"),
    ]
    with Package(home / "survey.gpkg") as package:
        package.add_layer(
            Layer(
                name="poles",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={"uuid": "TEXT(36)", "photo": "TEXT", "remark": "TEXT"},
                rows=[
                    (fid, spot(fid), bare_uuid(f"poles/{fid}"), path, None) for fid, path in paths
                ],
            )
        )
        notes = [
            (1, "poles", bare_uuid("poles/1"), "DCIM/notes_1.jpg", "crack"),
            (2, "poles", bare_uuid("poles/1"), "DCIM/notes_2.jpg", "transfer broke off"),
            (4, "poles", bare_uuid("poles/5"), "video/clip.mp4", None),
        ]
        package.add_table(
            Table(
                name="notes_attachments",
                columns={
                    "note_layer": "TEXT",
                    "note_uuid": "TEXT",
                    "media": "TEXT",
                    "description": "TEXT",
                },
                rows=notes,
            )
        )
        package.add_table(attachment_style("poles", "geom", {"photo": {"RelativeStorage": 1}}))
    layers = {
        "poles": {"photo": {"RelativeStorage": 1}},
        "notes_attachments": {"media": {"RelativeStorage": 1}},
    }
    relation = ("notes_attachments", "note_uuid", "poles", "uuid")
    (home / "survey.qgs").write_text(project("survey.gpkg", layers, [relation]), encoding="utf-8")


def mergin(folder: Path) -> None:
    """A Mergin Maps project: 1-N photos, one column relative to the project, one to a folder."""
    home = folder / "mergin"
    files = {
        "overview.jpg": jpeg(taken("tree", 70, feature=2)),
        "images/section_1.jpg": jpeg(taken("crack", 71, feature=1)),
        "images/section_2.jpg": jpeg(taken("crack", 72, feature=1, orientation=3)),
        "detail/123.jpg": jpeg(taken("manhole", 73, feature=3)),
        "data/pictures/beside.jpg": jpeg(taken("sign", 74, feature=6)),
    }
    save(home, files)
    sections = [
        (10, [place(1), place(2)], "overview.jpg", None),
        (20, [place(2), place(3)], "overview.jpg", "123.jpg"),
        (30, [place(3), place(6)], None, None),
    ]
    photos = [
        (1, bare_uuid("sections/10"), "images/section_1.jpg"),
        (2, bare_uuid("sections/10"), "images/section_2.jpg"),
        (3, bare_uuid("sections/30"), "images\\section_1.jpg"),
        (5, bare_uuid("sections/30"), "pictures/beside.jpg"),
    ]
    with Package(home / "data" / "survey.gpkg") as package:
        package.add_layer(
            Layer(
                name="sections",
                srs_id=UTM,
                geometry_type="LINESTRING Z",
                columns={"uuid": "TEXT", "photo": "TEXT", "123_photo": "TEXT"},
                rows=[
                    (fid, line(UTM, vertices), bare_uuid(f"sections/{fid}"), first, second)
                    for fid, vertices, first, second in sections
                ],
            )
        )
        columns = {"section_uuid": "TEXT", "path": "TEXT"}
        package.add_table(Table(name="photos", columns=columns, rows=photos))
    layers = {
        "sections": {
            "photo": {"RelativeStorage": 1},
            "123_photo": {"RelativeStorage": 2, "DefaultRoot": "@project_home + '/detail'"},
        },
        "photos": {"path": {"RelativeStorage": 1}},
    }
    relation = ("photos", "section_uuid", "sections", "uuid")
    text = project("data/survey.gpkg", layers, [relation])
    (home / "project.qgs").write_text(text, encoding="utf-8")
    settings = json.dumps({"input-selective-dir": "images"}, indent=2) + "\n"
    (home / "mergin-config.json").write_text(settings, encoding="utf-8")


def odk(folder: Path) -> None:
    """An ODK or Kobo export: bare file names, addresses beside them, files in media/."""
    home = folder / "odk"
    files = {
        "media/1714811400123.jpg": jpeg(taken("hydrant", 80, feature=1)),
        "media/1714811500456.jpg": jpeg(taken("sign", 81, feature=2, orientation=6)),
    }
    save(home, files)
    host = "https://odk.example.org/attachment/"
    rows = [
        (1, spot(1), "uuid:0001", "1714811400123.jpg", f"{host}1714811400123.jpg"),
        (2, spot(2), "uuid:0002", "1714811500456.jpg", f"{host}1714811500456.jpg"),
        (5, spot(5), "uuid:0005", "1714811600789.jpg", f"{host}1714811600789.jpg"),
        (6, None, "uuid:0006", None, None),
    ]
    with Package(home / "submissions.gpkg") as package:
        package.add_layer(
            Layer(
                name="submissions",
                srs_id=UTM,
                geometry_type="POINT Z",
                columns={"instanceID": "TEXT", "site_photo": "TEXT", "site_photo_URL": "TEXT"},
                rows=rows,
            )
        )


def geotagged(folder: Path) -> None:
    """QGIS's "Import geotagged photos": absolute paths that died when the folder was moved."""
    home = folder / "geotagged"
    was = "/media/surveyor/SDCARD"
    numbers, rows, truth = (1, 2, 3), [], ["photo,longitude,latitude,direction"]
    for number in numbers:
        name = f"DCIM/100FIELD/IMG_{number:04d}.jpg"
        shot = taken("pole", 94 + number, orientation=6 if number == 2 else 1)
        save(home, {name: jpeg(shot)})
        heading = shot.heading_deg or 0.0
        lon, lat, height = station("pole", 94 + number, heading)
        truth.append(f"{name},{lon},{lat},{heading}")
        rows.append(
            (
                number,
                point(4326, lon, lat, height),
                f"{was}/{name}",
                f"IMG_{number:04d}",
                f"{was}/DCIM/100FIELD",
                height,
                heading,
                90 if number == 2 else 0,
                str(lon),
                str(lat),
                shot.when.replace(":", "-", 2).replace(" ", "T") + "Z",
            )
        )
    columns = {
        "photo": "TEXT",
        "filename": "TEXT",
        "directory": "TEXT",
        "altitude": "REAL",
        "direction": "REAL",
        "rotation": "MEDIUMINT",
        "longitude": "TEXT",
        "latitude": "TEXT",
        "timestamp": "DATETIME",
    }
    with Package(home / "photos.gpkg") as package:
        package.add_layer(
            Layer(name="photos", srs_id=4326, geometry_type="POINT Z", columns=columns, rows=rows)
        )
    (home / "truth.csv").write_text("\n".join(truth) + "\n", encoding="utf-8")
