"""Surveys for the map jobs: photos over terrain, with poses and a camera that both tools read.

A survey is a folder: photos/f00.tif, photos/f01.tif, ..., poses.csv (omega, phi, kappa in the axes
of the elevation model's CRS), camera.yaml in orthority's format, dem.tif.
"""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from fixture_parts.scenes import SCENES
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from benchmarks.inputs import scene, size_of

UTM = "EPSG:32633"
EAST, NORTH = 431_000.0, 5_820_000.0
REACH_M, CELL_M, ABOVE_M = 700.0, 1.0, 110.0
TILT_DEG = 30.0
FOCAL = 0.67  # in widths, as of a common drone
BROWN = {"k1": -0.26, "k2": 0.1, "p1": 0.0007, "p2": 0.0003, "k3": -0.026}
COLUMNS = ("filename", "x", "y", "z", "omega", "phi", "kappa", "camera")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A survey on disk.

    crs         of poses and orthos, as text
    resolution  of orthos, its units
    pixels      of one photo
    """

    name: str
    folder: Path
    photos: tuple[Path, ...]
    crs: str
    resolution: float
    pixels: int

    @property
    def poses(self) -> Path:
        """The table of poses."""
        return self.folder / "poses.csv"

    @property
    def camera(self) -> Path:
        """The interior parameters."""
        return self.folder / "camera.yaml"

    @property
    def dem(self) -> Path:
        """The elevation model."""
        return self.folder / "dem.tif"


def surveys(folder: Path, count: int, megapixels: float, data: Path | None) -> list[Survey]:
    """The synthetic survey; or those that `data` holds, a folder with ngi, odm and io.

    Every survey has `count` photos: real ones are given several times, under names of their own.
    """
    if data is None:
        return [synthetic(folder / "synthetic", count, megapixels)]
    return [real(folder / name, data, count, name) for name in ("odm", "ngi")]


def synthetic(folder: Path, count: int, megapixels: float) -> Survey:
    """A strip of oblique photos over hills, made from seeds."""
    (folder / "photos").mkdir(parents=True)
    width, height = size_of(megapixels)
    side = int(2 * REACH_M / CELL_M)
    x, y = np.meshgrid(np.arange(side) * CELL_M, np.arange(side) * CELL_M)
    hills = 60 + 12 * np.sin(x / 90) * np.cos(y / 70) + 3 * np.sin(x / 11 + y / 17)
    transform = Affine(CELL_M, 0, EAST - REACH_M, 0, -CELL_M, NORTH + REACH_M)
    write(folder / "dem.tif", hills[None].astype(np.float32), crs=UTM, transform=transform)
    camera = {"type": "brown", "im_size": [width, height], "focal_len": FOCAL, **BROWN}
    write_camera(folder / "camera.yaml", camera)
    poses = []
    for number in range(count):
        pixels = np.moveaxis(scene(tuple(SCENES)[number % len(SCENES)], (width, height)), 2, 0)
        write(folder / "photos" / f"f{number:02d}.tif", pixels, compress="deflate")
        along = (number - (count - 1) / 2) * 400.0 / max(count, 2)
        turn = (TILT_DEG, 0.0, 0.0) if number % 2 else (-TILT_DEG, 0.0, 180.0)
        poses.append((EAST + along, NORTH, 72.0 + ABOVE_M, *turn))
    write_poses(folder / "poses.csv", poses)
    return found("synthetic", folder, UTM, ABOVE_M / (FOCAL * width))


def real(folder: Path, data: Path, count: int, name: str) -> Survey:
    """One of the real surveys, its two photos over and over."""
    (folder / "photos").mkdir(parents=True)
    table = data / "io" / f"{name}_xyz_opk.csv"
    if name == "odm":
        images, dem, resolution = data / "odm" / "images", data / "odm/odm_dem/dsm.tif", 0.1
        reconstruction = json.loads((data / "odm/opensfm/reconstruction.json").read_text())
        sfm = next(iter(reconstruction[0]["cameras"].values()))
        camera = odm_camera(sfm, min(images.glob("*.tif")))
    else:
        images, dem, resolution = data / "ngi", data / "ngi" / "dem.tif", 5.0
        camera = {
            "type": "pinhole",
            "im_size": [640, 1152],
            "focal_len": 120.0,
            "sensor_size": [92.16, 165.888],
        }
    shutil.copyfile(dem, folder / "dem.tif")
    write_camera(folder / "camera.yaml", camera)
    known = read_poses(table)
    sources = [path for path in sorted(images.glob("*.tif")) if path.stem in known]
    poses = []
    for number in range(count):
        source = sources[number % len(sources)]
        shutil.copyfile(source, folder / "photos" / f"f{number:02d}.tif")
        poses.append(known[source.stem])
    write_poses(folder / "poses.csv", poses)
    beside = table.with_suffix(".prj")
    crs = beside.read_text().strip() if beside.is_file() else "EPSG:32651"
    return found(name, folder, crs, resolution)


def odm_camera(sfm: Mapping[str, Any], image: Path) -> dict[str, Any]:
    """OpenSfM's brown camera in orthority's words: both count in units of the longer side."""
    size = list(size_in(image))
    return {
        "type": "brown",
        "im_size": size,
        "focal_len": sfm["focal_x"],
        "cx": sfm["c_x"],
        "cy": sfm["c_y"],
        **{name: sfm[name] for name in BROWN},
    }


def found(name: str, folder: Path, crs: str, resolution: float) -> Survey:
    """The survey in a folder."""
    photos = tuple(sorted((folder / "photos").iterdir()))
    width, height = size_in(photos[0])
    return Survey(
        name=name,
        folder=folder,
        photos=photos,
        crs=crs,
        resolution=float(f"{resolution:.1e}"),
        pixels=width * height,
    )


def size_in(photo: Path) -> tuple[int, int]:
    """(width, height) of a photo."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # photos are not
        with rasterio.open(photo) as opened:
            return opened.width, opened.height


def write(path: Path, array: np.ndarray, **profile: Any) -> None:
    """A GeoTIFF of an array (bands, height, width)."""
    bands, height, width = array.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": array.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as out:
            out.write(array)


def write_camera(path: Path, camera: Mapping[str, Any]) -> None:
    """YAML as orthority reads it."""
    lines = ["bench:", *(f"    {key}: {value}" for key, value in camera.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_poses(path: Path, poses: Sequence[Sequence[float]]) -> None:
    """x, y, z, omega, phi, kappa of f00, f01, ..."""
    with path.open("w", newline="", encoding="utf-8") as opened:
        out = csv.writer(opened)
        out.writerow(COLUMNS)
        for number, pose in enumerate(poses):
            out.writerow((f"f{number:02d}", *pose, "bench"))


def read_poses(path: Path) -> dict[str, tuple[float, ...]]:
    """Photo -> x, y, z, omega, phi, kappa, of a table with commas or spaces and maybe quotes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comma = "," if "," in lines[0] else " "
    records = list(csv.reader(lines, delimiter=comma, quotechar="'"))
    return {row[0]: tuple(map(float, row[1:7])) for row in records[1:] if row}
