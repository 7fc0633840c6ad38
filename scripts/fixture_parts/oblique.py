"""A drone's flight over the town and a phone's photo in it, with all that is true of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import rasterio
from pyproj import CRS
from rasterio.transform import from_origin

from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.types import Size
from fixture_parts import render, town
from fixture_parts.photos import Body, Tags, drone_xmp, tagged_jpeg
from fixture_parts.survey import EYE_M, UTM, save, to_wgs84
from fixture_parts.town import CELL_M, CORNER, SIDE_M, Floats

DRONE = Body(
    make="DJI",
    model="FC-Skylark",
    software="10.02.04.17",
    focal_mm=10.3,
    sensor_mm=12.1,
    film_mm=31,
)
PHONE = Body(make="QField", model="Pixelphone 7", software="QField 4.0", focal_mm=4.5)
FRAME, FOCAL_PX, CENTRE_PX = Size(640, 480), 545.3, (323.6, 236.9)
BROWN = (-0.112, 0.036, 0.0008, -0.0006, -0.008)
"""k1, k2, p1, p2, k3."""
ABOVE_M, OFF_NADIR_DEG = 60.0, 30.0
ATTITUDES = ((-2.1, 0.2, 0.3), (2.2, -0.3, -0.2), (-0.4, 0.4, 0.1), (3.6, -0.2, -0.4))
"""Of the frames: grid heading, off OFF_NADIR_DEG, roll."""
FIRST, APART_M = (73.0, 50.0), 18.0
GIMBAL_SD_DEG, RTK_SD_M, ADJUSTED_SD_M, ADJUSTED_SD_DEG = 0.2, 0.02, 0.01, 0.003
MEASURED_SD_PX = 0.15
"""Of a target that somebody clicks on."""
STREET = 71.0, 89.0
STREET_HEADING_DEG, COMPASS_ERROR_DEG, GPS_ERROR_M = 36.0, 0.6, 0.8
DECLINATION_DEG = 4.07
"""WMM 2025 at the town in May 2026."""
MAP_STEP_M = 0.25


def oblique(folder: Path) -> None:
    """Drone photos over a surface model, control points, a street photo, and the truth."""
    home = folder / "oblique"
    frames = flight()
    street = street_camera()
    files = {
        f"drone/{name}": drone_photo(camera, number)
        for number, (name, camera) in enumerate(frames.items(), start=1)
    }
    files["street/IMG_0001.jpg"] = street_photo(street)
    files["camera.json"] = as_json(interior())
    files["poses.csv"] = poses(frames)
    files["poses.prj"] = (CRS.from_epsg(UTM).to_wkt("WKT1_ESRI") + "\n").encode()
    files["gcps.csv"] = control_points("DJI_0002.JPG", frames["DJI_0002.JPG"])
    truth = {name: facts(camera) for name, camera in frames.items()}
    truth["IMG_0001.jpg"] = facts(street) | {"orientation": 6}
    files["truth/cameras.json"] = as_json(truth)
    save(home, files)
    write_dsm(home / "dsm.tif")
    write_map(home / "truth" / "ortho.tif")


def flight() -> dict[str, PerspectiveCamera]:
    """The drone's cameras in UTM, a strip to the east that looks to the north."""
    cameras = {}
    for index, (heading, tilt, roll) in enumerate(ATTITUDES):
        wobble = 0.4 * np.sin(2.0 * index + np.arange(3.0))
        place = np.array([FIRST[0] + index * APART_M, FIRST[1], town.PLAZA_Z + ABOVE_M]) + wobble
        cameras[f"DJI_{index + 1:04d}.JPG"] = PerspectiveCamera(
            FRAME,
            focal_px=(FOCAL_PX, FOCAL_PX),
            centre_px=CENTRE_PX,
            distortion=BROWN,
            rotation=pose_matrix("hpr", (heading, OFF_NADIR_DEG + tilt, roll)),
            position=place + np.array([*CORNER, 0.0]),
        )
    return cameras


def street_camera() -> PerspectiveCamera:
    """A phone held upright and level at eye height."""
    place = np.array(STREET) + CORNER
    height = float(town.ground().height(place[:, None])[0]) + EYE_M
    focal = PHONE.focal_mm / PHONE.sensor_mm * 640
    return PerspectiveCamera(
        Size(480, 640),
        focal_px=(focal, focal),
        centre_px=(239.5, 319.5),
        rotation=pose_matrix("hpr", (STREET_HEADING_DEG, 90.0, 0.0)),
        position=(*place, height),
    )


def convergence(camera: PerspectiveCamera) -> float:
    """Clockwise from true to grid north, degrees."""
    return convergence_deg(CRS.from_epsg(UTM), camera.position[:2])


def drone_photo(camera: PerspectiveCamera, number: int) -> bytes:
    """A JPEG whose tags are as good as an RTK receiver and a gimbal."""
    rng = np.random.default_rng(40 + number)
    turn = np.deg2rad(-convergence(camera))
    north = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    yaw, pitch, roll = np.array(pose_angles("dji", north @ camera.rotation)) + rng.normal(
        0.0, GIMBAL_SD_DEG, 3
    )
    x, y, z = camera.position + rng.normal(0.0, RTK_SD_M, 3)
    lon, lat = to_wgs84(x, y)
    offset = np.array(camera.centre_px) - (np.array(FRAME) - 1) / 2
    calibration = FOCAL_PX, FOCAL_PX, *offset, *BROWN
    xmp = drone_xmp(
        {
            "AbsoluteAltitude": f"{z:+.3f}",
            "RelativeAltitude": f"{z - town.PLAZA_Z:+.3f}",
            "GpsStatus": "RTK",
            "GpsLatitude": f"{lat:.9f}",
            "GpsLongitude": f"{lon:.9f}",
            "GimbalRollDegree": f"{roll:+.2f}",
            "GimbalYawDegree": f"{yaw:+.2f}",
            "GimbalPitchDegree": f"{pitch:+.2f}",
            "FlightRollDegree": "+1.30",
            "FlightYawDegree": "+91.20",
            "FlightPitchDegree": "-3.40",
            "CamReverse": "0",
            "RtkFlag": "50",
            "RtkStdLon": f"{RTK_SD_M:.5f}",
            "RtkStdLat": f"{RTK_SD_M:.5f}",
            "RtkStdHgt": f"{RTK_SD_M:.5f}",
            "DewarpFlag": "0",
            "CalibratedFocalLength": f"{DRONE.focal_mm / DRONE.sensor_mm * FRAME.width:.6f}",
            "CalibratedOpticalCenterX": f"{FRAME.width / 2:.6f}",
            "CalibratedOpticalCenterY": f"{FRAME.height / 2:.6f}",
            "DewarpData": "2026-03-02;" + ",".join(f"{term:.6f}" for term in calibration),
        }
    )
    when = f"2026:05:04 14:20:{2 * number:02d}"
    tags = Tags(body=DRONE, position=(lon, lat, z), when=when)
    picture = render.photo(camera, seed=number)
    return tagged_jpeg(picture, tags, quality=88, xmp=xmp)


def street_photo(camera: PerspectiveCamera) -> bytes:
    """A JPEG as QField takes it: a magnetic compass, and heights above the sea tagged "below"."""
    error = np.array([GPS_ERROR_M, 0.0]) / np.sqrt(2.0)
    lon, lat = to_wgs84(*(camera.position[:2] + error))
    heading = STREET_HEADING_DEG + convergence(camera) - DECLINATION_DEG + COMPASS_ERROR_DEG
    tags = Tags(
        body=PHONE,
        orientation=6,
        position=(lon, lat, float(camera.position[2]) + 3.0),
        altitude_ref=1,
        error_m=1.0,
        heading_deg=heading % 360,
        north="M",
        when="2026:05:04 14:41:07",
    )
    return tagged_jpeg(render.photo(camera, seed=9), tags, quality=86)


def interior() -> dict[str, object]:
    """The drone's camera as OpenCV's calibration writes it."""
    (cx, cy), size = CENTRE_PX, FRAME
    return {
        "image_width": size.width,
        "image_height": size.height,
        "camera_matrix": [[FOCAL_PX, 0.0, cx], [0.0, FOCAL_PX, cy], [0.0, 0.0, 1.0]],
        "distortion_coefficients": list(BROWN),
    }


def poses(frames: dict[str, PerspectiveCamera]) -> bytes:
    """Positions and omega, phi, kappa, as an adjustment of the block would give them."""
    rng = np.random.default_rng(50)
    lines = ["image,x,y,z,omega,phi,kappa"]
    for name, camera in frames.items():
        place = camera.position + rng.normal(0.0, ADJUSTED_SD_M, 3)
        angles = np.array(pose_angles("opk", camera.rotation))
        angles += rng.normal(0.0, ADJUSTED_SD_DEG, 3)
        numbers = [f"{value:.3f}" for value in place] + [f"{value:.4f}" for value in angles]
        lines.append(",".join([name, *numbers]))
    return ("\n".join(lines) + "\n").encode()


def control_points(name: str, camera: PerspectiveCamera) -> bytes:
    """The targets, and where they were measured in one photo: pixels from the outer corner."""
    flat = np.array(list(town.TARGETS.values())).T + np.array(CORNER)[:, None]
    points = np.vstack([flat, town.ground().height(flat)])
    into = camera.rotation.T
    matrix = np.array([[FOCAL_PX, 0.0, CENTRE_PX[0]], [0.0, FOCAL_PX, CENTRE_PX[1]], [0, 0, 1]])
    moved = (points - camera.position[:, None]).T
    pixels, _ = cv2.projectPoints(
        moved, cv2.Rodrigues(into)[0], np.zeros(3), matrix, np.array(BROWN)
    )
    measured = pixels[:, 0] + 0.5 + np.random.default_rng(60).normal(0.0, MEASURED_SD_PX, (8, 2))
    lines = [f"#CRS: EPSG:{UTM}", "name,x,y,z,col,row,image"]
    for target, xyz, pixel in zip(town.TARGETS, points.T, measured, strict=True):
        numbers = [f"{value:.3f}" for value in xyz] + [f"{value:.2f}" for value in pixel]
        lines.append(",".join([target, *numbers, name]))
    return ("\n".join(lines) + "\n").encode()


def facts(camera: PerspectiveCamera) -> dict[str, object]:
    """A camera in numbers: pixel centres; rotation from camera axes to UTM."""
    distortion: Floats = np.array(BROWN if camera.size == FRAME else ())
    return {
        "crs": f"EPSG:{UTM}",
        "size": list(camera.size),
        "focal_px": list(camera.focal_px),
        "centre_px": list(camera.centre_px),
        "distortion": distortion.tolist(),
        "rotation": camera.rotation.tolist(),
        "position": camera.position.tolist(),
    }


def as_json(value: object) -> bytes:
    """Readable JSON."""
    return (json.dumps(value, indent=1) + "\n").encode()


def write_dsm(path: Path) -> None:
    """The surface as a float GeoTIFF."""
    profile = {"count": 1, "dtype": "float32", "nodata": -9999.0, "predictor": 3}
    _write(path, town.surface()[None], CELL_M, compress="deflate", zlevel=9, **profile)


def write_map(path: Path) -> None:
    """The true ortho: everything from straight above."""
    pixels = np.moveaxis(render.map_picture(MAP_STEP_M), -1, 0)
    kind = {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 88}
    _write(path, pixels, MAP_STEP_M, count=3, dtype="uint8", **kind)


def _write(path: Path, array: np.ndarray, step_m: float, **profile: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = from_origin(CORNER[0], CORNER[1] + SIDE_M, step_m, step_m)
    height, width = array.shape[1:]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        crs=f"EPSG:{UTM}",
        transform=transform,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        **profile,
    ) as target:
        target.write(array)
