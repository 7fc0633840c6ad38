"""A footprint's row in a table."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from attachtrans.geo.footprint.base import Footprint
from attachtrans.geo.footprint.sigma import position_sigma_m
from attachtrans.geo.frame import LocalFrame, horizontal, transform
from attachtrans.geo.pose import Pose
from attachtrans.geo.rotation import pose_angles
from attachtrans.geo.view import CameraView, Georef

Value = str | float | None

COLUMNS = MappingProxyType(
    {
        "KIND": str,  # ground, plane, sector, disc; outline of what has no camera
        "SKY_SHARE": float,  # of the image's area
        "CLIP_SHARE": float,  # of it, ground beyond the far or before the near distance
        "OFF_SHARE": float,  # of it, what the elevation model does not cover
        "GSD_M": float,  # metres a pixel at the image's centre
        "CAM_X": float,  # in the footprint's coordinate system
        "CAM_Y": float,
        "CAM_Z": float,  # metres
        "HEADING": float,  # degrees clockwise from true north
        "PITCH": float,  # degrees: 0 down, 90 level
        "ROLL": float,  # degrees, clockwise seen from behind
        "POSE_SRC": str,
        "ASSUMED": str,  # what no source said
        "GROUND_SRC": str,
        "SIGMA_M": float,  # standard deviation of the middle's place
        "TIME": str,  # of exposure, ISO 8601
    }
)
"""Column -> type of its values; any may be None."""


def footprint_attributes(
    footprint: Footprint,
    georef: Georef,
    pose: Pose | None = None,
    *,
    ground_source: str | None = None,
) -> dict[str, Value]:
    """Values for `COLUMNS`.

    Args:
        footprint: in the CRS that CAM_X and CAM_Y are wanted in.
        georef: what it was made of.
        pose: what the camera was made of.
        ground_source: the elevation model's name; None: the footprint's own words.
    """
    row: dict[str, Value] = dict.fromkeys(COLUMNS)
    row |= {
        "KIND": footprint.kind,
        "SKY_SHARE": footprint.sky_share,
        "CLIP_SHARE": footprint.clipped_share,
        "OFF_SHARE": footprint.off_dem_share,
        "GSD_M": footprint.gsd_m,
        "GROUND_SRC": ground_source or footprint.ground_source or None,
    }
    if isinstance(georef, CameraView):
        row |= _of_camera(footprint, georef)
    if pose is not None:
        row |= {
            "POSE_SRC": pose.source or None,
            "ASSUMED": "; ".join(pose.assumed) or None,
            "TIME": pose.time,
        }
        if isinstance(georef, CameraView):
            row["SIGMA_M"] = position_sigma_m(georef, pose.accuracy)
    return row


def _of_camera(footprint: Footprint, view: CameraView) -> dict[str, Value]:
    eye, world = view.eye, view.world.crs
    x, y = transform(world, horizontal(footprint.crs), eye.position[:2, None])[:, 0]
    heading, pitch, roll = pose_angles("hpr", eye.rotation)
    return {
        "CAM_X": float(x) if np.isfinite(x) else None,
        "CAM_Y": float(y) if np.isfinite(y) else None,
        "CAM_Z": float(eye.position[2]),
        "HEADING": LocalFrame.at(world, eye.position[:2]).true_heading_deg(heading),
        "PITCH": pitch,
        "ROLL": roll,
    }
