"""Paths of photo files in a column: QField, Mergin Maps, ODK and Kobo, QGIS's geotagged photos.

A column is taken when QGIS says that it holds attachments, when its table is of a known form, or
when some of its values lead to photos in one of the folders that are usual.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attachtrans.errors import LayoutError
from attachtrans.stores.content import is_photo
from attachtrans.stores.geopackage import Table, same
from attachtrans.stores.layouts.base import (
    Findings,
    Inspection,
    LayoutName,
    PhotoTable,
    Refusal,
    remaining,
)
from attachtrans.stores.layouts.parents import links_of
from attachtrans.stores.layouts.qgis import Widget
from attachtrans.stores.resolve import Resolver, is_absolute, is_remote, looks_like_path

_SAMPLED = 1000
_SNIFFED = 20
_HEAD = 4096
_EXPORT_FOLDERS = ("media", "attachments", "photos")
_PREVIEWS = ("thumb", "preview", "icon")
_GEOTAGGED = ("photo", "filename", "directory")
_GEOTAGGED_PARTS = ("filename", "directory")
_UNREADABLE = (*_GEOTAGGED, "readable")
_ADDRESS = "_url"
_FULCRUM = ("_fulcrum_id", "_record_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """What the values of a column lead to.

    files    values that lead to a file
    photos   photos among the first of these files
    folders  those that files were found in
    """

    files: int
    photos: int
    folders: tuple[Path, ...]


class PathColumns:
    """Text columns whose values are paths of photos."""

    name = LayoutName.PATH

    def find(self, inspection: Inspection, taken: frozenset[str]) -> Findings:
        """Look into every text column of tables whose content no other layout has taken."""
        found = Findings()
        for table in inspection.schema.tables:
            if table.is_tiles or table.key is None or table.name.lower() in taken:
                continue
            if table.geometry is None and all(map(table.column, _UNREADABLE)):
                reason = "photos that QGIS's Import geotagged photos could not read"
                refusal = Refusal(table=table.name, column=None, layout=self.name, reason=reason)
                found += Findings(excluded=(refusal,))
                continue
            of_table = Findings()
            for column in table.columns:
                if column.holds_text and not _is_beside(table, column.name):
                    of_table += _look_into(inspection, table, column.name)
            found += _without_previews(inspection, of_table)
        return replace(found, tables=_with_common_base(found.tables, inspection))


def _look_into(inspection: Inspection, table: Table, column: str) -> Findings:
    values = inspection.distinct(table.name, column, _SAMPLED)
    if not values:
        return Findings()
    wanted = inspection.wish.names(table.name, column)
    widget = inspection.hints.widget(table.name, column)
    known = _known_form(table, column)
    tried = [v for v in values if wanted or widget or known or looks_like_path(v)]
    candidates = _candidates(inspection, widget)
    trial = _try(inspection, candidates, tried)
    alike = sum(map(looks_like_path, values)) * 2 > len(values)
    if wanted and (trial.files or alike):
        reason = "named by --photo-column"
    elif widget is not None and (widget.is_media or trial.photos):
        reason = f"attachment widget in {widget.origin}"
    elif known:
        reason = known
    elif trial.photos:
        reason = "its values are paths of photos"
    elif alike:
        return _hint(table, column, values[0], candidates)
    else:
        return Findings()
    count = "path leads" if trial.files == 1 else "paths lead"
    reason += f"; {trial.files} of the first {len(values)} {count} to a file"
    return Findings(tables=(_read(inspection, table, column, reason, (candidates, trial)),))


def _read(
    inspection: Inspection,
    table: Table,
    column: str,
    reason: str,
    tried: tuple[Sequence[Path], _Trial],
) -> PhotoTable:
    candidates, trial = tried
    usual = _homes(inspection)
    folders = [folder for folder in candidates if folder in trial.folders or folder in usual]
    warnings = inspection.hints.warnings
    if not trial.files:
        places = ", ".join(map(str, candidates))
        warning = (
            f"{table.name}.{column}: none of its files is in {places}; --base names another "
            "folder, --remap OLD=NEW a folder that has moved"
        )
        warnings = (*warnings, warning)
    return PhotoTable(
        layout=LayoutName.PATH,
        table=table.name,
        key=table.key or "rowid",
        data=column,
        folders=tuple(folders),
        remap=inspection.wish.remap,
        links=links_of(inspection, table),
        extra=remaining(table, column),
        reason=reason,
        warnings=warnings,
    )


def _known_form(table: Table, column: str) -> str | None:
    """Why a column of a table of known form holds paths."""
    if same(column, "photo") and all(table.column(name) for name in _GEOTAGGED):
        return "layer of QGIS's Import geotagged photos"
    if same(column, "media") and table.column("note_layer") and table.column("note_uuid"):
        return "QField's table of attachments to notes"
    if table.column(f"{column}_urls") and any(table.column(name) for name in _FULCRUM):
        return "photo ids of Fulcrum"
    if table.column(f"{column}{_ADDRESS}"):
        return f"file names beside addresses in {column}_URL (ODK, Kobo)"
    return None


def _is_beside(table: Table, column: str) -> bool:
    """Whether a column only describes the photo column beside it."""
    name = column.lower()
    if name.endswith(_ADDRESS) and table.column(name.removesuffix(_ADDRESS)):
        return True
    if name.startswith("src_") and table.column("SRC_FILE") and table.column("MODEL_FP"):
        return True  # in an output of ours, these name what it was made from
    is_geotagged = all(table.column(part) for part in _GEOTAGGED)
    return is_geotagged and name in _GEOTAGGED_PARTS


def _homes(inspection: Inspection) -> list[Path]:
    """Folders that paths are relative to by rule: the project's, then the GeoPackage's."""
    if inspection.wish.base is not None:
        return [_real(inspection.wish.base)]
    folder = inspection.schema.path.absolute().parent
    return list(dict.fromkeys(map(_real, (*inspection.hints.homes, folder))))


def _candidates(inspection: Inspection, widget: Widget | None) -> list[Path]:
    """Existing folders to look in, in the order of trial."""
    homes = _homes(inspection)
    folders = list(homes)
    if inspection.wish.base is None:
        above = homes[-1].parent
        if widget is not None and widget.root is not None:
            root = _real(widget.root)
            # A project may not open the whole disk to a run that overwrites files.
            if any(root.is_relative_to(allowed) for allowed in (*homes, above)):
                folders.insert(0, root)
        folders.append(above)
    exports = [home / name for home in homes for name in _EXPORT_FOLDERS]
    moved = [Path(new) for _, new in inspection.wish.remap if Path(new).is_absolute()]
    every = (*folders, *map(_real, (*exports, *moved)))
    return [folder for folder in dict.fromkeys(every) if folder.is_dir()]


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _try(inspection: Inspection, candidates: Sequence[Path], values: Sequence[str]) -> _Trial:
    homes, remap = _homes(inspection), inspection.wish.remap
    anywhere = Resolver(candidates, remap)
    # The folder above the data is only for what is relative to it, not for whatever lies there.
    at_home = Resolver([f for f in candidates if f in homes or f != homes[-1].parent], remap)
    files: dict[Path, Path] = {}
    used = 0
    for value in values:
        resolver = at_home if is_absolute(value) else anywhere
        found = {
            one.path: one.folder
            for one in resolver.resolve(value)
            if one.path is not None and one.folder is not None
        }
        used += bool(found)
        files.update(found)
    photos = sum(_is_photo_file(path) for path in list(files)[:_SNIFFED])
    return _Trial(files=used, photos=photos, folders=tuple(dict.fromkeys(files.values())))


def _is_photo_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_photo(file.read(_HEAD))
    except OSError:
        return False


def _hint(table: Table, column: str, value: str, candidates: Sequence[Path]) -> Findings:
    if is_remote(value):
        reason = f"web addresses such as {value!r}; only files on this machine are read"
    else:
        places = ", ".join(map(str, candidates))
        reason = f"values such as {value!r} look like paths, but none is a photo in {places}"
    hint = Refusal(table=table.name, column=column, layout=LayoutName.PATH, reason=reason)
    return Findings(hints=(hint,))


def _without_previews(inspection: Inspection, found: Findings) -> Findings:
    """Leave out columns of thumbnails where another column of the table has the photos."""
    full = [t for t in found.tables if not t.data.lower().startswith(_PREVIEWS)]
    previews = tuple(
        Refusal(
            table=table.table,
            column=table.data,
            layout=LayoutName.PATH,
            reason=f"small pictures beside {full[0].data}",
        )
        for table in found.tables
        if full and table not in full and not inspection.wish.names(table.table, table.data)
    )
    left_out = {refusal.column for refusal in previews}
    kept = tuple(table for table in found.tables if table.data not in left_out)
    return replace(found, tables=kept) + Findings(excluded=previews)


def _with_common_base(
    tables: Sequence[PhotoTable], inspection: Inspection
) -> tuple[PhotoTable, ...]:
    """Give all tables the base that keys are relative to: what their folders have in common."""
    folders = [folder for table in tables for folder in table.folders]
    if not folders:
        return tuple(tables)
    try:
        base = Path(os.path.commonpath(folders))
    except ValueError as error:
        message = (
            f"{inspection.schema.path}: its photos lie on several drives; name one with --base "
            "and one column with --photo-column at a time"
        )
        raise LayoutError(message) from error
    return tuple(replace(table, base=base) for table in tables)
