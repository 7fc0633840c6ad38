"""The imaginary survey behind the fixtures: where its features stand, who is who."""

from __future__ import annotations

import uuid
from pathlib import Path

from pyproj import Geod, Transformer

from fixture_parts.geopackage import Geometry, point
from fixture_parts.photos import Shot

UTM = 25832
ORIGIN = 561_230.0, 5_652_410.0
NAMESPACE = uuid.UUID("6f0f5f0e-7f0c-5b58-9f0a-0a7f3f6f1c55")

AWAY_M = {"crack": 0.8, "manhole": 1.2, "sign": 2.5, "hydrant": 3.0, "pole": 7.0, "tree": 9.0}
EYE_M = 1.6
GEOD = Geod(ellps="GRS80")

to_wgs84 = Transformer.from_crs(UTM, 4326, always_xy=True).transform


def guid(name: str) -> str:
    """A GlobalID as ArcGIS writes it, the same for the same name."""
    return f"{{{uuid.uuid5(NAMESPACE, name)}}}".upper()


def bare_uuid(name: str) -> str:
    """A UUID as QGIS's uuid('WithoutBraces') gives, the same for the same name."""
    return str(uuid.uuid5(NAMESPACE, name))


def place(number: int) -> tuple[float, float, float]:
    """Where feature `number` stands: UTM 32N easting, northing and height."""
    return ORIGIN[0] + 37.5 * number, ORIGIN[1] + 21.25 * (number % 5), 212.0 + 0.75 * number


def wgs84(number: int) -> tuple[float, float, float]:
    """The same place as longitude, latitude and height."""
    east, north, height = place(number)
    lon, lat = to_wgs84(east, north)
    return round(lon, 7), round(lat, 7), height


def spot(number: int) -> Geometry:
    """A Point Z in UTM."""
    return point(UTM, *place(number))


def station(scene: str, feature: int, heading_deg: float) -> tuple[float, float, float]:
    """Where one who looks at a feature holds the camera: longitude, latitude, height."""
    lon, lat, height = wgs84(feature)
    lon, lat, _ = GEOD.fwd(lon, lat, heading_deg + 180.0, AWAY_M[scene])
    return round(lon, 7), round(lat, 7), height + EYE_M


def taken(scene: str, number: int, *, feature: int | None = None, **more: object) -> Shot:
    """A photo of a feature, by default that of its number."""
    heading = number * 29.5 % 360
    return Shot(
        scene=scene,
        label=f"{number:04d}",
        seed=100 + number,
        position=station(scene, number if feature is None else feature, heading),
        heading_deg=heading,
        when=f"2026:05:04 {9 + number // 60:02d}:{number % 60:02d}:00",
        **more,
    )


def save(home: Path, files: dict[str, bytes]) -> None:
    """Write files below a folder."""
    for name, data in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
