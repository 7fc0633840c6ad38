"""Driving the append sink as the pipeline does, and looking at what it wrote."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attachtrans.errors import SourceError
from attachtrans.image import sniff
from attachtrans.journal import digest_of
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.catalog import detect
from attachtrans.stores.classes import without_results
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.outputclass import OutputClass, Provenance
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.photos import open_photos
from attachtrans.stores.selection import EVERYTHING, Selection
from attachtrans.types import Draft, Item, Size

MARK = b"translated"


def provenance(model: str = "fp1") -> Provenance:
    return Provenance(model="net", fingerprint=model, arguments='{"scale": 2}', version="1.0")


def draft(item: Item, data: bytes, **changes: Any) -> Draft:
    """A result: the photo with a mark behind it, which decoders do not mind."""
    result = data + MARK
    values = {
        "item": item,
        "data": result,
        "media_type": sniff(data).media_type,
        "extension": sniff(data).extension,
        "reformatted": False,
        "size_in": Size(8, 6),
        "size_out": Size(16, 12),
        "digest_in": digest_of(data),
        "digest_out": digest_of(result),
    }
    return Draft(**{**values, **changes})


def append(
    source: Path,
    output: Path,
    layout: str = "attach",
    *,
    to: str | None = None,
    model: str = "fp1",
    selection: Selection = EVERYTHING,
    stop_after: int | None = None,
    **wish: Any,
) -> Counter[str]:
    """One run; says how many items were done, kept, there already, refused or missing."""
    tables = without_results(source, detect(source, **wish), output, to)
    photos = open_photos(source, tables, selection)
    target = OutputClass(path=output, layer=to, layout=OutputLayout(layout))
    sink = FeatureClassSink(source, photos, target, provenance(model))
    return drive(sink, photos, stop_after=stop_after)


def drive(
    sink: PhotoSink, photos: Any, *, stop_after: int | None = None, **changes: Any
) -> Counter[str]:
    """Bring photos into a sink, as `append` says; closes both."""
    done: Counter[str] = Counter()
    try:
        for item in photos:
            done[step(sink, photos, item, **changes)] += 1
            if stop_after is not None and done["done"] >= stop_after:
                return done
        sink.finish()
    finally:
        sink.close()
        photos.close()
    return done


def step(sink: PhotoSink, photos: Any, item: Item, **changes: Any) -> str:
    """One photo on its way; changes are those of its draft, or make them of the item."""
    try:
        data = photos.read(item)
    except SourceError:
        return "missing"
    if sink.holds(item, digest_of(data)):
        return "already"
    if not sniff(data).is_image:
        sink.keep(item, data)
        return "kept"
    if sink.objection(item, digest_of(data), ()):
        return "refused"
    made = {name: value(item) if callable(value) else value for name, value in changes.items()}
    sink.commit(draft(item, data, **made))
    assert sink.holds(item, digest_of(data))
    return "done"


def rows(path: Path, query: str, parameters: Sequence[object] = ()) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


def value(path: Path, query: str, parameters: Sequence[object] = ()) -> Any:
    return rows(path, query, parameters)[0][0]


def photos_of(path: Path, layout: str, layer: str = "trees") -> Counter[tuple[Any, ...]]:
    """(SRC_FID, MODEL_FP, SRC_ATT, content) of every photo of a class, however it is held."""
    if layout == "attach":
        query = (
            f'SELECT f.SRC_FID, f.MODEL_FP, a.SRC_ATT, a.DATA FROM "{layer}" f '
            f'JOIN "{layer}__ATTACH" a ON a.REL_GLOBALID = f.GlobalID'
        )
    elif layout == "media":
        query = (
            f'SELECT f.SRC_FID, f.MODEL_FP, m.SRC_ATT, m.data FROM "{layer}" f '
            f'JOIN "{layer}_{layer}_media" p ON p.base_id = f.fid '
            f'JOIN "{layer}_media" m ON m.id = p.related_id'
        )
    else:
        names = [r[0] for r in rows(path, "SELECT name FROM pragma_table_info(?)", (layer,))]
        slots = [n.removeprefix("photo") for n in names if n.startswith("photo")]
        query = " UNION ALL ".join(
            f'SELECT SRC_FID, MODEL_FP, SRC_ATT{s}, photo{s} FROM "{layer}" '
            f"WHERE SRC_ATT{s} NOTNULL"
            for s in slots
        )
    found = rows(path, query)
    if layout == "folder":
        found = [(*row[:3], (path.parent / row[3]).read_bytes()) for row in found]
    return Counter(found)


def findings(path: Path) -> list[str]:
    """What validate_gpkg has to say, warnings included."""
    from osgeo_utils.samples import validate_gpkg

    said: list[str] = []
    found = validate_gpkg.check(
        str(path),
        abort_at_first_error=False,
        extra_checks=True,
        warning_msg=True,
        myprint=said.append,
    )
    return said + [message for _, message in found]


def in_other_process(script: str, *arguments: object) -> str:
    """Run Python code where no sqlite3 has the files open; its output."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
