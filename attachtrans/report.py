"""What happened to each item of a run, and the sum of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attachtrans.types import Item, Size

if TYPE_CHECKING:
    import geopandas


class Status(StrEnum):
    """What became of one attachment.

    TRANSLATED  committed by this run
    PLANNED     would be translated (dry run)
    ALREADY     was translated by an earlier run of the same job
    SKIPPED     left as it is by rule: not an image, an animation, an undecodable file ...
    REFUSED     left as it is because going on could do harm (changed meanwhile, journal lost)
    FAILED      could not be read, translated or stored; left as it is
    """

    TRANSLATED = "translated"
    PLANNED = "planned"
    ALREADY = "already"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item.

    reason      why it was skipped, refused or failed; of a translated photo, why it has no place on
                the map where one was asked for ("" otherwise)
    seconds     from reading to commit
    seam_ratio  mean step across tile borders over mean step elsewhere, where tiles were blended
    """

    item: Item
    status: Status
    reason: str = ""
    seconds: float = 0.0
    size_in: Size | None = None
    size_out: Size | None = None
    digest_in: str | None = None
    digest_out: str | None = None
    seam_ratio: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as one line of a `--report` file holds them."""
        return {
            "key": self.item.key,
            "name": self.item.name,
            "features": [[ref.layer, ref.fid] for ref in self.item.features],
            "status": str(self.status),
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "size_in": list(self.size_in) if self.size_in else None,
            "size_out": list(self.size_out) if self.size_out else None,
            "digest_in": self.digest_in,
            "digest_out": self.digest_out,
            "seam_ratio": None if self.seam_ratio is None else round(self.seam_ratio, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcomes of a run, where its results are and how they were made.

    output is the file (and layer) that was written; model and arguments say by what; notes are
    what the run wants its user to know.
    """

    outcomes: tuple[Outcome, ...]
    source: Path
    output: str
    model: str
    fingerprint: str
    arguments: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no item failed or was refused."""
        return not (self.counts[Status.FAILED] or self.counts[Status.REFUSED])

    @property
    def counts(self) -> Counter[Status]:
        """How many items have each status."""
        return Counter(outcome.status for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        return {
            "source": str(self.source),
            "output": self.output,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "arguments": self.arguments,
            "ok": self.ok,
            "counts": {str(status): count for status, count in sorted(self.counts.items())},
            "notes": list(self.notes),
            "items": [outcome.to_dict() for outcome in self.outcomes],
        }

    def to_geodataframe(self) -> geopandas.GeoDataFrame:
        """One row per item and feature it hangs on, with that feature's geometry.

        Items that hang on no feature have no geometry. The CRS is that of the first layer; other
        layers are transformed to it.
        """
        import geopandas
        import pandas as pd

        rows = [
            {
                **outcome.to_dict(),
                "layer": ref.layer if ref else None,
                "fid": ref.fid if ref else None,
            }
            for outcome in self.outcomes
            for ref in (outcome.item.features or (None,))
        ]
        frame = pd.DataFrame(rows).drop(columns="features", errors="ignore")
        geometry = pd.Series([None] * len(frame), index=frame.index, dtype=object)
        crs = None
        for layer in dict.fromkeys(row["layer"] for row in rows if row["layer"]):
            features = geopandas.read_file(self.source, layer=layer, columns=[], fid_as_index=True)
            if isinstance(features, geopandas.GeoDataFrame):
                crs = crs or features.crs
                if crs is not None and features.crs is not None:
                    features = features.to_crs(crs)
                mine = frame["layer"] == layer
                geometry[mine] = features.geometry.reindex(frame.loc[mine, "fid"]).to_numpy()
        return geopandas.GeoDataFrame(frame, geometry=geopandas.GeoSeries(geometry, crs=crs))
