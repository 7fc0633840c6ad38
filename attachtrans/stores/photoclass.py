"""Results appended with one feature per photo, whose geometry is the photo's footprint.

The sink behind --output with --geometry footprint. The photo hangs on its feature; the feature has
the attributes of the (first) source feature that the photo hangs on, if there is one: photos of a
folder have none.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pyproj import CRS

from attachtrans.errors import ImageError
from attachtrans.image import sniff
from attachtrans.journal import digest_of
from attachtrans.stores.base import Objection, PhotoSource
from attachtrans.stores.carry import Carrier, Origin, raw_text, source_name
from attachtrans.stores.classes import plan_target, prepare, target_names
from attachtrans.stores.extras import ExtraColumns
from attachtrans.stores.features import (
    OutputClass,
    Provenance,
    clean_key,
    describe,
    extra_columns,
    fitting_name,
    furnish_photos,
    photo_fields,
    refuse_own_layer,
)
from attachtrans.stores.geopackage import connect, read_schema
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputs.base import Attachment, PhotoStore
from attachtrans.stores.photofeatures import (
    PHOTO_FIELDS,
    PhotoFeatures,
    PhotoKey,
    furnish_rows,
    photo_class,
    with_footprints,
)
from attachtrans.stores.photos import Photos
from attachtrans.stores.schema import SRC_ATT, ClassPlan, Field
from attachtrans.types import Draft, Item, Placement

_HEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """An output class, the store of its photos, and what copies attributes into it."""

    rows: PhotoFeatures
    store: PhotoStore
    carrier: Carrier | None


class PhotoClassSink:
    """A `PhotoSink` that appends a feature per photo to a GeoPackage."""

    def __init__(
        self,
        source: Path,
        photos: PhotoSource,
        output: OutputClass,
        provenance: Provenance,
        crs: CRS,
    ) -> None:
        """Make or check the output classes.

        source: the GeoPackage or the folder of `photos`. Raises ArgumentError for names that
        cannot be, SchemaError when an existing class does not fit, BusyError, SinkError, and
        SourceError when the source cannot be read.
        """
        self._photos = photos
        self._output = output
        self._origin = Origin(file=source_name(source, output.path), model=provenance.fingerprint)
        self._targets: dict[str, _Target] = {}
        self._added: Counter[str] = Counter()
        self._extras: ExtraColumns | None = None
        self._source: sqlite3.Connection | None = None
        with ExitStack() as stack:
            self._out = OutFile(output.path)
            stack.callback(self._out.close)
            slots = photo_fields(photos, output.layout)
            if isinstance(photos, Photos):
                self._source = connect(source)
                stack.callback(self._source.close)
                self._source.text_factory = raw_text
                self._prepare_layers(source, photos, slots, crs)
            else:
                plan = photo_class(output.layer or source.stem, crs, layer="", extra=slots)
                self._prepare(plan, (), len(slots) // 3)
            for target in self._targets.values():
                describe(self._out, target.rows.plan, self._origin, provenance)
            stack.pop_all()

    def _prepare_layers(
        self, source: Path, photos: Photos, slots: tuple[Field, ...], crs: CRS
    ) -> None:
        """A class for each layer that photos hang on; one for all where they hang on none."""
        connection = connect(source)
        try:
            schema = read_schema(connection, source)
            layers = list(dict.fromkeys(name for t in photos.tables for name in t.layers))
            names = target_names(layers or [source.stem], self._output.layer)
            refuse_own_layer(source, self._output, names)
            self._extras = extra_columns(source, schema, photos.tables, self._output.layout)
            own = [f for f in PHOTO_FIELDS if f.name != SRC_ATT or not slots]
            for layer, name in names.items():
                table = schema.table(layer) if layers else None
                if table is None:
                    plan = photo_class(name, crs, layer="", extra=slots)
                else:
                    extra = (*slots, *own)
                    plan = plan_target(connection, table, name, photos.tables, extra)
                    plan = with_footprints(plan, crs)
                tables = [t for t in photos.tables if layer in t.layers] or photos.tables
                self._prepare(
                    plan, self._extras.fields(tables), len(slots) // 3, source, connection
                )
        finally:
            connection.close()

    def _prepare(
        self,
        plan: ClassPlan,
        extra: Sequence[Field],
        slots: int,
        source: Path | None = None,
        connection: sqlite3.Connection | None = None,
    ) -> None:
        def furnish(connection: sqlite3.Connection, plan: ClassPlan, is_new: bool) -> PhotoStore:  # noqa: FBT001
            furnish_rows(connection, plan, is_new)
            return furnish_photos(
                connection,
                plan,
                is_new,
                output=self._output,
                origin=self._origin,
                extra=tuple(extra),
                slots=slots,
            )

        prepared, store = prepare(self._out, connection, plan, furnish)
        carrier = None
        if source is not None and plan.layer:
            carrier = Carrier(source, self._out, prepared, self._origin)
        self._targets[plan.layer] = _Target(
            rows=PhotoFeatures(prepared, self._origin), store=store, carrier=carrier
        )

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: the photo's feature has the result of this content."""
        target, photo, _ = self._target(item)
        with self._out.lock:
            feature = target.rows.find(self._out.connection, photo)
            return feature is not None and target.store.holds(
                self._out.connection, feature, photo.key, digest
            )

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink: there is none, every photo gets a feature of its own."""
        del item, digest, marks
        return None

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink: byte for byte, on a feature without geometry."""
        media_type = item.media_type or sniff(data[:_HEAD]).media_type
        place = Placement(
            geometry=None, attributes={"NAME": item.name}, problem="not translated, so not placed"
        )
        self._put(item, digest_of(data), (item.name, media_type, data), place)

    def commit(self, draft: Draft) -> None:
        """See PhotoSink: feature and photo in one transaction."""
        content = (fitting_name(draft), draft.media_type, draft.data)
        self._put(draft.item, draft.digest_in, content, draft.placement)
        self._added["photos"] += 1
        if draft.placement is None or draft.placement.geometry is None:
            self._added["without"] += 1

    def _put(
        self, item: Item, digest: str, content: tuple[str, str, bytes], place: Placement | None
    ) -> None:
        target, photo, fid = self._target(item)
        # Read before the transaction: the source may be the same file, which is locked then.
        carried = self._carried(target, fid)
        name, media_type, data = content
        attachment = Attachment(
            key=photo.key,
            digest=digest,
            name=name,
            media_type=media_type,
            data=data,
            extra=self._extra(item),
        )
        try:
            with self._out.transaction() as connection:
                feature = target.rows.put(connection, photo, carried, place)
                target.store.put(connection, [feature], attachment)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"{item.key} does not fit into {self._output.path.name}: {error}"
            raise ImageError(message) from error

    def _target(self, item: Item) -> tuple[_Target, PhotoKey, int | None]:
        """The class of an item's first feature, by what it is known there, and that feature."""
        key = clean_key(item.key)
        for ref in item.features:
            if ref.layer in self._targets:
                return self._targets[ref.layer], PhotoKey(layer=ref.layer, key=key), ref.fid
        layer, target = next(iter(self._targets.items()))
        return target, PhotoKey(layer=layer, key=key), None

    def _carried(self, target: _Target, fid: int | None) -> dict[str, object]:
        if target.carrier is None or self._source is None or fid is None:
            return {}
        return target.carrier.values(self._source, fid) or {}

    def _extra(self, item: Item) -> dict[str, object]:
        if self._extras is None or not isinstance(self._photos, Photos):
            return {}
        return self._extras.values(self._photos.place(item))

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink: check the file, say what is in it."""
        self._out.check()
        names = ", ".join(target.rows.plan.table.name for target in self._targets.values())
        note = f"{self._added['photos']} photos with their footprints were added to {names} in "
        without = self._added["without"]
        lacking = f"; {without} of them have none, PROBLEM says why" if without else ""
        return (f"{note}{self._output.path}{lacking}",)

    def close(self) -> None:
        """See PhotoSink."""
        if self._extras is not None:
            self._extras.close()
        if self._source is not None:
            self._source.close()
        self._out.close()
