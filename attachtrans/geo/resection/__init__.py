"""Space resection: a camera's pose from ground control points."""

from attachtrans.geo.resection.control import ControlPoints
from attachtrans.geo.resection.fit import find_pose, refine_pose
from attachtrans.geo.resection.report import PoseFit
from attachtrans.geo.resection.unknowns import Part, Prior

__all__ = ["ControlPoints", "Part", "PoseFit", "Prior", "find_pose", "refine_pose"]
