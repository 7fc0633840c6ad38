"""Where rays meet the ground: a plane, or the bilinear surface of an elevation model."""

from attachtrans.geo.ground.base import (
    EARTH_RADIUS_M,
    Ground,
    GroundStatus,
    default_far_m,
    horizon_m,
)
from attachtrans.geo.ground.dem import DemGround
from attachtrans.geo.ground.flat import FlatGround

__all__ = [
    "EARTH_RADIUS_M",
    "DemGround",
    "FlatGround",
    "Ground",
    "GroundStatus",
    "default_far_m",
    "horizon_m",
]
