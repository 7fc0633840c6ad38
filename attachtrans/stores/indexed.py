"""Results as files of a folder, with an index of where they belong: --output FOLDER.

A GeoPackage in the folder, `rows.attachtrans`, keeps the rows that the index is made of: the sinks
that append to feature classes fill it, photo by photo and durably, and it tells by itself what is
there already. So the same command again adds nothing, another model adds files and rows of its
own, and after a crash the files that have their final names are complete. The index (GeoJSON or
GeoParquet) is written as a whole when a run ends: it is the one before or the one after.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from attachtrans.errors import ImageError, OutputExistsError, SinkError
from attachtrans.journal import Journal
from attachtrans.stores.attributes import FeatureReader, Value
from attachtrans.stores.base import Objection, PhotoSink
from attachtrans.stores.carry import Origin, source_name
from attachtrans.stores.classes import prepare
from attachtrans.stores.durable import replace_file
from attachtrans.stores.folder import ROWS, FolderPhotos
from attachtrans.stores.foldersink import FolderSink
from attachtrans.stores.geopackage import Table, quote, read_schema, reading
from attachtrans.stores.layouts.base import LayoutName, PhotoTable, own_link
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputclass import OutputClass, Provenance, clean_key, describe
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.outputs.columns import slot_fields
from attachtrans.stores.photofeatures import (
    PLACING_FIELD,
    Footprinting,
    PhotoFeatures,
    PhotoKey,
    furnish_rows,
    photo_class,
)
from attachtrans.stores.photoindex import (
    Columns,
    IndexEntry,
    IndexKind,
    index_path,
    render_index,
)
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    PLACE_FP,
    SRC_ATT,
    SRC_DIGEST,
    SRC_FID,
    SRC_FILE,
    SRC_GLOBALID,
    SRC_LAYER,
)
from attachtrans.stores.sinkaround import SinkAround
from attachtrans.types import Draft, FeatureRef, Item

_STEM = "results"
_PATH = "path"
_OF_FEATURE = (SRC_FILE, SRC_LAYER, SRC_GLOBALID, SRC_FID)
_OWN = (_PATH, *_OF_FEATURE, SRC_ATT, SRC_DIGEST, MODEL_FP)
_SLOT = re.compile(r"photo(?P<number>_\d+)?")
_OF_SLOTS = re.compile(rf"(photo|{SRC_ATT}|{SRC_DIGEST})(_\d+)?")


def rows_of(folder: Path) -> OutputClass:
    """The class of rows behind a folder's index; photos go into the folder itself."""
    return OutputClass(path=folder / ROWS, layout=OutputLayout.FOLDER, folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderIndex:
    """The index of a folder; kind "none" writes none."""

    folder: Path
    kind: IndexKind

    def path(self) -> Path | None:
        """Where it goes, None for none.

        Raises:
            ArgumentError: no such kind, or the library that writes it is missing.
            OutputExistsError: somebody else's file is in its place.
        """
        path = index_path(self.folder, self.kind, _STEM, _OWN)
        if path is not None and path.exists() and not (self.folder / ROWS).exists():
            raise OutputExistsError(
                f"{path} is there, but not {ROWS}, which an index of ours is made of: choose "
                "another folder, or move it away"
            )
        return path

    def write(self) -> list[str]:
        """Make it anew of the folder's rows; what a user should know. Raises SinkError."""
        path = self.path()
        if path is None:
            return []
        try:
            content, notes = self._content()
            replace_file(path, content)
        except (OSError, sqlite3.Error) as error:
            raise SinkError(
                f"{path} cannot be written: {error}. The photos are complete; put this right and "
                "run the same command again."
            ) from error
        return [f"{path} lists the photos that are there", *notes]

    def _content(self) -> tuple[bytes, list[str]]:
        rows = self.folder / ROWS
        with reading(rows) as connection:
            tables = [t for t in read_schema(connection, rows).tables if t.column(MODEL_FP)]
            fids = {table.name: _fids(connection, table) for table in tables}
        kinds: dict[str, set[str]] = {}
        for table in tables:
            for column in table.columns:
                kinds.setdefault(column.name, set()).add(column.declared)
        declared = {name: min(found) for name, found in kinds.items() if len(found) == 1}
        with closing(FeatureReader(rows, [_as_photos(table) for table in tables])) as reader:
            entries = [
                entry
                for table in tables
                for fid in fids[table.name]
                for entry in self._entries(reader, FeatureRef(table.name, fid), table)
            ]
            systems = {layer: reader.srs(layer) for layer in reader.layers}
        return render_index(self.kind, Columns(own=_OWN, declared=declared), entries, systems)

    def _entries(
        self, reader: FeatureReader, ref: FeatureRef, table: Table
    ) -> Iterator[IndexEntry]:
        """The photos of a row whose files are there."""
        feature = reader.read(ref)
        if feature is None:
            return
        values = feature.attributes
        kept = {name: value for name, value in values.items() if not _is_ours(name, table)}
        for name, path in values.items():
            slot = _SLOT.fullmatch(name)
            if slot is None or not isinstance(path, str) or not (self.folder / path).is_file():
                continue
            number = slot["number"] or ""
            own: dict[str, Value] = {column: values.get(column) for column in _OF_FEATURE}
            own |= {
                _PATH: path,
                SRC_ATT: values.get(f"{SRC_ATT}{number}"),
                SRC_DIGEST: values.get(f"{SRC_DIGEST}{number}"),
                MODEL_FP: values.get(MODEL_FP),
            }
            yield IndexEntry(own=own, layer=ref.layer, feature=replace(feature, attributes=kept))


def _is_ours(name: str, table: Table) -> bool:
    """Whether a column is shown in a way of its own, or says nothing outside the rows."""
    of_rows = (*_OF_FEATURE, MODEL_FP, PLACE_FP, GUID, table.key)
    return name in of_rows or _OF_SLOTS.fullmatch(name) is not None


def _fids(connection: sqlite3.Connection, table: Table) -> list[int]:
    key = quote(table.key or "rowid")
    rows = connection.execute(f"SELECT {key} FROM {quote(table.name)} ORDER BY {key}")
    return [fid for (fid,) in rows]


def _as_photos(table: Table) -> PhotoTable:
    """A class of rows for the reader of features."""
    return PhotoTable(
        layout=LayoutName.PATH,
        table=table.name,
        key=table.key or "rowid",
        data="photo",
        links=(own_link(table),),
        reason="rows of an index",
    )


class IndexedSink(SinkAround):
    """A `PhotoSink` over one that fills a folder and its rows: writes the index in the end."""

    def __init__(self, inner: PhotoSink, index: FolderIndex) -> None:
        super().__init__(inner)
        self._index = index
        self._written = 0

    def commit(self, draft: Draft) -> None:
        """See PhotoSink."""
        super().commit(draft)
        self._written += 1

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink; the first note of the inner sink speaks of rows that nobody sees."""
        _, *notes = self._inner.finish()
        self._inner.close()
        written = f"{self._written} translated photos were written to {self._index.folder}"
        return (written, *self._index.write(), *notes)

    def close(self) -> None:
        """See PhotoSink."""
        self._inner.close()


class FolderRowsSink:
    """A `PhotoSink` that writes a folder's results as `FolderSink` does, and a row for each.

    The row has the photo's footprint, and is there once the result is.
    """

    def __init__(
        self,
        photos: FolderPhotos,
        journal: Journal,
        provenance: Provenance,
        rows: OutputClass,
        footprints: Footprinting,
    ) -> None:
        """`rows` as `rows_of` gives it; for its folder and `journal` see `FolderSink`.

        Raises SchemaError when the folder's rows are of another kind, BusyError, SinkError.
        """
        folder = rows.path.parent
        fingerprint = provenance.fingerprint
        self._files = FolderSink(photos, folder, journal, fingerprint=fingerprint)
        self._journal = journal
        origin = Origin(file=source_name(photos.path, rows.path), model=fingerprint)
        extra = (*slot_fields(1, "TEXT"), PLACING_FIELD)
        plan = photo_class("photos", footprints.crs_of(""), layer="", extra=extra)
        with ExitStack() as stack:
            self._out = OutFile(rows.path)
            stack.callback(self._out.close)
            prepared, _ = prepare(self._out, None, plan, furnish_rows)
            self._rows = PhotoFeatures(prepared, origin, footprints.placing)
            describe(self._out, prepared, origin, provenance)
            stack.pop_all()

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink."""
        if not self._files.holds(item, digest):
            return False
        with self._out.lock:
            return self._rows.placed(self._out.connection, _key(item)) is not None

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink."""
        return self._files.objection(item, digest, marks)

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink: what is not translated stays where it is."""
        self._files.keep(item, data)

    def commit(self, draft: Draft) -> None:
        """See PhotoSink: the result, then its row."""
        self._files.commit(draft)
        result = self._journal.result(draft.item.key, draft.digest_in)
        row: Mapping[str, object] = {
            "photo": None if result is None else result[0],
            SRC_DIGEST: draft.digest_in,
        }
        try:
            with self._out.transaction() as connection:
                self._rows.put(connection, _key(draft.item), row, draft.placement)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"{draft.item.key} does not fit into the index: {error}"
            raise ImageError(message) from error

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink."""
        self._out.check()
        return self._files.finish()

    def close(self) -> None:
        """See PhotoSink."""
        self._files.close()
        self._out.close()


def _key(item: Item) -> PhotoKey:
    return PhotoKey(layer="", key=clean_key(item.key))
