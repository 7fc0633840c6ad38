"""The layouts that photos are looked for in."""

from __future__ import annotations

from attachtrans.stores.layouts.base import Layout
from attachtrans.stores.layouts.blobs import BlobColumns
from attachtrans.stores.layouts.esri import EsriAttachments
from attachtrans.stores.layouts.media import RelatedMedia
from attachtrans.stores.layouts.paths import PathColumns

LAYOUTS: tuple[Layout, ...] = (EsriAttachments(), RelatedMedia(), PathColumns(), BlobColumns())
"""Order is order of trial: the registered and the named before what only looks like photos."""
