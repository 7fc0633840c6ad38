"""The ways an output holds photos, as --output-layout names them."""

from __future__ import annotations

from enum import StrEnum


class OutputLayout(StrEnum):
    """How photos hang on the features of an output class.

    ATTACH  a table <layer>__ATTACH (Esri's form; the default)
    MEDIA   a table <layer>_media with a mapping table (OGC related tables)
    BLOB    columns photo, photo_2 ... of the features
    FOLDER  the same columns with relative paths to files in the folder <output>_photos
    """

    ATTACH = "attach"
    MEDIA = "media"
    BLOB = "blob"
    FOLDER = "folder"
