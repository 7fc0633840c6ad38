"""Cameras: pixels <-> rays, for pinholes with lenses, fisheyes, panoramas and cube faces."""

from attachtrans.geo.camera.base import Camera
from attachtrans.geo.camera.fisheye import FisheyeCamera
from attachtrans.geo.camera.panorama import PanoramaCamera
from attachtrans.geo.camera.perspective import ESRI_FACES, PANNELLUM_FACES, PerspectiveCamera
from attachtrans.geo.camera.turned import TurnedCamera

__all__ = [
    "ESRI_FACES",
    "PANNELLUM_FACES",
    "Camera",
    "FisheyeCamera",
    "PanoramaCamera",
    "PerspectiveCamera",
    "TurnedCamera",
]
