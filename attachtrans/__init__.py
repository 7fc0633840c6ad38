"""attachtrans: translate the photos attached to geographic features with deep learning.

    report = attachtrans.translate_pixels("trees.gpkg", "sr-x2", "sharp.gpkg:trees")

Names are loaded when they are first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attachtrans import errors, ia
    from attachtrans.errors import (
        ArgumentError,
        AttachtransError,
        BusyError,
        ChangedError,
        CrsError,
        GeorefError,
        HorizonError,
        ImageError,
        InferenceError,
        LayoutError,
        ModelError,
        NoMemoryError,
        OutputExistsError,
        SchemaError,
        SinkError,
        SourceError,
        UntrustedModelError,
    )
    from attachtrans.geo.camera import FisheyeCamera, PanoramaCamera, PerspectiveCamera
    from attachtrans.geo.footprint import Footprint, footprint
    from attachtrans.geo.ground import DemGround, FlatGround
    from attachtrans.geo.rectify import rectify
    from attachtrans.geo.rotation import pose_angles, pose_matrix
    from attachtrans.geo.view import CameraView, Gcps, Grid, Rpc
    from attachtrans.infer.block import translate_block
    from attachtrans.infer.whole import translate_array
    from attachtrans.models.definition import ModelDefinition
    from attachtrans.models.load import load_model
    from attachtrans.report import Outcome, Report, Status
    from attachtrans.tool.extract import extract_photos, plan_extraction
    from attachtrans.tool.footprints import plan_footprints
    from attachtrans.tool.orthos import plan_orthos
    from attachtrans.tool.place.options import Placing
    from attachtrans.tool.posefile import fit_photo
    from attachtrans.tool.rasters.choice import RasterChoice
    from attachtrans.tool.sources import Choice
    from attachtrans.tool.translate import iter_translate, plan_translation, translate_pixels

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "AttachtransError",
    "BusyError",
    "CameraView",
    "ChangedError",
    "Choice",
    "CrsError",
    "DemGround",
    "FisheyeCamera",
    "FlatGround",
    "Footprint",
    "Gcps",
    "GeorefError",
    "Grid",
    "HorizonError",
    "ImageError",
    "InferenceError",
    "LayoutError",
    "ModelDefinition",
    "ModelError",
    "NoMemoryError",
    "Outcome",
    "OutputExistsError",
    "PanoramaCamera",
    "PerspectiveCamera",
    "Placing",
    "RasterChoice",
    "Report",
    "Rpc",
    "SchemaError",
    "SinkError",
    "SourceError",
    "Status",
    "UntrustedModelError",
    "__version__",
    "errors",
    "extract_photos",
    "fit_photo",
    "footprint",
    "ia",
    "iter_translate",
    "load_model",
    "plan_extraction",
    "plan_footprints",
    "plan_orthos",
    "plan_translation",
    "pose_angles",
    "pose_matrix",
    "rectify",
    "translate_array",
    "translate_block",
    "translate_pixels",
]

_MODULES = {"errors", "ia"}
_HOMES = {
    "CameraView": "attachtrans.geo.view",
    "Choice": "attachtrans.tool.sources",
    "DemGround": "attachtrans.geo.ground",
    "FisheyeCamera": "attachtrans.geo.camera",
    "FlatGround": "attachtrans.geo.ground",
    "Footprint": "attachtrans.geo.footprint",
    "Gcps": "attachtrans.geo.view",
    "Grid": "attachtrans.geo.view",
    "ModelDefinition": "attachtrans.models.definition",
    "Outcome": "attachtrans.report",
    "PanoramaCamera": "attachtrans.geo.camera",
    "PerspectiveCamera": "attachtrans.geo.camera",
    "Placing": "attachtrans.tool.place.options",
    "RasterChoice": "attachtrans.tool.rasters.choice",
    "Report": "attachtrans.report",
    "Rpc": "attachtrans.geo.view",
    "Status": "attachtrans.report",
    "extract_photos": "attachtrans.tool.extract",
    "fit_photo": "attachtrans.tool.posefile",
    "footprint": "attachtrans.geo.footprint",
    "iter_translate": "attachtrans.tool.translate",
    "load_model": "attachtrans.models.load",
    "plan_extraction": "attachtrans.tool.extract",
    "plan_footprints": "attachtrans.tool.footprints",
    "plan_orthos": "attachtrans.tool.orthos",
    "plan_translation": "attachtrans.tool.translate",
    "pose_angles": "attachtrans.geo.rotation",
    "pose_matrix": "attachtrans.geo.rotation",
    "rectify": "attachtrans.geo.rectify",
    "translate_array": "attachtrans.infer.whole",
    "translate_block": "attachtrans.infer.block",
    "translate_pixels": "attachtrans.tool.translate",
}
"""Where public names live; the errors live in `attachtrans.errors`."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"attachtrans.{name}")
    if name not in __all__:
        message = f"module 'attachtrans' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES.get(name, "attachtrans.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
