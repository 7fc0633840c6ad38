"""What an output holds already, asked without writing to it (for `--dry-run`)."""

from __future__ import annotations

from pathlib import Path

from attachtrans.stores.geopackage import quote, read_schema, reading
from attachtrans.stores.schema import MODEL_FP


def held_digests(output: Path, fingerprint: str) -> frozenset[str]:
    """Digests of the source contents whose results by this model are in the output.

    Empty when the output is not there. Raises SourceError when it cannot be read.
    """
    if not output.exists():
        return frozenset()
    found: set[str] = set()
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
    return frozenset(found)
