"""`attachtrans ortho`: photos rectified to the map, each by itself or all in one raster."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError, ImageError, SourceError
from attachtrans.geo.ground import DemGround
from attachtrans.geo.pose import Pose
from attachtrans.image import Limits, Probe, decode, probe
from attachtrans.image.arrays import stored, turned
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.durable import held
from attachtrans.tool.place.abreast import Abreast, hands_for
from attachtrans.tool.place.options import Placing, user_crs
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products, product_names
from attachtrans.tool.place.viewer import Seen, Viewer
from attachtrans.tool.sources import Choice, open_source
from attachtrans.types import Item, Size

if TYPE_CHECKING:
    from attachtrans.geo.mosaic import Seam
    from attachtrans.tool.place.mosaics import Kind, Mosaicker, Watch

PathLike = str | os.PathLike[str]
Pixels = NDArray[Any]
Decoded = tuple[Pixels, Pixels | None]
OrthoStatus = Literal["written", "planned", "failed", "skipped"]

_COPIES = 3
"""Of a photo and of the heights that it lies on, while its ortho is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthoOutcome:
    """What became of one photo."""

    key: str
    status: OrthoStatus
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as one line of a `--report` file holds them."""
        return asdict(self)


class _Tools(NamedTuple):
    """What the photos of a run share; thread-safe."""

    poser: Poser
    viewer: Viewer
    products: Products
    abreast: Abreast


class _Shown(NamedTuple):
    """A photo that can be a part of a mosaic; `kind` is None where none will be written."""

    item: Item
    pose: Pose
    seen: Seen
    kind: Kind | None


@dataclass(slots=True, kw_only=True)
class Orthos:
    """One prepared run; iterate over it once, an `OrthoOutcome` per photo, in the source's order.

    mosaic  one raster for all, besides or instead of one per photo; written after the last photo
    seam    which photo shows a place that several show
    watch   is told how much of the mosaic is done
    hands   threads that photos are rectified in; results do not depend on their number
    """

    photos: PhotoSource
    placing: Placing
    mosaic: Path | None
    seam: Seam
    limits: Limits
    dry_run: bool
    hands: int = 1
    crs: CRS | None = None
    watch: Watch | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Generator[OrthoOutcome, None, None]:
        """Run; raises what stops every photo."""
        with ExitStack() as stack:
            stack.callback(self.photos.close)
            viewer = Viewer(self.placing)
            stack.callback(viewer.close)
            poser = Poser(self.placing, self.photos)
            stack.callback(poser.close)
            abreast = Abreast(self.hands)
            names = product_names(item.key for item in self.photos)
            products = Products(placing=self.placing, crs=self.crs, names=names, stop=abreast.stop)
            if not self.dry_run:
                products.prepare(stack)
                if self.mosaic is not None:
                    stack.enter_context(held(self.mosaic))
            mosaic = self._mosaicker()
            work = partial(self._one, _Tools(poser, viewer, products, abreast))
            results = abreast.each(self.photos, work)
            stack.callback(results.close)
            for outcome, shown in results:
                yield outcome if mosaic is None else _added(mosaic, outcome, shown)
            if mosaic is not None and len(mosaic):
                grid = mosaic.grid() if self.dry_run else mosaic.write(viewer, self.watch)
                self.notes.append(
                    f"{len(mosaic)} photos in one raster of {grid.size.width} x "
                    f"{grid.size.height} pixels of {grid.affine.a:g} in {grid.crs.name}"
                )
            self.notes.extend((*poser.notes, *viewer.notes))

    def _mosaicker(self) -> Mosaicker | None:
        if self.mosaic is None:
            return None
        from attachtrans.tool.place.mosaics import Mosaicker

        return Mosaicker(
            path=self.mosaic,
            seam=self.seam,
            placing=self.placing,
            crs=self.crs,
            fetch=lambda item: self._decoded(self.photos.read(item)),
        )

    def _one(self, tools: _Tools, item: Item) -> tuple[OrthoOutcome, _Shown | None]:
        """One photo, but for its place in a mosaic. Raises what stops every photo."""
        try:
            data = self.photos.read(item)
            header = probe(data)
            if header.skip or header.size is None:
                reason = header.skip or f"is no image ({header.media.media_type})"
                return OrthoOutcome(key=item.key, status="skipped", reason=reason), None
            size = turned(header.size, header.orientation)
            pose = tools.poser.pose(item, data, size, header.orientation)
            seen = tools.viewer.view(pose, size)
            kind = None
            if self.dry_run:
                tools.products.grid(seen)
            else:
                with tools.abreast.room(_cost(header, seen)):
                    kind = self._write(tools.products, item, data, seen)
        except ImageError as error:
            return OrthoOutcome(key=item.key, status="skipped", reason=str(error)), None
        except (ArgumentError, GeorefError, SourceError) as error:
            # Options were looked at before: an argument that is wrong is a number of this photo.
            return OrthoOutcome(key=item.key, status="failed", reason=str(error)), None
        outcome = OrthoOutcome(key=item.key, status="planned" if self.dry_run else "written")
        return outcome, None if self.mosaic is None else _Shown(item, pose, seen, kind)

    def _write(self, products: Products, item: Item, data: bytes, seen: Seen) -> Kind | None:
        """The photo's own files; what its pixels are like where a mosaic will have them."""
        pixels, alpha = self._decoded(data)
        if self.placing.has_products:
            products.write(item.key, seen, pixels, alpha)
        if self.mosaic is None:
            return None
        from attachtrans.tool.place.mosaics import Kind

        return Kind.of(pixels, alpha)

    def _decoded(self, data: bytes) -> Decoded:
        """(bands, height, width) and transparency, in stored order."""
        photo = decode(data, self.limits)
        alpha = None if photo.alpha is None else stored(photo.alpha[None], photo.orientation)[0]
        return stored(photo.pixels, photo.orientation), alpha


def _added(mosaic: Mosaicker, outcome: OrthoOutcome, shown: _Shown | None) -> OrthoOutcome:
    """What becomes of a photo when a mosaic takes it in, which is in the source's order."""
    if shown is None:
        return outcome
    try:
        mosaic.add(*shown)
    except (ArgumentError, GeorefError) as error:  # see `_one`
        return replace(outcome, status="failed", reason=str(error))
    return outcome


def _cost(header: Probe, seen: Seen) -> int:
    """Bytes that a photo holds at its peak: decoded, turned, packed; and its elevation model."""
    size, surface = header.size or Size(0, 0), seen.view.surface
    depth = header.dtype.itemsize if header.dtype else 1
    pixels = size.width * size.height * max(header.bands or 3, 3) * depth
    heights = surface.surface.heights.nbytes if isinstance(surface, DemGround) else 0
    return _COPIES * (pixels + heights)


def plan_orthos(  # noqa: PLR0913 - the command's face: every option by name
    source: PathLike,
    folder: PathLike | None = None,
    *,
    mosaic: PathLike | None = None,
    seam: Seam = "nearest",
    choice: Choice | None = None,
    placing: Placing | None = None,
    max_pixels: int = 500_000_000,
    dry_run: bool = False,
) -> Orthos:
    """Prepare orthos of photos: check everything, write nothing.

    source   GeoPackage with photos, folder of photos, or one photo
    folder   for one GeoTIFF per photo
    mosaic   one GeoTIFF of all photos; seam: of several photos the nearest camera's ("nearest") or
             the one with most pixels ("sharpest") shows a place
    choice   which photos of the source
    placing  where photos were taken and what they look at

    Raises ArgumentError, SourceError (LayoutError), CrsError.
    """
    if folder is None and mosaic is None:
        raise ArgumentError(
            "say where orthos go: -o FOLDER for one each, --mosaic FILE.tif for all"
        )
    path = None if mosaic is None else Path(mosaic)
    if path is not None and path.suffix.lower() not in {".tif", ".tiff"}:
        raise ArgumentError(f"--mosaic {path}: name a GeoTIFF, like all.tif")
    if path is not None and not path.resolve().parent.is_dir():
        raise ArgumentError(f"--mosaic: there is no folder {path.resolve().parent}; make it first")
    wish = placing or Placing()
    if folder is not None:
        wish = replace(wish, ortho=Path(folder))
    crs = None if wish.crs is None else user_crs("--crs", wish.crs)
    photos, _ = open_source(Path(source), choice or Choice())
    return Orthos(
        photos=photos,
        placing=wish,
        mosaic=path,
        seam=seam,
        limits=Limits(max_pixels=max_pixels),
        dry_run=dry_run,
        hands=hands_for(len(photos)),
        crs=crs,
    )
