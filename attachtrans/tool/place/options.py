"""What the user says of where photos were taken, and of the ground that they look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.frame import read_crs
from attachtrans.journal import digest_of
from attachtrans.stores.poses.columns import PARTS

FootprintMode = Literal["auto", "ground", "plane", "sector", "disc"]
MODES = ("auto", "ground", "plane", "sector", "disc")
RadiusUnit = Literal["um", "mm", "focal"]
RADIUS_UNITS = ("um", "mm", "focal")
_MOST = 1e7
"""Of what is given in metres or in units of a map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where poses come from and where rays end; None: found or assumed, and said so.

    poses       file or folder with the photos' poses (`stores.poses`)
    poses_crs   coordinate system of those, where they do not say
    header      names for the columns of that file (or of a table of poses), where it has none
    radius_unit of the radial distortion in Esri's tables, see `stores.poses.PoseOptions`
    columns     part of a pose -> attribute column of the photos' features
    camera      file with the camera's inside, for all photos
    dem         elevation or surface model
    ground_m    height of a level ground
    height_m    of the camera above the ground under it
    near_m, far_m   ground range that footprints and orthos begin and end at
    mode        how footprints are drawn (`geo.footprint`)
    visible     they leave out what hides behind the surface of the elevation model
    occlusion   what hides behind the surface is left out of orthos
    crs         of footprints and orthos; None: of the output's layer, of the elevation model, or a
                metric one about each photo
    resolution  of orthos, in units of their CRS; None: what each photo has to offer
    ortho, rpc, cameras   folders for rectified photos, for copies with an RPC, and for
                `.camera.json` files; None: not wanted
    undistort   copies with an RPC lose their lens distortion, which an RPC cannot follow well
    force_rpc   also where the RPC misses the camera by more than a pixel
    cog         orthos are cloud-optimised GeoTIFFs
    """

    poses: Path | None = None
    poses_crs: str | None = None
    header: Sequence[str] = ()
    radius_unit: RadiusUnit = "um"
    columns: Mapping[str, str] = field(default_factory=dict)
    camera: Path | None = None
    dem: Path | None = None
    ground_m: float | None = None
    height_m: float | None = None
    near_m: float | None = None
    far_m: float | None = None
    mode: FootprintMode = "auto"
    visible: bool = False
    occlusion: bool = False
    crs: str | None = None
    resolution: float | None = None
    ortho: Path | None = None
    rpc: Path | None = None
    cameras: Path | None = None
    undistort: bool = False
    force_rpc: bool = False
    cog: bool = False

    @property
    def has_products(self) -> bool:
        """Whether anything is written beside the photos."""
        return any((self.ortho, self.rpc, self.cameras))

    @property
    def footprints_fingerprint(self) -> str:
        """Tells apart what footprints are made of: other poses, another ground."""
        files = [None if p is None else p.name for p in (self.poses, self.camera, self.dem)]
        heights = [self.ground_m, self.height_m, self.near_m, self.far_m]
        said: list[object] = [*files, self.poses_crs, sorted(self.columns.items()), *heights]
        said += [self.mode, self.radius_unit, list(self.header), self.visible]
        return digest_of(json.dumps(said).encode("utf-8"))[:16]

    @property
    def grid_fingerprint(self) -> str:
        """Tells apart the grids of orthos, and what lies on them."""
        said = [self.footprints_fingerprint, self.crs, self.resolution, self.occlusion]
        return digest_of(json.dumps(said).encode("utf-8"))[:16]

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.dem is not None and self.ground_m is not None:
            raise ArgumentError("--ground is a level ground and --dem is not: give one of them")
        for flag, asked in (("--visible", self.visible), ("--occlusion", self.occlusion)):
            if asked and self.dem is None:
                raise ArgumentError(f"{flag}: only the surface of --dem hides ground: give it")
        if self.far_m is not None and self.far_m <= (self.near_m or 0.0):
            raise ArgumentError(f"--far {self.far_m:g} is not beyond --near {self.near_m or 0:g}")
        for flag, value, known in (
            ("--footprint", self.mode, MODES),
            ("--distortion-radius-unit", self.radius_unit, RADIUS_UNITS),
        ):
            if value not in known:
                raise ArgumentError(f"{flag} {value}: one of {', '.join(known)}")


def _check_numbers(placing: Placing) -> None:
    """Raises ArgumentError for what is no length, or none that makes sense there."""
    infinite = "--far"
    for flag, value, least in (
        ("--resolution", placing.resolution, 0.0),
        ("--camera-height", placing.height_m, 0.0),
        (infinite, placing.far_m, 0.0),
        ("--near", placing.near_m, None),
        ("--ground", placing.ground_m, None),
    ):
        if value is None:
            continue
        if np.isnan(value) or (abs(value) > _MOST and flag != infinite):
            raise ArgumentError(f"{flag} {value:g}: give a number in the units of the earth")
        if least is not None and value <= least:
            raise ArgumentError(f"{flag} {value:g}: more than 0")
    if placing.near_m is not None and placing.near_m < 0.0:
        raise ArgumentError(f"--near {placing.near_m:g}: 0 or more")


def user_crs(flag: str, text: str) -> CRS:
    """A coordinate system that somebody wrote behind a flag. Raises ArgumentError."""
    try:
        return read_crs(text)
    except CrsError as error:
        raise ArgumentError(f"{flag}: {error}") from error


def pose_columns(texts: Sequence[str]) -> dict[str, str]:
    """`heading=azimuth,pitch=tilt` as part -> column.

    Raises:
        ArgumentError: no "=", an unknown part, or one that is named twice.
    """
    parts = (*PARTS, "convention")
    found: dict[str, str] = {}
    for pair in (part for text in texts for part in text.split(",") if part.strip()):
        name, sign, column = (piece.strip() for piece in pair.partition("="))
        if not sign or not column or name not in parts or name in found:
            raise ArgumentError(
                f"--pose {pair}: write PART=COLUMN, each part once, like heading=azimuth,pitch=tilt"
                f"; parts: {', '.join(parts)}"
            )
        found[name] = column
    return found
