"""Results of pixel space, brought to the map."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from attachtrans.errors import ArgumentError
from attachtrans.geo.gridding import Gridding, target_grid
from attachtrans.geo.view import Georef, Grid
from attachtrans.stores.raster import RasterOptions, ResumableWriter, open_raster
from attachtrans.stores.raster.gridded import gridded, lattice_of, rounded
from attachtrans.stores.raster.validity import with_nodata
from attachtrans.tool.rasters.prepare import JOB_TAG, Prepared, digest
from attachtrans.types import Size, Window

_BLOCK = 2048


def job_on_map(prepared: Prepared, asked: Gridding) -> str:
    """The name of a result that is brought to the map: of its pixels, their place and the grid.

    Raises:
        ArgumentError: the source does not say where it lies.
    """
    place, grid = _places(prepared, asked)
    lattice = rounded(lattice_of(place, grid)).tolist()
    return digest([prepared.job, grid.size, repr(grid.affine), grid.crs.to_wkt(), lattice])


def warp(
    result: Path, target: Path, prepared: Prepared, asked: Gridding, options: RasterOptions
) -> None:
    """Bring a finished result in rows and columns to the map's grid.

    Args:
        result: the file of pixel space.
        target: the file to be written.
        prepared: what the result was made of; its georeference is that of its source.
        asked: the grid.
        options: how the target is stored.

    Raises:
        ArgumentError: the source does not say where it lies.
        SinkError: the target cannot be written.
    """
    place, grid = _places(prepared, asked)
    spec, alpha, job = prepared.spec, prepared.view.alpha, job_on_map(prepared, asked)
    spec = replace(
        spec,
        tags={**spec.tags, JOB_TAG: job},
        size=grid.size,
        crs=grid.crs,
        transform=grid.affine,
        gcps=(),
        rpc={},
        masked=spec.nodata is None and not alpha,
    )
    raster = gridded(open_raster(result), grid, place, resampling=asked.resampling)
    with (
        closing(raster),
        ResumableWriter(target, spec, options, job=f"{job} of {prepared.resume_key}") as writer,
    ):
        for number, block in enumerate(_blocks(grid.size)[writer.done :], start=writer.done + 1):
            values, shown = raster.read(block), raster.read_mask(block) > 0
            if spec.nodata is not None:
                values = with_nodata(values, shown, spec.nodata)
            writer.write(values, block)
            if spec.masked:
                writer.write_mask(shown, block)
            writer.checkpoint(number)


def _places(prepared: Prepared, asked: Gridding) -> tuple[Georef, Grid]:
    """Where the pixels of a result lie, and the grid that it is brought to."""
    source = prepared.view.georef
    if source is None:
        raise ArgumentError(
            f"{prepared.view.raster.name} does not say where it lies, so its result cannot be "
            "brought to the map: leave cell size, extent, snap raster and CRS out"
        )
    place = source.resized(prepared.spec.size)
    return place, target_grid(place, asked)


def _blocks(size: Size) -> list[Window]:
    return [
        Window(
            col=col,
            row=row,
            width=min(_BLOCK, size.width - col),
            height=min(_BLOCK, size.height - row),
        )
        for row in range(0, size.height, _BLOCK)
        for col in range(0, size.width, _BLOCK)
    ]
