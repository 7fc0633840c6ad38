"""Photos and rasters brought onto a map's grid: orthos."""

from attachtrans.geo.rectify.rectifier import Readable, Rectifier, rectify
from attachtrans.geo.rectify.sampling import Interpolation

__all__ = ["Interpolation", "Readable", "Rectifier", "rectify"]
