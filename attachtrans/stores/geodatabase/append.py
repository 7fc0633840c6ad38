"""Results appended to a feature class of a geodatabase: the sink behind --output OUT.gdb:layer.

It may be a .geodatabase as well.

The sinks that append to GeoPackages fill a GeoPackage beside the geodatabase, photo by photo and
durably. In the end its new rows go into the geodatabase all together (see `publish` for .gdb,
`mobilepublish` for .geodatabase). So a run that is killed loses nothing: the next one first puts in
what the last one left.

The staging GeoPackage begins with what the geodatabase holds, without its photos, so that the
sinks find what is there already.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.durable import sync_folder
from attachtrans.stores.geodatabase import mobilepublish, publish
from attachtrans.stores.geodatabase.edition import clear
from attachtrans.stores.geodatabase.gdal import library
from attachtrans.stores.geodatabase.kinds import Kind, kind_of, refuse_writing
from attachtrans.stores.geodatabase.mirror import make_mirror
from attachtrans.stores.geodatabase.staging import SEED, is_output
from attachtrans.stores.geopackage import connect, quote, read_schema
from attachtrans.stores.registry import has_table
from attachtrans.stores.sinkaround import SinkAround


def open_staging(path: Path) -> Path:
    """The GeoPackage to fill for a geodatabase; what an interrupted run left is put in first.

    Raises SinkError, SourceError.
    """
    if kind_of(path) is Kind.FILE:
        library()
        clear(path)
    if path.exists():
        refuse_writing(path)
    staging = path.resolve().with_name(f".{path.name}.attachtrans-staged.gpkg")
    if staging.exists() and _is_made(staging):
        try:
            _publish(staging, path)
        except SinkError as error:
            raise SinkError(
                f"{error} What an interrupted run left is in {staging}; delete that file to do "
                "without it."
            ) from error
    drop_staging(staging)
    if path.exists():
        _seed(path, staging)
    return staging


def _publish(staging: Path, path: Path) -> None:
    """Put what is staged into a geodatabase of either kind. Raises SinkError."""
    if kind_of(path) is Kind.MOBILE:
        mobilepublish.publish(staging, path)
    else:
        publish.publish(staging, path)


def _is_made(staging: Path) -> bool:
    """Whether a run came to make the file before it was killed; it holds nothing before."""
    if not staging.stat().st_size:
        return False
    with closing(connect(staging)) as connection:
        return has_table(connection, "gpkg_contents")


def drop_staging(staging: Path) -> None:
    """Delete a staging GeoPackage, whose rows are in the geodatabase now."""
    for end in ("-wal", "-shm", "-journal", ""):
        staging.with_name(staging.name + end).unlink(missing_ok=True)
    sync_folder(staging.parent)


def _seed(path: Path, staging: Path) -> None:
    """Make a staging GeoPackage of what a geodatabase holds; it bears its name once complete."""
    partial = staging.with_name(f"{staging.name}.part")
    drop_staging(partial)
    make_mirror(path, partial, loosely=True)
    try:
        with closing(connect(partial, write=True)) as connection:
            connection.execute("BEGIN")
            for table in read_schema(connection, partial).tables:
                if is_output(table):
                    seed, name = quote(SEED + table.name), quote(table.name)
                    connection.execute(f"CREATE TABLE {seed} AS SELECT * FROM {name}")
            connection.execute("COMMIT")
        partial.replace(staging)
    except (sqlite3.Error, OSError) as error:
        raise SinkError(f"{staging} cannot be written: {error}") from error


class GeodatabaseSink(SinkAround):
    """A `PhotoSink` over one that fills the staging GeoPackage of a geodatabase."""

    def __init__(self, inner: PhotoSink, staging: Path, path: Path) -> None:
        """`inner` has carried its features over. Raises SchemaError when they do not fit.

        What is staged then goes, as nothing is computed yet. Raises SinkError as well.
        """
        try:
            if kind_of(path) is Kind.MOBILE:
                mobilepublish.check(staging, path)
            else:
                publish.check(staging, path)
        except SinkError:
            inner.close()
            drop_staging(staging)
            raise
        super().__init__(inner)
        self._staging = staging
        self._path = path

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink: put everything into the geodatabase."""
        notes = self._inner.finish()
        self._inner.close()
        _publish(self._staging, self._path)
        drop_staging(self._staging)
        return tuple(note.replace(str(self._staging), str(self._path)) for note in notes)

    def close(self) -> None:
        """See PhotoSink; what is staged is put in by the next run."""
        self._inner.close()
