"""What every store of photos offers: a source yields items, a sink commits drafts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from attachtrans.types import Draft, Item


class Objection(NamedTuple):
    """A reason not to translate a photo; by_rule: it is left out on purpose, nothing is wrong."""

    reason: str
    by_rule: bool = False


class PhotoSource(Protocol):
    """Attachments by key. Items are listed before anything is written; `read` is thread-safe."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...

    def read(self, item: Item) -> bytes:
        """The encoded content, unchanged. Raises SourceError when it is missing or unreadable."""
        ...

    def close(self) -> None: ...


class PhotoSink(Protocol):
    """Where results go.

    `holds` and `objection` are thread-safe; `keep`, `commit`, `finish` and `close` are called from
    one thread.
    """

    def holds(self, item: Item, digest: str) -> bool:
        """Whether this job has already dealt with this content (SHA-256 in hex) of the item."""
        ...

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """A reason not to translate this content, None when there is none.

        marks are the lines that earlier runs of attachtrans left in the photo's ImageHistory.
        """
        ...

    def keep(self, item: Item, data: bytes) -> None:
        """Carry an attachment over untouched: not an image, or one that must not be re-encoded."""
        ...

    def commit(self, draft: Draft) -> None:
        """Make one result durable, all or nothing.

        Raises ImageError when this one result cannot be stored, ChangedError when somebody else
        changed the photo meanwhile, SinkError when nothing can be stored any more.
        """
        ...

    def finish(self) -> tuple[str, ...]:
        """Bring the output into its final state after the last commit; notes for the user."""
        ...

    def close(self) -> None: ...
