"""Real frames, their truth, and what the tests of pose tables compare."""

from __future__ import annotations

import json

import cv2
import numpy as np

from attachtrans.geo.pose import height_m, standing, work_crs
from attachtrans.types import Size

NGI = ("3324c_2015_1004_05_0182_RGB", "3324c_2015_1004_05_0184_RGB")
ODM = ("100_0005_0018", "100_0005_0142")


def truth(geo, name):
    return json.loads((geo / "truth" / f"{name}_camera.json").read_text())


def stood(pose, size, crs=None):
    """The camera of a pose where its geometry is done."""
    return standing(pose, Size(*size), crs or work_crs(pose), height_m(pose))


def points(geo, name):
    """((2, N) pixels, (3, N) world) of a truth table, where there is ground."""
    table = np.genfromtxt(geo / "truth" / f"{name}_points.csv", delimiter=",", names=True)
    known = np.isfinite(table["z_dem"])
    world = np.stack([table["x_dem"], table["y_dem"], table["z_dem"]])
    return np.stack([table["col"], table["row"]])[:, known], world[:, known]


def seen(found, world):
    """(2, N) by OpenCV, of a truth's camera."""
    rotation, centre = np.array(found["R_cam_cv_to_world"]), np.array(found["C"])
    return cv2.projectPoints(
        (world - centre[:, None]).T.copy(),
        cv2.Rodrigues(rotation.T)[0],
        np.zeros(3),
        np.array(found["K"]),
        np.array(found["dist_k1k2p1p2k3"]),
    )[0][:, 0].T
