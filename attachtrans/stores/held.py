"""What an output holds already, asked without writing to it (for `--dry-run`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attachtrans.stores.geodatabase.source import as_source
from attachtrans.stores.geopackage import quote, read_schema, reading
from attachtrans.stores.outputclass import clean_key
from attachtrans.stores.schema import MODEL_FP, PLACE_FP, SRC_ATT
from attachtrans.stores.vectortable import paths_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an output holds by one model.

    digests  of the source contents whose results are there
    placed   keys of photos that have footprints, made of these poses and this ground; None: nobody
             wants them
    """

    digests: frozenset[str] = frozenset()
    placed: frozenset[str] | None = None

    def has(self, key: str, digest: str) -> bool:
        """Whether the result of this content of a photo is there, and its footprint."""
        return digest in self.digests and (self.placed is None or clean_key(key) in self.placed)


def held(output: Path, fingerprint: str, placing: str | None) -> Held:
    """What the output holds by this model.

    placing: what PLACE_FP would be now, None where no footprints are wanted. Nothing when the
    output is not there. Raises SourceError when it cannot be read.
    """
    if not output.exists():
        return Held()
    found: set[str] = set()
    placed: set[str] = set()
    source = as_source(output)  # a geodatabase's mirror lives as long as this name
    _, database = paths_of(source)
    with reading(database) as connection:
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
                    f"AND {PLACE_FP} = ?"
                )
                placed.update(key for (key,) in connection.execute(query, (fingerprint, placing)))
    return Held(digests=frozenset(found), placed=None if placing is None else frozenset(placed))
