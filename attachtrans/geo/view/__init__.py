"""Pixels <-> maps by one pair of calls: affine grids, cameras over a ground, RPCs, GCPs."""

from attachtrans.geo.view.base import Georef
from attachtrans.geo.view.camera import CameraView
from attachtrans.geo.view.grid import Grid

__all__ = ["CameraView", "Georef", "Grid"]
