"""Footprints: the area on the map that an image shows, horizon and elevation model included.

    base        what a footprint is, its modes
    make        `footprint`, for every kind of georeference
    probe       what single pixels show
    lattice     the same over an image, and where it changes
    rings       regions of the image as rings of pixels and places
    outline     rings as one valid polygon
    arcs        discs and fans
    reproject   areas in other coordinate systems, antimeridian and poles included
    gsd, sigma  how fine the image's centre is, and how sure its place
    cells       masks over a grid as polygons
    visible     a footprint without what other ground hides
    attributes  a footprint's row in a table

Everything is measured in pixels from the outer corner and in metres of the view's own frame; only
the finished area changes its coordinate system.
"""

from attachtrans.geo.footprint.attributes import COLUMNS, footprint_attributes
from attachtrans.geo.footprint.base import MODES, Footprint
from attachtrans.geo.footprint.cells import cells_area
from attachtrans.geo.footprint.make import footprint
from attachtrans.geo.footprint.sigma import position_sigma_m
from attachtrans.geo.footprint.visible import visible_area

__all__ = [
    "COLUMNS",
    "MODES",
    "Footprint",
    "cells_area",
    "footprint",
    "footprint_attributes",
    "position_sigma_m",
    "visible_area",
]
