"""What a run of the tool was asked for, checked: model, running, writing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from attachtrans.errors import ArgumentError
from attachtrans.infer.tiling import SEAMS
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.stores.indexed import rows_of
from attachtrans.stores.outputclass import OutputClass
from attachtrans.stores.overwrite import Safety
from attachtrans.stores.photoindex import IndexKind
from attachtrans.tool.place.options import Placing

Space = Literal["pixel", "map"]
Geometry = Literal["source", "footprint", "both"]
GEOMETRIES: tuple[Geometry, ...] = ("source", "footprint", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How the net runs: devices, precision, seams and compat as on the command line.

    compat      the release of arcgis.learn that is followed up to its last cast, None = ours
    trust_code  whether Python code that comes with the model may run
    compiles    whether torch compiles the net before the run
    """

    devices: str
    precision: str
    seams: str
    compat: str | None
    trust_code: bool
    compiles: bool

    def __post_init__(self) -> None:
        if self.seams not in SEAMS:
            raise ArgumentError(f"--seams {self.seams}: one of {', '.join(SEAMS)} is allowed")
        ways = {
            f"--seams {self.seams}": self.seams != "blend",
            f"--compat {self.compat}": self.compat is not None,
            "--compile": self.compiles,
        }
        given = [way for way, is_given in ways.items() if is_given]
        if len(given) > 1:
            raise ArgumentError(f"{given[0]} does not go with {given[1]}: give one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model, with its typed arguments; `shown` are those that were given or set.

    fingerprint  of the job: model, arguments that change pixels, how results are encoded
    running     how the net runs
    enlarge     factor by which photos are enlarged before the net sees them
    """

    definition: ModelDefinition
    arguments: TilingArguments
    shown: dict[str, Any]
    fingerprint: str
    running: Running
    enlarge: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Where and how results are written.

    output    a feature class, a folder, None: in the photos' place
    geometry  of a feature class or an index: the source's, a footprint per photo, or both in two
              classes
    placing   where photos were taken and what they look at
    index     of a folder: its kind, "none" for rows without an index (photos of a feature class
              have rows always), None for a plain tree of files
    """

    output: OutputClass | Path | None
    safety: Safety
    format: str | None
    quality: int | None
    max_pixels: int
    space: Space
    restart: bool
    vacuum: bool
    geometry: Geometry
    placing: Placing
    index: IndexKind | None = None

    @property
    def rows(self) -> OutputClass | None:
        """The feature class that results have rows in, be it the one behind an index."""
        if isinstance(self.output, Path) and self.index is not None:
            return rows_of(self.output)
        return self.output if isinstance(self.output, OutputClass) else None

    @property
    def target(self) -> Path | None:
        """The file or folder that is written, None for the source itself."""
        return self.output.path if isinstance(self.output, OutputClass) else self.output

    @property
    def footprints(self) -> bool:
        """Whether footprints are wanted."""
        return self.geometry != "source"

    @property
    def looks(self) -> bool:
        """Whether photos are looked for on the map."""
        return self.footprints or self.space == "map" or self.placing.has_products


def index_kind(asked: IndexKind | None, *, to_folder: bool, of_features: bool) -> IndexKind | None:
    """What index a folder of results has (`Writing.index`): photos of features have one.

    Raises ArgumentError for an index where there is no folder.
    """
    if not to_folder:
        if asked is not None:
            raise ArgumentError(f"--index {asked} goes with --output FOLDER only")
        return None
    if of_features:
        return asked or "geojson"
    return None if asked == "none" else asked
