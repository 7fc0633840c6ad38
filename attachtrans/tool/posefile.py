"""`attachtrans pose fit`: a photo's pose put right by a file of control points."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attachtrans.errors import ArgumentError, GeorefError, OutputExistsError, SinkError, SourceError
from attachtrans.geo.frame import transform, with_metric_heights
from attachtrans.geo.pose import Pose, height_m, standing, work_crs
from attachtrans.geo.resection import ControlPoints, Part
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.dem import Dem
from attachtrans.stores.durable import replace_file
from attachtrans.stores.folder import FolderPhotos, open_folder
from attachtrans.stores.gcps import read_control_points
from attachtrans.stores.poses.camera_json import SUFFIX, CameraFile, write_camera
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.posefit import FittedPose, fit_pose
from attachtrans.types import Size

PathLike = str | os.PathLike[str]

_SPARE_M = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPhoto:
    """A photo's pose before and after; output is the file that was written, None for none."""

    photo: Path
    size: Size
    before: Pose
    fitted: FittedPose
    output: Path | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        pose, fit = self.fitted.pose, self.fitted.fit
        return {
            "photo": str(self.photo),
            "output": None if self.output is None else str(self.output),
            "rms_px": fit.rms_px,
            "free": [str(part) for part in fit.free],
            "position": None if pose.xyz is None else list(pose.xyz),
            "crs": None if pose.crs is None else pose.crs.to_string(),
            "source": pose.source,
            "points": [
                {
                    name: None if value != value else value  # noqa: PLR0124 - NaN has no JSON
                    for name, value in (
                        (name, getattr(point, name)) for name in point.__dataclass_fields__
                    )
                }
                for point in self.fitted.points
            ],
            "notes": list(self.fitted.notes),
        }


def fit_photo(  # noqa: PLR0913 - the command's face: every option by name
    photo: PathLike,
    points: PathLike,
    output: PathLike | None = None,
    *,
    points_crs: str | None = None,
    centre: bool = False,
    free: Iterable[str] = (Part.ROTATION, Part.POSITION),
    sigma_px: float | None = None,
    placing: Placing | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> FittedPhoto:
    """Fit a photo's pose to control points and write it as a `.camera.json`.

    photo      the photo; what is known of its pose (tags, placing.poses) is where the fit begins
    points     csv, ODM's gcp_list.txt, or QGIS's .points; points_crs: of its coordinates; centre:
               a csv's pixels count from the centre of the first pixel
    output     default: beside the photo, where every command finds it
    free       what may change: "rotation", "position", "focal"
    sigma_px   standard deviation of a pixel coordinate; None: estimated
    placing    its dem or ground_m give points their height where the file has none

    Raises ArgumentError, SourceError, GeorefError (too few points, no lens), OutputExistsError,
    SinkError.
    """
    path, wish = Path(photo), placing or Placing()
    target = path.with_name(path.name + SUFFIX) if output is None else Path(output)
    if target.exists() and not overwrite and not dry_run:
        raise OutputExistsError(f"{target} is there already: name another file, or --overwrite")
    if not dry_run and not target.parent.is_dir():
        raise SinkError(f"{target}: there is no folder {target.parent}; make it first")
    photos = open_folder(path)
    pose, size = _known(photos, wish)
    control = _control(path, read_control_points(Path(points), crs=points_crs, centre=centre))
    control = _with_heights(control, wish)
    fitted = fit_pose(pose, size, control, free=free, sigma_px=sigma_px)
    if not dry_run:
        _write(target, path.name, size, fitted.pose)
    return FittedPhoto(
        photo=path, size=size, before=pose, fitted=fitted, output=None if dry_run else target
    )


def _known(photos: FolderPhotos, placing: Placing) -> tuple[Pose, Size]:
    """What is known of the one photo's pose, and its stored size."""
    item = next(iter(photos), None)
    if item is None or len(photos) != 1:
        raise ArgumentError(f"{photos.path}: name one photo")
    data = photos.read(item)
    header = probe(data)
    if header.size is None:
        raise SourceError(f"{photos.path}: is no image ({header.media.media_type})")
    size = turned(header.size, header.orientation)
    poser = Poser(placing, photos)
    try:
        return poser.pose(item, data, size, header.orientation), size
    finally:
        poser.close()


def _control(photo: Path, found: dict[str, ControlPoints]) -> ControlPoints:
    """The points of this photo: by its name, else those that name none."""
    for name, control in found.items():
        if Path(name.replace("\\", "/")).name.lower() == photo.name.lower():
            return control
    if list(found) == [""]:
        return found[""]
    names = ", ".join(sorted(found)[:5])
    raise SourceError(f"there are no control points of {photo.name}, but of {names}")


def _with_heights(control: ControlPoints, placing: Placing) -> ControlPoints:
    """Control points with the heights of the ground where they have none."""
    if placing.ground_m is not None:
        level = placing.ground_m / control.z_unit_m
        return control.with_heights(lambda xy: np.full(xy.shape[1], level))
    if placing.dem is None or np.isfinite(control.xyz[2]).all():
        return control
    dem = Dem.open(placing.dem)
    try:
        crs = control.frame().crs
        places = transform(control.crs, crs, control.xyz[:2])
        middle = places.mean(axis=1)
        reach = float(np.abs(places - middle[:, None]).max()) + _SPARE_M
        ground = dem.ground(crs, middle, reach)
        return control.with_heights(
            lambda xy: ground.height(transform(control.crs, crs, xy)) / control.z_unit_m
        )
    finally:
        dem.close()


def _write(path: Path, name: str, size: Size, pose: Pose) -> None:
    height = height_m(pose)
    if height is None or pose.crs is None:
        raise GeorefError(f"{name}: the fit gave no position")
    crs = work_crs(pose)
    camera = standing(pose, size, crs, height)
    found = CameraFile(
        camera=camera,
        crs=with_metric_heights(crs, pose.crs),
        name=name,
        pose=replace(pose, rough_height=False),
    )
    try:
        replace_file(path, write_camera(found))
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error}") from error
