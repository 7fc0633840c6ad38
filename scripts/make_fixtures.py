#!/usr/bin/env python3
"""Build fixtures/: one GeoPackage per way in which photos hang on features.

    .venv/bin/python scripts/make_fixtures.py [FOLDER]

Everything is seeded. The pixels, tables and tags are the same on every machine; the bytes are the
same for the same versions of Pillow, OpenCV and SQLite (scripts/constraints.txt). What is in each
file, and where the textures come from, stands in fixtures/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fixture_parts.beside import geotagged, mergin, odk, qfield
from fixture_parts.geodatabases import geodatabase, mobile_geodatabase
from fixture_parts.oblique import oblique
from fixture_parts.within import blob_column, esri_globalid, esri_objectid, related_media

LAYOUTS = (
    esri_globalid,
    esri_objectid,
    related_media,
    qfield,
    mergin,
    odk,
    blob_column,
    geotagged,
    oblique,
    geodatabase,
    mobile_geodatabase,
)


def main(arguments: Sequence[str]) -> None:
    """Build every layout into the folder named, by default the shipped one."""
    default = Path(__file__).resolve().parents[1] / "fixtures"
    folder = Path(arguments[0]) if arguments else default
    folder.mkdir(parents=True, exist_ok=True)
    for build in LAYOUTS:
        build(folder)
        print(f"built {build.__name__}")


if __name__ == "__main__":
    main(sys.argv[1:])
