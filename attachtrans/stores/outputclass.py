"""What sinks that append have in common: the output class, its tables of photos, its metadata."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attachtrans.errors import ArgumentError
from attachtrans.image import Media
from attachtrans.stores.carry import Origin
from attachtrans.stores.extras import ExtraColumns
from attachtrans.stores.filenames import ending_for, split_name
from attachtrans.stores.geopackage import Schema, same
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.outputs.attach import OWN_NAMES as ATTACH_NAMES
from attachtrans.stores.outputs.attach import AttachStore
from attachtrans.stores.outputs.base import PhotoStore
from attachtrans.stores.outputs.columns import ColumnStore, slot_fields
from attachtrans.stores.outputs.media import OWN_NAMES as MEDIA_NAMES
from attachtrans.stores.outputs.media import MediaStore
from attachtrans.stores.registry import add_metadata
from attachtrans.stores.schema import (
    MODEL_FP,
    SRC_FILE,
    SRC_LAYER,
    ClassPlan,
    Field,
    raise_differences,
)
from attachtrans.types import Draft

_METADATA_STANDARD = "urn:attachtrans:provenance:1"
_NAME_LENGTH = 250  # what ATT_NAME holds


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputClass:
    """Where results are appended.

    path    a GeoPackage, made if it is not there; it may be the source
    layer   name of the feature class; None: the name of the source's layer
    folder  of the layout "folder": where photos go, at or below the GeoPackage's own; None: the
            folder <name>_photos beside it
    """

    path: Path
    layer: str | None = None
    layout: OutputLayout = OutputLayout.ATTACH
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.layer is None else f"{self.path}:{self.layer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """By what results were made; `arguments` is JSON text, `fingerprint` tells jobs apart."""

    model: str
    fingerprint: str
    arguments: str
    version: str


def footprints_name(name: str) -> str:
    """What the class of footprints beside an output class is called."""
    return f"{name}_footprints"


def refuse_own_layer(source: Path, output: OutputClass, names: Mapping[str, str]) -> None:
    """Raises ArgumentError when an output class is a layer of the source itself."""
    if output.path.exists() and output.path.samefile(source):
        for layer, name in names.items():
            if same(layer, name):
                message = (
                    f"--output {output.path}: the layer {name} is the source itself; name another "
                    f"one (--output {output.path}:{name}_translated) or use "
                    "--overwrite-attachments"
                )
                raise ArgumentError(message)


def furnish_photos(
    connection: sqlite3.Connection,
    plan: ClassPlan,
    is_new: bool,  # noqa: FBT001 - as `classes.prepare` calls it
    *,
    output: OutputClass,
    origin: Origin,
    extra: tuple[Field, ...],
    slots: int,
) -> PhotoStore:
    """Make or check the tables of an output class's photos.

    slots: photos per feature, where they are in columns. Raises SchemaError.
    """
    store: PhotoStore
    match output.layout:
        case OutputLayout.ATTACH:
            store = AttachStore(plan=plan, extra=extra, model=origin.model)
        case OutputLayout.MEDIA:
            store = MediaStore(plan=plan, extra=extra, origin=origin)
        case OutputLayout.BLOB:
            store = ColumnStore(plan, origin, slots=slots)
        case OutputLayout.FOLDER:
            folder = output.folder or output.path.with_name(f"{output.path.stem}_photos")
            below = folder.relative_to(output.path.parent)
            store = ColumnStore(plan, origin, slots=slots, home=output.path.parent, folder=below)
    if is_new:
        store.create(connection)
    else:
        raise_differences(plan.table.name, store.differences(connection))
    return store


def describe(out: OutFile, plan: ClassPlan, origin: Origin, provenance: Provenance) -> None:
    """Metadata of a class: by which model, with which arguments, from which source."""
    text = json.dumps(
        {
            "software": "attachtrans",
            "version": provenance.version,
            "model": provenance.model,
            MODEL_FP: provenance.fingerprint,
            "arguments": json.loads(provenance.arguments),
            SRC_FILE: origin.file,
            SRC_LAYER: plan.layer,
        },
        ensure_ascii=False,
    )
    with out.transaction() as connection:
        add_metadata(connection, plan.table.name, _METADATA_STANDARD, text)


def extra_columns(
    source: Path, schema: Schema, tables: Sequence[PhotoTable], layout: OutputLayout
) -> ExtraColumns:
    """The further columns of photo tables, for the layouts that have a table of photos."""
    names = {OutputLayout.ATTACH: ATTACH_NAMES, OutputLayout.MEDIA: MEDIA_NAMES}
    tables = tables if layout in names else ()
    return ExtraColumns(source, schema, tables, names.get(layout, ()))


def photo_fields(layout: OutputLayout, slots: int) -> tuple[Field, ...]:
    """The photo columns of a class for so many photos per feature; none in other layouts."""
    if layout not in (OutputLayout.BLOB, OutputLayout.FOLDER):
        return ()
    return slot_fields(slots, "BLOB" if layout is OutputLayout.BLOB else "TEXT")


def fitting_name(draft: Draft) -> str:
    """The photo's name in the source, with an ending that fits the result; at most 250 long."""
    stem, own = split_name(draft.item.name)
    media = Media(media_type=draft.media_type, extension=draft.extension, is_image=True)
    ending = ending_for(media, own)
    return stem[: _NAME_LENGTH - len(ending)] + ending


def clean_key(key: str) -> str:
    """A key that SQLite stores: file names that are not UTF-8 are escaped."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
