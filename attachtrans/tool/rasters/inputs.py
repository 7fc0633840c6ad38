"""The rasters of a source: a file, a collection, a service, each opened when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.mosaics import MosaicChoice, MosaicKind, open_mosaic
from attachtrans.stores.raster import Raster, open_raster
from attachtrans.stores.rasterfolder import FolderFiles, member_path, result_path
from attachtrans.stores.services import (
    Access,
    Address,
    CatalogItem,
    default_cache,
    items,
    open_service,
    redact,
)
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.sources import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterInput:
    """One raster to be translated.

    key         stable and unique within the source
    target      where its result goes
    problem     why it cannot be read, "" when it can
    open        opens it; a raster of a service lies on the grid that was asked for
    """

    key: str
    target: Path
    open: Callable[[], Raster]
    problem: str = ""


@dataclass(slots=True)
class RasterInputs:
    """All rasters of a source, and what to say of them; closes what they share.

    separate  each has a result of its own in a folder
    gridded   they come on the grid that was asked for
    """

    rasters: Sequence[RasterInput]
    separate: bool
    gridded: bool = False
    notes: list[str] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def __iter__(self) -> Iterator[RasterInput]:
        return iter(self.rasters)

    def __len__(self) -> int:
        return len(self.rasters)

    def close(self) -> None:
        """Let go of what the rasters share."""
        self.stack.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which rasters of a source are meant.

    output  a file, or a folder where there are several
    ending  of results in a folder, with its dot
    chosen  layer, condition, patterns and number
    """

    choice: RasterChoice
    output: Path
    ending: str
    chosen: Choice

    def collection(self) -> MosaicChoice:
        """The same in the words of mosaics."""
        choice = self.choice
        return MosaicChoice(
            path_column=choice.path_column,
            date_column=choice.date_column,
            layer=self.chosen.layer,
            where=self.chosen.where,
            asset=choice.asset,
            resampling=choice.resampling,
            patterns=self.chosen.patterns,
            as_mosaic=choice.mosaic,
        )


def of_file(source: str, search: Search) -> RasterInputs:
    """One raster, by the name that GDAL knows it by."""
    one = RasterInput(
        key=Path(source).name, target=search.output, open=partial(open_raster, source)
    )
    return RasterInputs([one], separate=False)


def of_folder(files: FolderFiles, search: Search) -> RasterInputs:
    """The rasters of a folder, each for itself."""
    found = [
        RasterInput(
            key=file.key,
            target=result_path(file, files.folder, search.output, search.ending),
            open=partial(open_raster, file.path),
            problem=file.problem or "",
        )
        for file in files.rasters
    ]
    return RasterInputs(found, separate=True)


def of_collection(source: Path, search: Search) -> RasterInputs:
    """A mosaic, as one raster or each member for itself.

    Raises:
        ArgumentError, SourceError: see `open_mosaic`.
    """
    if search.chosen.limit is not None and search.choice.mode != "separate":
        raise ArgumentError("--limit goes with --processing-mode separate")
    mosaic = open_mosaic(source, search.collection())
    stack = ExitStack()
    stack.callback(mosaic.close)
    try:
        if search.choice.mode == "separate":
            members = list(enumerate(mosaic.members))[: search.chosen.limit]
            found = [
                RasterInput(
                    key=member.name,
                    target=member_path(member.name, search.output, search.ending),
                    open=partial(mosaic.member, index),
                    problem=member.problem or "",
                )
                for index, member in members
            ]
            return RasterInputs(found, separate=True, notes=[*mosaic.notes], stack=stack)
        order = mosaic.order_of(search.choice.order)
        notes = [*mosaic.notes]
        if mosaic.kind is not MosaicKind.VRT:
            notes.append(f"where rasters overlap, the order is: {order} (--overlap-order)")
        one = RasterInput(
            key=source.name, target=search.output, open=partial(mosaic.mosaicked, order)
        )
        return RasterInputs([one], separate=False, notes=notes, stack=stack)
    except BaseException:
        stack.close()
        raise


def of_service(address: Address, search: Search) -> RasterInputs:
    """A service, as one raster or each raster of its catalog for itself.

    Raises:
        ArgumentError, SourceError: see `open_service`, `items`.
    """
    choice, asked = search.choice, search.choice.gridding()
    notes: list[str] = []
    access = _access(address, choice, notes)
    if choice.mode == "separate":
        found = [
            RasterInput(
                key=f"{one.name} ({one.number})",
                target=member_path(f"{one.number}", search.output, search.ending),
                open=partial(_opened, address, asked, access, notes, one),
            )
            for one in items(address, asked, access)[: search.chosen.limit]
        ]
        if not found:
            raise SourceError(f"{redact(address.url)}: no raster of its catalog touches the extent")
        return RasterInputs(found, separate=True, gridded=True, notes=notes)
    one = RasterInput(
        key=address.layer or str(address.kind),
        target=search.output,
        open=partial(_opened, address, asked, access, notes),
    )
    return RasterInputs([one], separate=False, gridded=True, notes=notes)


def _access(address: Address, choice: RasterChoice, notes: list[str]) -> Access:
    """How a service is asked; credentials only where the user names the address himself."""
    access = Access.from_environment().with_(
        cache=choice.cache or default_cache(), keep_blank=choice.keep_blank
    )
    if choice.rate is not None:
        access = access.with_(rate=choice.rate)
    if not address.named and (access.token or access.headers):
        access = access.with_(token=None, headers={})
        notes.append(
            f"a layer file leads to {redact(address.url)}, so the credentials of the environment "
            "are not sent there; to send them, name the address itself instead of the layer file"
        )
    return access


def _opened(
    address: Address,
    asked: Gridding,
    access: Access,
    notes: list[str],
    item: CatalogItem | None = None,
) -> Raster:
    """The pixels of a service; what was chosen for them is noted once."""
    service = open_service(address, asked, access, item=item)
    notes.extend(note for note in service.notes if note not in notes)
    return service.raster
