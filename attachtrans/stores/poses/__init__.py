"""Readers of poses: what photos carry themselves, and tables and files beside them.

A file is recognised by its content. `POSE_FILES` is the order of trial; a new format is one module
and one line in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.poses.base import PoseOptions, PoseTable
from attachtrans.stores.poses.camera_json import is_camera_file, read_camera_files
from attachtrans.stores.poses.columns import has_attitude, read_columns
from attachtrans.stores.poses.csvfile import is_pose_csv, read_pose_csv
from attachtrans.stores.poses.documents import Document, open_document, read_json
from attachtrans.stores.poses.esri_frames import is_frames, read_frames
from attachtrans.stores.poses.esri_oriented import is_oriented_imagery, read_oriented_imagery
from attachtrans.stores.poses.mapillary import is_mapillary, read_mapillary
from attachtrans.stores.poses.opensfm import is_reconstruction, read_reconstruction
from attachtrans.stores.poses.orthority import is_orthority, read_orthority
from attachtrans.stores.poses.stac import is_stac, read_stac

__all__ = ["POSE_FILES", "PoseFile", "PoseOptions", "PoseTable", "read_poses"]


class PoseFile(NamedTuple):
    """A format: its name, words for messages, and its two functions."""

    name: str
    words: str
    fits: Callable[[Document], bool]
    read: Callable[[Document, PoseOptions], PoseTable]


POSE_FILES = (
    PoseFile("camera", "our .camera.json", is_camera_file, read_camera_files),
    PoseFile("opensfm", "OpenSfM or ODM reconstruction", is_reconstruction, read_reconstruction),
    PoseFile("orthority", "orthority exterior parameters", is_orthority, read_orthority),
    PoseFile("stac", "STAC perspective items", is_stac, read_stac),
    PoseFile("mapillary", "Mapillary API records", is_mapillary, read_mapillary),
    PoseFile("frames", "Esri Frames and Cameras tables", is_frames, read_frames),
    PoseFile("oriented", "Esri oriented imagery table", is_oriented_imagery, read_oriented_imagery),
    PoseFile("csv", "table of positions and angles", is_pose_csv, read_pose_csv),
    PoseFile("columns", "layer with a heading", has_attitude, read_columns),
)
"""In order of trial."""

_INSIDE = (
    "reconstruction.json",
    "opensfm/reconstruction.json",
    "Frames.csv",
    "frames.csv",
)
"""Where a folder has the poses of its photos; else in all its camera files and STAC items."""


def read_poses(
    path: Path,
    *,
    kind: str | None = None,
    crs: CRS | None = None,
    options: PoseOptions | None = None,
) -> PoseTable:
    """The poses of a file, of a file geodatabase, or of a folder that has either.

    Args:
        path: of it.
        kind: the name of a format in `POSE_FILES`; None: "columns" where `options` maps columns,
            else found out by content.
        crs: of positions that the file gives in an unnamed CRS; goes before `options.crs`.
        options: what else a user says.

    Raises:
        SourceError: cannot be read, or has no poses that are known; says what was looked for.
        CrsError: the positions' CRS is not named.
        ArgumentError: an option that does not fit.
    """
    wish = options or PoseOptions()
    if crs is not None:
        wish = replace(wish, crs=crs)
    document = _folder(path) if _is_folder(path) else open_document(path, wish.columns)
    if wish.mapping and kind is None and document.tables:
        return read_columns(document, wish)
    for found in POSE_FILES:
        if kind == found.name or (kind is None and found.fits(document)):
            if not found.fits(document):
                raise SourceError(f"{path}: is no {found.words}")
            return found.read(document, wish)
    if kind is not None:
        names = ", ".join(found.name for found in POSE_FILES)
        raise ArgumentError(f"unknown format of poses {kind!r}; known: {names}")
    listed = "; ".join(found.words for found in POSE_FILES)
    raise SourceError(f"{path}: has no poses that are known. Read are: {listed}")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".gdb"


def _folder(path: Path) -> Document:
    """What a folder has: one of the files that are known by name, or all its JSON files."""
    for name in _INSIDE:
        if (path / name).is_file():
            return open_document(path / name)
    values = []
    for file in sorted(path.glob("*.json")):
        # Other programs' JSON lies beside photos too.
        with suppress(SourceError):
            values.append(read_json(file))
    if not values:
        raise SourceError(
            f"{path}: has no poses that are known: neither {', '.join(_INSIDE)} nor JSON files"
        )
    return Document(path=path, json=values)
