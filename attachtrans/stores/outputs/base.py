"""What every output layout offers: `PhotoStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from attachtrans.stores.carry import OutFeature


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A photo, or another attachment, as it is stored in an output.

    key     SRC_ATT: its key in the source
    digest  SHA-256 in hex of the source's content that it was made from
    extra   values of further columns of the source's photo table, by the output's column names
    """

    key: str
    digest: str
    name: str
    media_type: str
    data: bytes
    extra: Mapping[str, object] = field(default_factory=dict)


class PhotoStore(Protocol):
    """The tables of one output layout beside one output class.

    All methods work on the output's connection; those that write are called in a transaction.
    """

    def create(self, connection: sqlite3.Connection) -> None:
        """Make and register the layout's own tables; the feature table is there."""
        ...

    def differences(self, connection: sqlite3.Connection) -> list[str]:
        """Why the tables that are there do not fit, empty when they do."""
        ...

    def holds(
        self, connection: sqlite3.Connection, feature: OutFeature, key: str, digest: str
    ) -> bool:
        """Whether the feature has the result of this content of the source's attachment."""
        ...

    def put(
        self,
        connection: sqlite3.Connection,
        features: Sequence[OutFeature],
        attachment: Attachment,
    ) -> None:
        """Store an attachment of these features; the one of an earlier content is replaced."""
        ...
