"""What a job reads: the photos of a GeoPackage, a vector file, a folder, or one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attachtrans.errors import ArgumentError
from attachtrans.stores.folder import FolderPhotos, open_folder
from attachtrans.stores.geodatabase.kinds import is_geodatabase
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.vectortable import VectorTable, is_vector_table, open_vector_table

if TYPE_CHECKING:
    from attachtrans.stores.photos import Photos

GEOPACKAGE = ".gpkg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which photos of a source are meant, as on the command line; None: all, or found."""

    layout: str | None = None
    layer: str | None = None
    photo_column: str | None = None
    base: Path | None = None
    remap: Sequence[tuple[str, str]] = ()
    where: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    limit: int | None = None
    patterns: Sequence[str] = ()

    def given_for_tables(self) -> list[str]:
        """The flags given that concern feature classes only."""
        flags = {
            "--layout": self.layout,
            "--layer": self.layer,
            "--photo-column": self.photo_column,
            "--base": self.base,
            "--remap": self.remap,
            "--where": self.where,
            "--bbox": self.bbox,
        }
        return [flag for flag, value in flags.items() if value]


def is_geopackage(path: Path) -> bool:
    """Whether a source is read as a GeoPackage; everything else is files."""
    return path.suffix.lower() == GEOPACKAGE and not path.is_dir()


def is_feature_class(path: Path) -> bool:
    """Whether photos of a source hang on features: a database, or another vector file."""
    return is_geopackage(path) or is_vector_table(path) or is_geodatabase(path)


def readable(path: Path) -> Path | VectorTable:
    """A source of features as the stores take it. Raises ArgumentError, SourceError."""
    from attachtrans.stores.geodatabase.source import as_source

    return open_vector_table(path) if is_vector_table(path) else as_source(path)


def open_source(
    path: Path, choice: Choice, results: tuple[Path, str | None] | None = None
) -> tuple[Photos | FolderPhotos, tuple[PhotoTable, ...]]:
    """The photos of a source, and the tables that they hang in (none for files).

    results: GeoPackage and layer that results are appended to; what earlier runs put there is left
    out of a source that is the same file.

    Raises:
        ArgumentError: an option that does not go with this kind of source.
        SourceError (LayoutError): it cannot be read, or holds no photos.
    """
    if not is_feature_class(path):
        if flags := choice.given_for_tables():
            raise ArgumentError(f"{flags[0]} concerns feature classes, and {path} is none")
        return open_folder(path, patterns=tuple(choice.patterns), limit=choice.limit), ()
    # What reads feature classes is loaded for those only.
    from attachtrans.stores.catalog import detect
    from attachtrans.stores.classes import without_results
    from attachtrans.stores.photos import open_photos
    from attachtrans.stores.selection import Selection

    if choice.patterns:
        raise ArgumentError(f"--pattern concerns folders, and {path} is a feature class")
    source = readable(path)
    tables = detect(
        source,
        layout=choice.layout,
        layer=choice.layer,
        photo_column=choice.photo_column,
        base=choice.base,
        remap=tuple(choice.remap),
    )
    if results is not None:
        tables = without_results(source, tables, *results)
    selection = Selection(where=choice.where, bbox=choice.bbox, limit=choice.limit)
    return open_photos(source, tables, selection), tuple(tables)
