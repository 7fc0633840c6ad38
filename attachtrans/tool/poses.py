"""What is known of the poses of photos: for `attachtrans info`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attachtrans.errors import GeorefError, SourceError
from attachtrans.geo.camera import Camera, PanoramaCamera
from attachtrans.geo.pose import North, Pose, height_m
from attachtrans.geo.rotation import pose_angles
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.base import PhotoSource
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.sources import Choice, open_source
from attachtrans.types import Size

_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseFacts:
    """One photo's pose in plain values; None for what is not known.

    size            (width, height) as stored
    position        (x, y, z) in `crs`
    heading_deg     clockwise from `north`; pitch_deg 0 down, 90 level; roll_deg clockwise
    field_of_view_deg   across the picture as the source sees it
    lacks           what a footprint would need besides
    """

    key: str
    name: str
    size: tuple[int, int]
    position: tuple[float, float, float | None] | None
    crs: str | None
    heading_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    north: str
    field_of_view_deg: float | None
    above_ground_m: float | None
    accuracy: dict[str, float]
    time: str | None
    source: str
    assumed: tuple[str, ...]
    lacks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class PoseSummary:
    """How many photos have which pose; filled while photos are looked at.

    sources   by the words that say where poses are from
    assumed   how often each thing had to be assumed
    lacking   how many photos lack a position, a direction or a lens, by those words
    warnings  the first photos whose sources contradict each other; what a table of poses lacks
    problems  the first photos whose tags cannot be read
    """

    photos: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    assumed: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, facts: PoseFacts) -> None:
        """Count one photo."""
        self.photos += 1
        self.sources[facts.source or "none"] += 1
        own = [text for text in facts.assumed if text.startswith(facts.name)]
        self.warnings += own[: _LISTED - len(self.warnings)]
        self.assumed.update(text for text in facts.assumed if text not in own)
        self.lacking.update(facts.lacks)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "photos": self.photos,
            "sources": dict(self.sources),
            "assumed": dict(self.assumed),
            "lacking": dict(self.lacking),
            "warnings": self.warnings,
            "problems": self.problems,
        }


def pose_facts(photos: PhotoSource, placing: Placing, summary: PoseSummary) -> Iterator[PoseFacts]:
    """Each photo's pose; `summary` counts them. What is no image is left out.

    Raises:
        SourceError, CrsError, ArgumentError: as `Poser`.
    """
    poser = Poser(placing, photos)
    try:
        for item in photos:
            try:
                data = photos.read(item)
                header = probe(data)
                if header.size is None:
                    continue
                size = turned(header.size, header.orientation)
                pose = poser.pose(item, data, size, header.orientation)
            except (GeorefError, SourceError) as error:
                if len(summary.problems) < _LISTED:
                    summary.problems[item.key] = str(error)
                continue
            facts = facts_of(item.key, size, pose)
            summary.add(facts)
            yield facts
        summary.warnings += poser.table_notes
    finally:
        poser.close()


def photo_facts(
    path: Path, choice: Choice, placing: Placing
) -> tuple[list[PoseFacts], PoseSummary]:
    """The poses of a folder's photos, or of one photo. Raises as `open_source` and `Poser`."""
    photos, _ = open_source(path, choice)
    summary = PoseSummary()
    try:
        return list(pose_facts(photos, placing, summary)), summary
    finally:
        photos.close()


def facts_of(key: str, size: Size, pose: Pose) -> PoseFacts:
    """A pose in plain values."""
    heading, pitch, roll = (None, None, None)
    if pose.rotation is not None:
        heading, pitch, roll = (
            round(angle, 9) + 0.0 for angle in pose_angles("hpr", pose.rotation)
        )
    xyz = None if pose.xyz is None else (pose.xyz[0], pose.xyz[1], height_m(pose))
    lacks = {
        "position": pose.xyz is None,
        "direction": pose.rotation is None,
        "focal length": pose.lens is None,
    }
    return PoseFacts(
        key=key,
        name=pose.name,
        size=(size.width, size.height),
        position=xyz,
        crs=None if pose.crs is None else pose.crs.name,
        heading_deg=heading,
        pitch_deg=pitch,
        roll_deg=roll,
        north="true" if pose.north is North.TRUE else "grid",
        field_of_view_deg=None if pose.lens is None else _across_deg(pose.lens),
        above_ground_m=pose.above_ground_m,
        accuracy={name: v for name, v in asdict(pose.accuracy).items() if v is not None},
        time=pose.time,
        source=pose.source,
        assumed=pose.assumed,
        lacks=tuple(name for name, is_so in lacks.items() if is_so),
    )


def _across_deg(lens: Camera) -> float | None:
    """The angle between the middles of a picture's left and right edges."""
    if isinstance(lens, PanoramaCamera):
        return float(360.0 * lens.size.width / lens.whole_px[0])
    middle = 0.5 * (lens.size.height - 1)
    rays = lens.rays(np.array([[-0.5, lens.size.width - 0.5], [middle, middle]]))
    forward = lens.rotation[:, 2] @ rays
    if not np.isfinite(forward).all():
        return None
    return float(np.rad2deg(np.arccos(np.clip(forward, -1.0, 1.0)).sum()))
