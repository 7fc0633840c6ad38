"""A sink around another one, which does the work."""

from __future__ import annotations

from attachtrans.stores.base import Objection, PhotoSink
from attachtrans.types import Draft, Item


class SinkAround:
    """What of a `PhotoSink` is that of another one; `finish` and `close` are its subclasses'."""

    def __init__(self, inner: PhotoSink) -> None:
        self._inner = inner

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink."""
        return self._inner.holds(item, digest)

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink."""
        return self._inner.objection(item, digest, marks)

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink."""
        self._inner.keep(item, data)

    def commit(self, draft: Draft) -> None:
        """See PhotoSink."""
        self._inner.commit(draft)
