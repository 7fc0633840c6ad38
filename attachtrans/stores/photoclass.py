"""Results appended with one feature per photo, whose geometry is the photo's footprint.

The sink behind --output with --geometry footprint. The photo hangs on its feature; the feature has
the attributes of the (first) source feature that the photo hangs on, if there is one: photos of a
folder have none.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from attachtrans.errors import GeorefError, ImageError
from attachtrans.image import sniff
from attachtrans.journal import digest_of
from attachtrans.stores.base import Objection, PhotoSource
from attachtrans.stores.carry import Carrier, Origin, raw_text, source_name
from attachtrans.stores.classes import plan_target, prepare, target_names
from attachtrans.stores.extras import ExtraColumns
from attachtrans.stores.geopackage import connect, read_schema
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputclass import (
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
from attachtrans.stores.outputs.base import Attachment, PhotoStore
from attachtrans.stores.photofeatures import (
    PHOTO_FIELDS,
    PLACING_FIELD,
    Footprinting,
    PhotoFeatures,
    PhotoKey,
    fitted,
    furnish_rows,
    photo_class,
    with_footprints,
)
from attachtrans.stores.photos import Photos
from attachtrans.stores.pixelcolumns import pixel_columns, scaled_columns, stored_sizes
from attachtrans.stores.schema import SRC_ATT, ClassPlan, Field
from attachtrans.types import Draft, Item, Placement

_HEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """An output class, the store of its photos, and what copies attributes into it.

    pixels  the carried columns that are measured in pixels
    """

    rows: PhotoFeatures
    store: PhotoStore
    carrier: Carrier | None
    pixels: tuple[str, ...]


class PhotoClassSink:
    """A `PhotoSink` that appends a feature per photo to a GeoPackage."""

    def __init__(
        self,
        source: Path,
        photos: PhotoSource,
        output: OutputClass,
        provenance: Provenance,
        footprints: Footprinting,
    ) -> None:
        """Make or check the output classes.

        source: the file or the folder of `photos`. Raises ArgumentError for names that cannot be,
        SchemaError when an existing class does not fit, BusyError, SinkError, and
        SourceError when the source cannot be read.
        """
        self._photos = photos
        self._output = output
        self._origin = Origin(file=source_name(source, output.path), model=provenance.fingerprint)
        self._footprints = footprints
        self._targets: dict[str, _Target] = {}
        self._added: Counter[str] = Counter()
        self._notes: list[str] = []
        self._extras: ExtraColumns | None = None
        self._source: sqlite3.Connection | None = None
        names = class_names(source, photos, output.layer)
        if isinstance(photos, Photos):
            refuse_own_layer(source, output, names)
        with ExitStack() as stack:
            stack.callback(self._close_source)
            self._out = OutFile(output.path)
            stack.callback(self._out.close)
            if isinstance(photos, Photos):
                self._source = connect(photos.database)
                self._source.text_factory = raw_text
                self._prepare_layers(photos, names)
            else:
                for layer, name in names.items():
                    self._prepare(self._bare(name, layer), ())
            for target in self._targets.values():
                describe(self._out, target.rows.plan, self._origin, provenance)
            stack.pop_all()

    @property
    def _slots(self) -> tuple[Field, ...]:
        """The columns of a class for its photo: each feature has one."""
        return photo_fields(self._output.layout, 1)

    def _bare(self, name: str, layer: str) -> ClassPlan:
        """A class without attributes of a source's features."""
        extra = (*self._slots, PLACING_FIELD)
        return photo_class(name, self._footprints.crs_of(layer), layer=layer, extra=extra)

    def _prepare_layers(self, photos: Photos, names: dict[str, str]) -> None:
        """A class per layer; those that are there first, so that a misfit makes nothing."""
        connection = connect(photos.database)
        try:
            schema = read_schema(connection, photos.path)
            self._extras = extra_columns(
                photos.database, schema, photos.tables, self._output.layout
            )
            there = self._out.schema()
            for layer, name in sorted(names.items(), key=lambda pair: there.table(pair[1]) is None):
                table = schema.table(layer)
                if table is None:
                    plan = self._bare(name, layer)
                else:
                    own = [f for f in PHOTO_FIELDS if f.name != SRC_ATT or not self._slots]
                    extra = (*self._slots, PLACING_FIELD, *own)
                    plan = plan_target(connection, table, name, photos.tables, extra)
                    plan = with_footprints(plan, self._footprints.crs_of(layer))
                first = next(iter(names)) == layer
                tables = [t for t in photos.tables if layer in t.layers or (first and not t.layers)]
                self._prepare(plan, self._extras.fields(tables), connection)
        finally:
            connection.close()

    def _prepare(
        self, plan: ClassPlan, extra: Sequence[Field], source: sqlite3.Connection | None = None
    ) -> None:
        def furnish(connection: sqlite3.Connection, plan: ClassPlan, is_new: bool) -> PhotoStore:  # noqa: FBT001
            furnish_rows(connection, plan, is_new)
            return photos(connection, plan, is_new)

        photos = partial(
            furnish_photos, output=self._output, origin=self._origin, extra=tuple(extra), slots=1
        )
        plan = fitted(self._out.connection, self._out.schema().table(plan.table.name), plan)
        prepared, store = prepare(self._out, source if plan.layer_key else None, plan, furnish)
        carrier = None
        if plan.layer_key and isinstance(self._photos, Photos):
            carrier = Carrier(self._photos.database, self._out, prepared, self._origin)
        self._targets[plan.layer] = _Target(
            rows=PhotoFeatures(prepared, self._origin, self._footprints.placing),
            store=store,
            carrier=carrier,
            pixels=pixel_columns(f.name for f in prepared.table.fields if f.source),
        )

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: the photo's feature has the result of this content, placed like this."""
        layer, target = self._target(item)
        photo = PhotoKey(layer=layer, key=clean_key(item.key))
        with self._out.lock:
            feature = target.rows.placed(self._out.connection, photo)
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
        content = (item.name, media_type, data)
        self._put(
            item, self._attachment(item, digest_of(data), content), self._carried(item), place
        )

    def commit(self, draft: Draft) -> None:
        """See PhotoSink: feature and photo in one transaction."""
        content = (fitting_name(draft), draft.media_type, draft.data)
        attachment = self._attachment(draft.item, draft.digest_in, content)
        carried = self._rescaled(self._carried(draft.item), draft)
        self._put(draft.item, attachment, carried, draft.placement)
        self._added["photos"] += 1
        if draft.placement is None or draft.placement.geometry is None:
            self._added["without"] += 1

    def _attachment(self, item: Item, digest: str, content: tuple[str, str, bytes]) -> Attachment:
        # Read before the transaction, and so is `_carried`: the source may be the same file, which
        # is locked then.
        name, media_type, data = content
        extra: dict[str, object] = {}
        if self._extras is not None and isinstance(self._photos, Photos):
            extra = self._extras.values(self._photos.place(item))
        return Attachment(
            key=clean_key(item.key),
            digest=digest,
            name=name,
            media_type=media_type,
            data=data,
            extra=extra,
        )

    def _put(
        self,
        item: Item,
        attachment: Attachment,
        carried: Mapping[str, object],
        place: Placement | None,
    ) -> None:
        layer, target = self._target(item)
        photo = PhotoKey(layer=layer, key=attachment.key)
        try:
            with self._out.transaction() as connection:
                feature = target.rows.put(connection, photo, carried, place)
                target.store.put(connection, [feature], attachment)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"{item.key} does not fit into {self._output.path.name}: {error}"
            raise ImageError(message) from error

    def _target(self, item: Item) -> tuple[str, _Target]:
        """The class that a photo goes into, and its layer."""
        layer = layer_of(self._photos, item)
        return layer, self._targets[layer]

    def _carried(self, item: Item) -> dict[str, object]:
        """The attributes of the first feature that a photo hangs on."""
        _, target = self._target(item)
        if target.carrier is None or self._source is None or not item.features:
            return {}
        return target.carrier.values(self._source, item.features[0].fid) or {}

    def _rescaled(self, carried: dict[str, object], draft: Draft) -> dict[str, object]:
        """Attributes with what they say in pixels said for the result.

        Not where the result is an ortho: they speak of the photo, which it no longer is.
        """
        _, target = self._target(draft.item)
        if not target.pixels or (draft.placement is not None and draft.placement.rectified):
            return carried
        before, after = stored_sizes(draft)
        if before == after:
            return carried
        try:
            return carried | scaled_columns(carried, target.pixels, before, after)
        except GeorefError as error:
            self._notes.append(f"{draft.item.key}: attributes were left as they are: {error}")
            return carried

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink: check the file, say what is in it."""
        self._out.check()
        names = ", ".join(target.rows.plan.table.name for target in self._targets.values())
        note = f"{self._added['photos']} photos with their footprints were added to {names} in "
        without = self._added["without"]
        lacking = f"; {without} of them have none, PROBLEM says why" if without else ""
        return (f"{note}{self._output.path}{lacking}", *self._notes)

    def close(self) -> None:
        """See PhotoSink."""
        self._close_source()
        self._out.close()

    def _close_source(self) -> None:
        if self._extras is not None:
            self._extras.close()
        if self._source is not None:
            self._source.close()


def layers_of(photos: PhotoSource) -> tuple[str, ...]:
    """The layers that photos hang on; one without a name where there are none."""
    if not isinstance(photos, Photos):
        return ("",)
    return tuple(dict.fromkeys(name for t in photos.tables for name in t.layers)) or ("",)


def layer_of(photos: PhotoSource, item: Item) -> str:
    """In the class of which layer a photo goes: of its first feature, or of its table."""
    if item.features:
        return item.features[0].layer
    own = photos.place(item).table.layers if isinstance(photos, Photos) else ()
    return own[0] if own else layers_of(photos)[0]


def class_names(source: Path, photos: PhotoSource, layer: str | None) -> dict[str, str]:
    """What the output class of each layer is called; see `layers_of`. Raises ArgumentError.

    layer: the name that was asked for.
    """
    layers = layers_of(photos)
    if layers != ("",):
        return target_names(layers, layer)
    path = source.resolve()
    own = path.name if path.is_dir() else path.stem
    return {"": target_names([own], layer)[own]}
