"""A known relief in files, and photos of it as cameras and phones store them."""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import Affine

from attachtrans.geo.rotation import pose_angles
from tests.geo import scene

# How a viewer's turn is undone: from the picture that is looked at to the stored one.
STORED_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SIZE = (160, 120)
EPSG = 32633


def write_dem(path, ground=None, *, crs=EPSG, factor=1.0, unit=None, nodata=None):
    """The scene's relief as a GeoTIFF; heights are divided by `factor`."""
    ground = scene.dem(scene.relief()) if ground is None else ground
    heights, grid = np.asarray(ground.array, dtype=np.float32), ground.grid
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=heights.shape[1],
        height=heights.shape[0],
        count=1,
        dtype="float32",
        nodata=nodata,
        crs=rasterio.CRS.from_user_input(crs),
        transform=Affine(*(getattr(grid, name) for name in "abcdef")),
    ) as file:
        file.write(heights / np.float32(factor), 1)
        if unit is not None:
            file.set_band_unit(1, unit)
    return path


def eyes(count=1, size=SIZE, **options):
    """Cameras over the relief, side by side, without distortion unless it is given."""
    return [
        scene.camera(size, away=(-30.0 + 25.0 * n, -40.0, 300.0), **{"lens": (), **options})
        for n in range(count)
    ]


def write_poses(path, cameras, suffix=".png", crs=EPSG):
    """A table of their poses, by heading, pitch and roll from true north."""
    from pyproj import CRS

    from attachtrans.geo.frame import convergence_deg

    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "x", "y", "z", "heading", "pitch", "roll"])
        for number, camera in enumerate(cameras):
            heading, pitch, roll = pose_angles("hpr", camera.rotation)
            heading += convergence_deg(CRS.from_epsg(crs), camera.position)
            place = [repr(float(value)) for value in camera.position]
            rows.writerow([f"{number}{suffix}", *place, repr(heading), repr(pitch), repr(roll)])
    return path


def write_camera(path, camera):
    """Its inside, as OpenCV writes it."""
    (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
    width, height = camera.size
    value = {
        "image_width": width,
        "image_height": height,
        "camera_matrix": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def pattern(places):
    """Grey values from 0 to 255 of places: waves that do not repeat within the relief."""
    x, y = places - scene.CENTRE[:, None]
    return 127.0 + 60.0 * np.sin(x / 7.0 + 0.3) + 60.0 * np.cos(y / 9.0 + x / 50.0)


def picture(view, bands=3):
    """(height, width, bands) of the pattern through a view; what is no ground is 255."""
    return _picture(view)[..., :bands]


@lru_cache
def _picture(view):
    values = np.nan_to_num(scene.photo(view, pattern, supersampling=2), nan=255.0)
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.stack([grey, 255 - grey, grey // 2], axis=-1)


def save(path, array, orientation=1, **options):
    """A picture as it is looked at, stored under an EXIF orientation, without loss."""
    image = Image.fromarray(array)
    if orientation != 1:
        image = image.transpose(STORED_BY[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    image.save(path, **options)
    return path


@lru_cache
def views_of(count, options):
    """Of cameras over the relief; the same objects each time, so that photos are rendered once."""
    ground = scene.dem(scene.relief())
    return [scene.view(ground, camera) for camera in eyes(count, **dict(options))]


def survey(folder: Path, count=2, suffix=".png", **options):
    """A folder of photos, their table, camera and elevation model: what a user has.

    Returns the arguments that place them, and the views.
    """
    views = views_of(count, tuple(options.items()))
    cameras = [view.camera for view in views]
    photos = folder / "photos"
    photos.mkdir()
    for number, view in enumerate(views):
        save(photos / f"{number}{suffix}", picture(view))
    placing = {
        "poses": write_poses(folder / "poses.csv", cameras, suffix),
        "poses_crs": f"EPSG:{EPSG}",
        "camera": write_camera(folder / "camera.json", cameras[0]),
        "dem": write_dem(folder / "dem.tif", views[0].ground),
    }
    return photos, placing, views


def flags(placing):
    """The same as options of the command line."""
    return [
        text
        for name, value in placing.items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
