"""Pixels <-> maps by one pair of calls: affine grids, cameras over a ground, RPCs, GCPs."""

from attachtrans.geo.view.base import Georef
from attachtrans.geo.view.camera import CameraView
from attachtrans.geo.view.gcps import Gcps
from attachtrans.geo.view.grid import Grid
from attachtrans.geo.view.rpc import Rpc

__all__ = ["CameraView", "Gcps", "Georef", "Grid", "Rpc"]
