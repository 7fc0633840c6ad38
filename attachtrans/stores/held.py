"""What an output holds already, asked without writing to it (for `--dry-run`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attachtrans.stores.geopackage import quote, read_schema, reading
from attachtrans.stores.outputclass import clean_key
from attachtrans.stores.schema import MODEL_FP, PLACE_FP, SRC_ATT


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an output holds by one model.

    digests  of the source contents whose results are there
    moved    keys of photos whose footprints were made of other poses or another ground
    """

    digests: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()

    def has(self, key: str, digest: str) -> bool:
        """Whether the result of this content of a photo is there, placed as it is now."""
        return digest in self.digests and clean_key(key) not in self.moved


def held(output: Path, fingerprint: str, placing: str) -> Held:
    """What the output holds by this model; placing is what PLACE_FP would be now.

    Nothing when the output is not there. Raises SourceError when it cannot be read.
    """
    if not output.exists():
        return Held()
    found: set[str] = set()
    moved: set[str] = set()
    with reading(output) as connection:
        for table in read_schema(connection, output).tables:
            names = [column.name for column in table.columns]
            if MODEL_FP not in names:
                continue
            for name in names:
                if name.startswith("SRC_DIGEST"):
                    query = (
                        f"SELECT {quote(name)} FROM {quote(table.name)} "
                        f"WHERE {MODEL_FP} = ? AND {quote(name)} IS NOT NULL"
                    )
                    found.update(digest for (digest,) in connection.execute(query, (fingerprint,)))
            if PLACE_FP in names:
                query = (
                    f"SELECT {SRC_ATT} FROM {quote(table.name)} WHERE {MODEL_FP} = ? "
                    f"AND {PLACE_FP} <> ?"
                )
                moved.update(key for (key,) in connection.execute(query, (fingerprint, placing)))
    return Held(digests=frozenset(found), moved=frozenset(moved))
