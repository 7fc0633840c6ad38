"""Small surveys whose photos have poses that a test knows."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image

from attachtrans.stores.geopackage import quote
from tests.stores.gpkg import Gpkg

EAST, NORTH = 500_000.0, 5_400_000.0
"""The first camera, in EPSG:25832."""
STEP_M, HEIGHT_M = 200.0, 100.0
SIZE = (60, 40)
HFOV = float(np.degrees(2 * np.arctan(0.5)))
"""As wide as high above the ground: nadir photos show 100 m by 66.7 m."""
_POSE = "CameraHeading REAL, CameraPitch REAL, CameraHeight REAL, HorizontalFieldOfView REAL"


def picture(seed: int, size: tuple[int, int] = SIZE, kind: str = "JPEG", **save: object) -> bytes:
    """Noise, the same for the same seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **save)  # type: ignore[arg-type]
    return buffer.getvalue()


def survey(
    path: Path,
    pitches: Iterable[float | None] = (0.0, 0.0),
    *,
    layer: str = "shots",
    epsg: int = 25832,
    at: tuple[float, float] = (EAST, NORTH),
    step: float = STEP_M,
) -> Path:
    """A GeoPackage of photos, one feature each, a step apart, heading north; None: no attitude."""
    gpkg = Gpkg(path)
    if epsg != 4326:
        gpkg.sql(f"INSERT INTO gpkg_spatial_ref_sys VALUES ('s', {epsg}, 'EPSG', {epsg}, '', NULL)")
    features = []
    photos = []
    for number, pitch in enumerate(pitches, 1):
        x, y = at[0] + step * (number - 1), at[1]
        guid = f"{{{number:036}}}"
        pose = (0.0, pitch, HEIGHT_M, HFOV) if pitch is not None else (None,) * 4
        features.append((number, point(x, y, epsg), guid, *pose))
        photos.append((number, guid, "image/jpeg", f"{number}.jpg", 1, picture(number)))
    gpkg.layer(layer, f"GlobalID TEXT, {_POSE}", features)
    gpkg.sql(f"UPDATE gpkg_geometry_columns SET srs_id = {epsg} WHERE table_name = ?", (layer,))
    gpkg.attach(layer, "REL_GLOBALID TEXT", photos)
    return gpkg.done()


def point(x: float, y: float, srs_id: int) -> bytes:
    """A point as GeoPackage stores it."""
    from shapely import Point, to_wkb

    return b"GP\0\1" + srs_id.to_bytes(4, "little", signed=True) + to_wkb(Point(x, y))


def add(path: Path, layer: str, number: int, name: str, data: bytes) -> None:
    """One more attachment of the first feature."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f"INSERT INTO {quote(layer + '__ATTACH')} VALUES (?, ?, '', ?, ?, ?)",
            (number, f"{{{1:036}}}", name, len(data), data),
        )
        connection.commit()


def elevations(path: Path, height_m: float = 0.0, *, epsg: int = 25832) -> Path:
    """A level elevation model about the survey's first photos."""
    size = 80
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=1,
        dtype="float32",
        crs=f"EPSG:{epsg}",
        transform=Affine(10, 0, EAST - 400, 0, -10, NORTH + 400),
        nodata=-9999.0,
    ) as dem:
        dem.write(np.full((1, size, size), height_m, np.float32))
    return path
