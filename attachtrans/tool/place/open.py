"""Placers for a job: which CRS footprints are in, who finds poses, what is written beside."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pyproj import CRS

from attachtrans.errors import SourceError
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.crs import crs_of
from attachtrans.stores.geodatabase.source import as_source
from attachtrans.stores.geopackage import reading
from attachtrans.stores.outputclass import footprints_name
from attachtrans.stores.photoclass import class_names, layer_of
from attachtrans.stores.photofeatures import Footprinting
from attachtrans.stores.photos import Photos
from attachtrans.stores.registry import read_geometry
from attachtrans.stores.srs import read_all_srs
from attachtrans.stores.vectortable import paths_of
from attachtrans.tool.place.options import Placing, user_crs
from attachtrans.tool.place.placer import Placer
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products, product_names
from attachtrans.tool.place.viewer import Viewer
from attachtrans.tool.sinks import Job
from attachtrans.types import Item

_WGS84 = CRS.from_epsg(4326)


def open_placer(job: Job, footprints: Footprinting, stack: ExitStack) -> Placer:
    """What finds the photos of a job on the map; `stack` closes it.

    Raises:
        SourceError, GeorefError: a table of poses, a camera or an elevation model that cannot be
            read.
        CrsError: --crs is no coordinate system.
        ArgumentError: options that do not fit each other or what is there.
    """
    writing = job.writing
    poser, viewer = open_finders(writing.placing, job.photos, stack)
    names = product_names(item.key for item in job.photos) if writing.placing.has_products else {}
    products = Products(placing=writing.placing, crs=_asked(writing.placing), names=names)

    def system_of(item: Item) -> CRS:
        return footprints.crs_of(layer_of(job.photos, item))

    return Placer(
        placing=writing.placing,
        poser=poser,
        viewer=viewer,
        products=products,
        crs_of=system_of if writing.footprints else None,
        map_space=writing.space == "map",
        overwrite=writing.output is None,
        max_pixels=writing.max_pixels,
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


def footprinting(job: Job) -> Footprinting:
    """What the footprints of a job are in: --crs, else what each layer's class or layer is in.

    Raises:
        CrsError: --crs is no coordinate system.
        ArgumentError: layers that cannot be called as asked.
    """
    writing, output = job.writing, job.writing.rows
    mark, asked = writing.placing.footprints_fingerprint, _asked(writing.placing)
    if asked is not None or output is None or not writing.footprints:
        return Footprinting(crs=asked or _WGS84, placing=mark)
    found = {}
    for layer, name in class_names(job.source, job.photos, output.layer).items():
        result = footprints_name(name) if writing.geometry == "both" else name
        crs = _class_crs(output.path, result)
        if crs is None and layer:
            crs = layer_crs(job.photos.database, layer)
        if crs is not None:
            found[layer] = crs
    return Footprinting(crs=_WGS84, layers=found, placing=mark)


def _asked(placing: Placing) -> CRS | None:
    return None if placing.crs is None else user_crs("--crs", placing.crs)


def _class_crs(path: Path, name: str) -> CRS | None:
    """That of an output class; None where there is none yet, or no file that the sink takes."""
    if not path.exists():
        return None
    try:
        source = as_source(path)  # a geodatabase's mirror lives as long as this name
        return layer_crs(paths_of(source)[1], name)
    except SourceError:  # nothing that can be read, or the zero bytes that a killed run leaves
        return None


def source_crs(photos: PhotoSource | None) -> CRS | None:
    """That of the first layer with one that photos hang on."""
    if not isinstance(photos, Photos):
        return None
    layers = dict.fromkeys(layer for table in photos.tables for layer in table.layers)
    return next((crs for name in layers if (crs := layer_crs(photos.database, name))), None)


def layer_crs(path: Path, layer: str) -> CRS | None:
    """The coordinate system of a GeoPackage's layer, None where it is not known."""
    with reading(path) as connection:
        geometry = read_geometry(connection, layer)
        systems = {srs.srs_id: srs for srs in read_all_srs(connection)}
    return None if geometry is None else crs_of(systems.get(geometry.srs_id))
