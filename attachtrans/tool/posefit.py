"""Pose repair: a photo's pose, put right by ground control points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.camera import Camera, TurnedCamera
from attachtrans.geo.frame import LocalFrame, convergence_deg, has_heights, horizontal, transform
from attachtrans.geo.pose import Accuracy, North, Pose, height_m, standing
from attachtrans.geo.resection import (
    ControlPoints,
    Part,
    PoseFit,
    Prior,
    find_pose,
    refine_pose,
)
from attachtrans.geo.resection.unknowns import turned
from attachtrans.types import Size

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResidual:
    """How a fitted camera shows one control point.

    name         of the point
    col, row     where it was found, from the OUTER CORNER of the first pixel
    right_px     from where the camera shows it to where it was found, to the right
    down_px      the same, downwards
    left_out_px  distance at which a fit without the point misses it; nan where the others do not
                 suffice
    suspect      it is improbable that the point is right; of several the worst, since one wrong
                 point makes right ones look wrong
    """

    name: str
    col: float
    row: float
    right_px: float
    down_px: float
    left_out_px: float
    suspect: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedPose:
    """A pose put right, and what it stands on.

    pose    in the control points' CRS, with their heights
    fit     in the metric frame
    points  in the order given
    notes   what the user should know: suspect points, nothing to check with
    """

    pose: Pose
    fit: PoseFit
    points: tuple[PointResidual, ...]
    notes: tuple[str, ...]


def fit_pose(
    pose: Pose,
    size: Size,
    control: ControlPoints,
    *,
    free: Iterable[str] = (Part.ROTATION, Part.POSITION),
    sigma_px: ArrayLike | None = None,
    prior: Prior | None = None,
) -> FittedPose:
    """The pose that shows control points where they were found in a photo.

    Args:
        pose: what is known so far: a lens at least. Without a position 4 points are needed.
        size: of the (stored) photo.
        control: the photo's control points, heights included. The result has their CRS and their
            heights; where its own position is held, the pose needs heights of the same datum.
        free: what may change, names of `Part`: hold the position of an RTK drone, free the focal
            length of an uncalibrated lens.
        sigma_px: standard deviation of a pixel coordinate; None: estimated from the residuals.
        prior: what is known beforehand.

    Raises:
        GeorefError: no lens; heights are missing; too few points, or badly placed ones.
        CrsError: points without a place in their CRS; heights of datums that PROJ cannot relate.
        ArgumentError: see `refine_pose`.
    """
    missing = [n for n, z in zip(control.names, control.xyz[2], strict=True) if not np.isfinite(z)]
    if missing:
        raise GeorefError(
            f"control point {missing[0]} has no height: add a column z, or give an elevation model"
        )
    parts = tuple(free)
    if pose.rotation is None and Part.ROTATION not in parts:
        raise GeorefError(f"{pose.name or 'the photo'} has no attitude that could be held")
    frame, camera = _start(pose, size, control, held=_held(parts, prior))
    fit = refine_pose(
        camera,
        _placed(control, frame),
        control.pixels - 0.5,
        free=parts,
        sigma_px=sigma_px,
        prior=prior,
    )
    return FittedPose(
        pose=_pose(pose, control, frame, fit),
        fit=fit,
        points=tuple(
            PointResidual(
                name=control.names[index],
                col=float(control.pixels[0, index]),
                row=float(control.pixels[1, index]),
                right_px=float(fit.residuals_px[0, index]),
                down_px=float(fit.residuals_px[1, index]),
                left_out_px=float(np.hypot(*fit.left_out_px[:, index])),
                suspect=index in fit.suspects[:1],
            )
            for index in range(len(control))
        ),
        notes=_notes(fit, control),
    )


def _placed(control: ControlPoints, frame: LocalFrame) -> Floats:
    """(3, N) in the frame. Raises CrsError for points in another CRS than they are said to be."""
    places = frame.from_source(control.xyz)
    lost = np.flatnonzero(~np.isfinite(places).all(axis=0))
    if lost.size:
        x, y = control.xyz[:2, lost[0]]
        raise CrsError(
            f"control point {control.names[lost[0]]} at ({x:g}, {y:g}) has no place in "
            f"{control.crs.name}: name the coordinate system that points are in (--gcps-crs)"
        )
    return places


def _held(parts: tuple[str, ...], prior: Prior | None) -> bool:
    """Whether the pose's own height matters for the result."""
    return Part.POSITION not in parts or (prior is not None and prior.z_m is not None)


def _start(
    pose: Pose, size: Size, control: ControlPoints, *, held: bool
) -> tuple[LocalFrame, Camera]:
    """A metric frame for the control points, and a camera to begin with in it."""
    _lens(pose)
    if pose.xyz is None or pose.crs is None:
        frame = control.frame()
        camera = _unturned(pose, size, np.zeros(3))
        if held:
            raise GeorefError(f"{pose.name or 'the photo'} has no position that could be held")
        return frame, find_pose(camera, _placed(control, frame), control.pixels - 0.5)
    there = transform(horizontal(pose.crs), horizontal(control.crs), _column(pose.xyz[:2]))
    frame = control.frame(there[:, 0])
    z_m = _start_height_m(pose, control, held=held)
    if pose.rotation is not None:
        return frame, standing(pose, size, frame.crs, z_m)
    place = transform(horizontal(pose.crs), frame.crs, _column(pose.xyz[:2]))[:, 0]
    return frame, _unturned(pose, size, np.append(place, z_m))


def _unturned(pose: Pose, size: Size, position: Floats) -> Camera:
    """The camera of a pose that has a lens and no rotation."""
    upright = size if pose.orientation < 5 else Size(size.height, size.width)
    camera: Camera = _lens(pose).resized(upright)
    if pose.orientation != 1:
        camera = TurnedCamera(upright=camera, orientation=pose.orientation)
    return camera.posed(np.eye(3), position)


def _lens(pose: Pose) -> Camera:
    if pose.lens is None:
        raise GeorefError(
            f"{pose.name or 'the photo'} has no focal length to begin with "
            f"({pose.source or 'no pose found'}); give its camera, or a rough focal length and "
            "let it be free"
        )
    return pose.lens


def _start_height_m(pose: Pose, control: ControlPoints, *, held: bool) -> float:
    """The camera's height in the control points' datum, metres; roughly where it is only a start.

    Raises:
        GeorefError: it matters and is unknown.
        CrsError: it matters and is of a datum that cannot be related to the points'.
    """
    height = height_m(pose)
    if held and height is None:
        raise GeorefError(
            f"{pose.name or 'the photo'} has no height, so its position cannot be held"
        )
    if height is None:
        above = pose.above_ground_m or 0.0
        return float(np.mean(control.xyz[2]) * control.z_unit_m + above)
    if pose.xyz is None or pose.crs is None:
        return height
    if not (has_heights(pose.crs) or has_heights(control.crs)):
        return height
    try:
        moved = transform(pose.crs, control.crs, _column(pose.xyz))
    except CrsError:
        if held:
            raise
        return height
    return float(moved[2, 0] * control.z_unit_m)


def _pose(pose: Pose, control: ControlPoints, frame: LocalFrame, fit: PoseFit) -> Pose:
    """The fitted camera as a pose in the control points' CRS."""
    camera = fit.camera
    x, y, z = frame.to_source(camera.position[:, None])[:, 0]
    upright = camera.upright if isinstance(camera, TurnedCamera) else camera
    convergence = np.deg2rad(convergence_deg(frame.crs, camera.position))
    rotation = turned(np.array([0.0, 0.0, -convergence])) @ camera.rotation
    return replace(
        pose,
        xyz=(float(x), float(y), float(z)),
        crs=control.crs,
        z_unit_m=None if has_heights(control.crs) else control.z_unit_m,
        rotation=rotation,
        north=North.TRUE,
        lens=upright.posed(np.eye(3), np.zeros(3)),
        accuracy=_accuracy(pose.accuracy, fit.accuracy),
        source=f"{pose.source or 'no pose'}, {' and '.join(fit.free)} fitted to "
        f"{len(control)} control points ({fit.rms_px:.2f} px rms)",
        assumed=tuple(f"before the fit: {text}" for text in pose.assumed),
    )


def _accuracy(before: Accuracy, after: Accuracy) -> Accuracy:
    """What the fit determined, and what the source said of the rest."""
    if after.xy_m is not None:
        before = replace(before, xy_m=after.xy_m, z_m=after.z_m)
    if after.heading_deg is not None:
        before = replace(
            before,
            heading_deg=after.heading_deg,
            pitch_deg=after.pitch_deg,
            roll_deg=after.roll_deg,
        )
    return before


def _notes(fit: PoseFit, control: ControlPoints) -> tuple[str, ...]:
    """What speaks against the fit."""
    notes = []
    for index in fit.suspects[:1]:
        miss = float(np.hypot(*fit.left_out_px[:, index]))
        notes.append(
            f"control point {control.names[index]} does not agree with the others: without it the "
            f"fit misses it by {miss:.1f} px; check it or leave it out"
        )
    if fit.redundancy == 0:
        notes.append(
            "there is nothing to check the fit with, and other poses may show the same: of several "
            "the one next to the start was taken; a further point would tell"
        )
    elif not np.isfinite(fit.chance).any():
        notes.append("too few points to tell a blunder: a further point would")
    return tuple(notes)


def _column(values: Iterable[float | None]) -> Floats:
    """(n, 1) of a place."""
    return np.array(list(values), dtype=np.float64)[:, None]
