"""orthority's exterior parameters as GeoJSON: xyz in the file's world_crs, opk in radians.

Source: orthority documentation (file formats); only the format is shared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attachtrans.errors import AttachtransError, SourceError
from attachtrans.geo.pose import North, Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.base import PoseOptions, PoseTable, numbers, srs, table, words, z_unit
from attachtrans.stores.poses.documents import Document


def is_orthority(document: Document) -> bool:
    """Whether a document is such a collection of exterior parameters."""
    value = document.json
    return (
        isinstance(value, dict)
        and isinstance(value.get("world_crs"), str)
        and any(found.has("filename", "xyz", "opk") for found in document.tables)
    )


def read_orthority(document: Document, options: PoseOptions) -> PoseTable:
    """The poses of its features."""
    world = document.json.get("world_crs") if isinstance(document.json, dict) else None
    poses: list[Pose] = []
    notes: list[str] = []
    for row in document.tables[0].rows:
        try:
            poses.append(_pose(row.values, world, options))
        except AttachtransError as error:
            notes.append(f"{words(row.values.get('filename'))}: {error}")
    return table(poses, notes)


def _pose(values: Mapping[str, object], world: object, options: PoseOptions) -> Pose:
    crs = options.crs or srs(world)
    xyz, opk = numbers(values.get("xyz"), 3), numbers(values.get("opk"), 3)
    if xyz is None or opk is None:
        raise SourceError("lacks xyz or opk")
    return Pose(
        name=words(values.get("filename")),
        xyz=(xyz[0], xyz[1], xyz[2]),
        crs=crs,
        z_unit_m=z_unit(crs),
        rotation=pose_matrix("opk", np.rad2deg(opk)),
        north=North.GRID if crs.is_projected else North.TRUE,
        lens=options.camera(words(values.get("camera"))),
        source="exterior parameters (GeoJSON)",
    )
