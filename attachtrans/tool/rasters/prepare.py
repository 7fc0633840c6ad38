"""One raster made ready: its grid, its bands, and what its result will be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.gridding import Gridding, target_grid
from attachtrans.geo.view import Georef, Grid
from attachtrans.stores.raster import Raster, RasterImage, RasterSpec
from attachtrans.stores.raster.carrying import carried_back
from attachtrans.stores.raster.chosen_bands import choose_bands
from attachtrans.stores.raster.gridded import gridded
from attachtrans.stores.raster.masking import masked, open_mask
from attachtrans.stores.raster.palette import expanded
from attachtrans.stores.raster.validity import Missing, missing_in
from attachtrans.tool.choices import ModelChoice, Space
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.types import Size

if TYPE_CHECKING:
    from attachtrans.infer.tiling import Plan
    from attachtrans.models.translator import TranslatorSpec

JOB_TAG = "ATTACHTRANS_JOB"
MODEL_TAG = "ATTACHTRANS_MODEL"
# The rows and columns of a raster that lies nowhere, as a place.
_PIXELS = CRS.from_wkt(
    'ENGCRS["rows and columns",EDATUM["the first pixel"],CS[Cartesian,2],AXIS["column",east],'
    'AXIS["row",north],LENGTHUNIT["metre",1]]'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the net sees of a raster.

    raster  on the grid that it is translated on
    image   the raster's file, where it is one
    grid    the grid; None: it has no place, or one that its file says in another way
    georef  of the file's pixels
    holes   there may be pixels without data though the file has none
    alpha   it has an alpha band
    masked  its mask may say more than its nodata
    """

    raster: Raster
    image: RasterImage | None
    grid: Grid | None
    georef: Georef | None
    holes: bool
    alpha: bool
    masked: bool


def look_at(
    raster: Raster,
    choice: RasterChoice,
    space: Space,
    enlarge: float,
    *,
    gridding: Gridding,
    georef: Georef | None,
    numbers: bool = False,
) -> View:
    """Bring an open raster to the grid that it is translated on.

    Args:
        raster: it is closed with the view's.
        choice: what is asked.
        space: in pixel space it keeps its rows and columns.
        enlarge: pixels that a net sees for one, along a side.
        gridding: what is asked of the grid; nothing where it is on that grid already.
        georef: where its pixels lie, None: it does not say.
        numbers: of a palette's colours are meant, and not these.

    Raises:
        ArgumentError, CrsError, GeorefError, SourceError: it cannot be brought there.
    """
    image = raster if isinstance(raster, RasterImage) else None
    says = image is None or image.has_mask
    if image is not None and not numbers:
        shown = expanded(image)
        raster, says = shown, shown.has_mask
    own = isinstance(georef, Grid)
    wish = gridding if space == "map" else Gridding(resampling=gridding.resampling)
    grid = None
    if georef is None and wish.changes:
        raise ArgumentError(
            f"{raster.name} does not say where it lies, so there is no cell size, extent, snap "
            "raster or CRS to bring it to: leave them out, or add its place (gdal_translate "
            "-a_srs, -a_ullr)"
        )
    if georef is None or (space == "pixel" and not own):
        view = _on_own_pixels(raster, enlarge, wish)
    else:
        grid = target_grid(georef, wish, enlarge=enlarge)
        view = gridded(raster, grid, georef, resampling=wish.resampling)
    if choice.mask is not None:
        seen = georef.resized(view.size) if grid is None and georef is not None else grid
        view = masked(view, open_mask(choice.mask), seen)
    return View(
        raster=view,
        image=image,
        grid=grid,
        georef=georef,
        holes=says or choice.mask is not None or wish.changes or (grid is not None and not own),
        alpha="alpha" in raster.colours,
        masked=image is None or view is not image or not image.says_by_value,
    )


def _on_own_pixels(raster: Raster, enlarge: float, wish: Gridding) -> Raster:
    if enlarge == 1.0:
        return raster
    width, height = raster.size
    rows = Grid(PixelToMap(a=1.0, b=0.0, c=0.0, d=0.0, e=-1.0, f=0.0), raster.size, _PIXELS)
    size = Size(max(1, round(width * enlarge)), max(1, round(height * enlarge)))
    return gridded(raster, rows.resized(size), rows, resampling=wish.resampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A raster ready to be translated.

    bands   that the net gets, by number from 1
    spec    of the result
    job     name of what is made: of which raster, in which bands, by which model
    resume_key  name of that and of how it is made, by which an unfinished file is gone on with
    plan    how the net's engine cuts it; None: it takes the raster in one piece
    in_strips  see `infer.excerpts`
    """

    view: View
    bands: tuple[int, ...]
    spec: RasterSpec
    job: str
    resume_key: str
    plan: Plan | None
    in_strips: bool


def prepare(
    view: View, choice: RasterChoice, model: ModelChoice, net: TranslatorSpec, plan: Plan | None
) -> Prepared:
    """Settle bands and result of a raster.

    Raises:
        ArgumentError: there are no such bands, or values that no net takes.
    """
    from attachtrans.infer.ranges import output_dtype
    from attachtrans.infer.tiling import output_size

    raster = view.raster
    names = model.definition.raw.get("Bands")
    bands = choose_bands(
        raster,
        choice.bands,
        count=net.in_bands,
        names=[str(name) for name in names] if isinstance(names, list) else None,
    )
    if not bands:
        raise ArgumentError(f"{raster.name} has no bands besides transparency")
    dtype = output_dtype(raster.dtype, net)
    size = output_size(raster.size, net) if plan is None else plan.out_size
    missing = Missing(None, masked=False)
    if not view.alpha:
        says = missing_in(dtype, nodata=raster.nodata, masked=False, source=raster.dtype)
        missing = says._replace(masked=says.masked or (says.nodata is None and view.holes))
    job = digest([view.raster.fingerprint(), model.fingerprint, list(bands)])
    spec = RasterSpec(
        size=size,
        bands=net.out_bands + view.alpha,
        dtype=dtype,
        nodata=missing.nodata,
        masked=missing.masked,
        tags={**_own_tags(raster), MODEL_TAG: model.definition.name, JOB_TAG: job},
        **_place(view, size),
        **_described(raster, bands, net, alpha=view.alpha),
    )
    in_strips = view.image is not None and view.image.block[0] == view.image.size.width
    return Prepared(
        view=view,
        bands=bands,
        spec=spec,
        job=job,
        resume_key=digest([job, _cut(plan, in_strips=in_strips), __version__]),
        plan=plan,
        in_strips=in_strips,
    )


def _own_tags(raster: Raster) -> Mapping[str, str]:
    """Without those that describe variables and axes of a netCDF file: "x#units"."""
    return {name: text for name, text in raster.tags.items() if "#" not in name}


def _place(view: View, size: Size) -> Mapping[str, Any]:
    """Where the result lies, in the words of `RasterSpec`."""
    if view.grid is not None:
        grid = view.grid.resized(size)
        return {"crs": grid.crs, "transform": grid.affine}
    return {} if view.image is None else carried_back(view.image, size).fields()


def _described(
    raster: Raster, bands: tuple[int, ...], net: TranslatorSpec, *, alpha: bool
) -> Mapping[str, Any]:
    """Names and colours of the result's bands: those that went in, where as many come out."""
    if net.out_bands != len(bands):
        colours = {1: ("gray",), 3: ("red", "green", "blue")}.get(net.out_bands)
        shown = colours or ("undefined",) * net.out_bands
        return {"colours": shown + ("alpha",) * alpha}
    number = [band - 1 for band in bands]
    names = tuple(raster.names[band] for band in number)
    shown = tuple(raster.colours[band] for band in number)
    # GDAL wants red, green and blue all or none, and each once.
    if len(set(shown) - {"undefined", "gray"}) < len([c for c in shown if c not in _PLAIN]):
        shown = ("undefined",) * len(bands)
    return {"names": names, "colours": shown + ("alpha",) * alpha}


_PLAIN = {"undefined", "gray"}


def _cut(plan: Plan | None, *, in_strips: bool) -> list[int]:
    """What of a plan blocks depend on: their shape and number; tiles that fade into each other."""
    from attachtrans.infer.excerpts import block_count

    if plan is None:
        return []
    if plan.exact:
        return [block_count(plan, in_strips=in_strips), in_strips]
    return [len(plan), *plan.tile, plan.columns.overlap, plan.rows.overlap]


def digest(facts: Sequence[object]) -> str:
    """SHA-256 in hex of what JSON can say."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
