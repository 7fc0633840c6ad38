"""Placers for a job: which CRS footprints are in, who finds poses, what is written beside."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pyproj import CRS

from attachtrans.geo.frame import read_crs
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.crs import crs_of
from attachtrans.stores.features import OutputClass
from attachtrans.stores.geopackage import reading
from attachtrans.stores.photos import Photos
from attachtrans.stores.registry import read_geometry
from attachtrans.stores.srs import read_all_srs
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.placer import Placer
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products
from attachtrans.tool.place.viewer import Viewer
from attachtrans.tool.sinks import Job

_WGS84 = CRS.from_epsg(4326)


def open_placer(job: Job, stack: ExitStack) -> Placer:
    """What finds the photos of a job on the map; `stack` closes it.

    Raises:
        SourceError, GeorefError: a table of poses, a camera or an elevation model that cannot be
            read.
        CrsError: --crs is no coordinate system.
        ArgumentError: a folder that cannot be made.
    """
    placing, output = job.writing.placing, job.writing.output
    poser, viewer = open_finders(placing, job.photos, stack)
    asked = None if placing.crs is None else read_crs(placing.crs)
    products = Products(placing=placing, crs=asked)
    products.prepare()
    return Placer(
        placing=placing,
        poser=poser,
        viewer=viewer,
        products=products,
        crs=asked or _class_crs(output, job.photos) or _WGS84,
        map_space=job.writing.space == "map",
        overwrite=output is None,
    )


def open_finders(
    placing: Placing, photos: PhotoSource | None, stack: ExitStack
) -> tuple[Poser, Viewer]:
    """What finds poses, and what makes views of them; `stack` closes both. Raises as above."""
    viewer = Viewer(placing)
    stack.callback(viewer.close)
    poser = Poser(placing, photos)
    stack.callback(poser.close)
    return poser, viewer


def _class_crs(output: OutputClass | Path | None, photos: PhotoSource) -> CRS | None:
    """That of the class that results are appended to, else that of the layer they come from."""
    if isinstance(output, OutputClass) and output.layer and output.path.exists():
        found = layer_crs(output.path, output.layer)
        if found is not None:
            return found
    return source_crs(photos)


def source_crs(photos: PhotoSource | None) -> CRS | None:
    """That of the first layer with one that photos hang on."""
    if not isinstance(photos, Photos):
        return None
    layers = dict.fromkeys(layer for table in photos.tables for layer in table.layers)
    return next((crs for name in layers if (crs := layer_crs(photos.path, name))), None)


def layer_crs(path: Path, layer: str) -> CRS | None:
    """The coordinate system of a GeoPackage's layer, None where it is not known."""
    with reading(path) as connection:
        geometry = read_geometry(connection, layer)
        systems = {srs.srs_id: srs for srs in read_all_srs(connection)}
    return None if geometry is None else crs_of(systems.get(geometry.srs_id))
