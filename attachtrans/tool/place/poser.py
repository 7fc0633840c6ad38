"""Whose pose: what a photo itself, a table, a sidecar and its feature say of how it was taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import shapely

from attachtrans.errors import ArgumentError, GeorefError, ImageError
from attachtrans.geo.pose import Pose
from attachtrans.geo.posemerge import disagreement, merge, oriented
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.crs import crs_of
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.poses import PoseOptions, PoseTable, read_poses
from attachtrans.stores.poses.base import key
from attachtrans.stores.poses.camera_json import SUFFIX, read_camera
from attachtrans.stores.poses.cameras import read_cameras
from attachtrans.stores.poses.columns import check_mapping, columns_pose
from attachtrans.stores.poses.documents import read_json
from attachtrans.stores.poses.exif import same_shape
from attachtrans.stores.poses.lenses import has_own_size
from attachtrans.stores.poses.photo import photo_pose, usual_lens
from attachtrans.tool.place.options import Placing, user_crs
from attachtrans.types import FeatureRef, Item, Size

if TYPE_CHECKING:
    from attachtrans.stores.attributes import Feature, FeatureReader
    from attachtrans.stores.photos import Photos

_SHOWN = 5
_APART_M = 100.0
"""How far a photo's own position may lie from its feature before somebody should know."""
_OF_PHOTOS = frozenset(
    (
        *("heading", "direction", "compass", "compassangle", "imgdirection", "gpsimgdirection"),
        *("cameraheading", "camheading", "camerapitch", "campitch", "cameraroll", "camroll"),
        *(
            "cameraheight",
            "avghtag",
            "horizontalfieldofview",
            "verticalfieldofview",
            "hfov",
            "vfov",
        ),
        *("neardistance", "fardistance", "neardist", "fardist"),
    )
)
"""Columns that speak of a photo whatever layer they are in; `height` may be that of a tree."""


class Poser:
    """Finds poses; thread-safe. Close it after use.

    In this order, part by part: the photo's own sidecar (.camera.json), the table that the user
    names, the columns that the user maps, the photo's EXIF and XMP, columns whose names speak of
    photos, and the feature's point.
    """

    def __init__(self, placing: Placing, photos: PhotoSource | None) -> None:
        """Read what is common to all photos; `photos` of the run, None for a table alone.

        Raises:
            SourceError: a table, a camera or features that cannot be read.
            CrsError: positions without a named CRS.
            ArgumentError: options that do not fit each other or what is there.
        """
        self._placing = placing
        self._photos = photos
        self._lock = Lock()
        self._warnings: list[str] = []
        self._far_off = 0
        self._asked, self._unlisted = 0, list[str]()
        self._lens = common_lens(placing)
        self._table: PoseTable | None = None
        if placing.poses is not None:
            self._table = read_pose_table(placing.poses, placing)
        self._features: FeatureReader | None = None
        if (hung := _on_features(photos)) is not None:
            from attachtrans.stores.attributes import FeatureReader

            self._features = FeatureReader(hung.database, hung.tables)
            columns = [c for layer in self._features.layers for c in self._features.columns(layer)]
            check_mapping(placing.columns, columns)
        elif placing.columns and self._table is None:
            raise ArgumentError("--pose names attribute columns, and these photos have no features")

    @property
    def notes(self) -> tuple[str, ...]:
        """What `table_notes` say, and which photos lie far from their features."""
        with self._lock:
            more = self._far_off - len(self._warnings)
            others = (f"{more} more photos lie as far from their features",) if more else ()
            found = (*self._warnings, *others)
        return (*self.table_notes, *found)

    @property
    def table_notes(self) -> tuple[str, ...]:
        """What the table of poses had to say, and how many photos it does not have."""
        if self._table is None or self._placing.poses is None:
            return ()
        name, names = self._placing.poses.name, [pose.name for pose in self._table.poses[:_SHOWN]]
        with self._lock:
            asked, lacking = self._asked, sorted(self._unlisted)[:_SHOWN]
            missed = len(self._unlisted)
        if not missed:
            return self._table.notes
        found = (
            f"{name} has none of the {asked} photos ({', '.join(lacking)}), but "
            f"{', '.join(names) or 'no poses at all'}"
            if missed == asked
            else f"{name} lacks {missed} of the {asked} photos ({', '.join(lacking)})"
        )
        return (*self._table.notes, f"{found}: for these, what is known otherwise was taken")

    def _warn(self, text: str) -> None:
        with self._lock:
            self._far_off += 1
            # Sorted, since photos may come in any order.
            self._warnings = sorted((*self._warnings, text))[:_SHOWN]

    def pose(self, item: Item, data: bytes, size: Size, orientation: int) -> Pose:
        """What is known of a photo's pose, which may lack any part.

        Args:
            item: of the photo.
            data: its content.
            size: of the stored picture.
            orientation: EXIF, 1 to 8.

        Raises:
            GeorefError: sources contradict themselves, or say what no camera has; says how.
            SourceError: the photo's sidecar cannot be read.
        """
        try:
            return self._pose(item, data, size, orientation)
        except ArgumentError as error:  # options were looked at: numbers of this photo
            raise GeorefError(f"{item.name}: {error}") from error

    def _pose(self, item: Item, data: bytes, size: Size, orientation: int) -> Pose:
        try:
            own = photo_pose(data, name=item.name, assume_lens=False) or Pose()
        except ImageError as error:
            raise GeorefError(f"{item.name}: its tags cannot be read: {error}") from error
        point = self._point(item)
        if point is not None and (apart := disagreement(own, point, _APART_M)):
            own = own.assuming(apart)
            self._warn(apart)
        found = [*self._named(item), *self._mapped(item), own, *self._guessed(item)]
        found += [point] if point is not None else []
        if self._lens is not None:
            found = [self._lens, *found]
        found.append(usual_lens(size, orientation))
        pose = merge(*(oriented(one, orientation) for one in found))
        return replace(_stretched(pose, size), name=item.name)

    def _named(self, item: Item) -> Iterator[Pose]:
        """From files that speak of this photo."""
        path = self._file(item)
        if path is not None:
            sidecar = path.with_name(path.name + SUFFIX)
            if sidecar.is_file():
                yield read_camera(read_json(sidecar), sidecar).as_pose()
        if self._table is not None:
            # A key is a path, which tells folders apart, or the number of an attachment.
            is_path = PurePosixPath(item.key).name == item.name
            pose = self._table.find(item.key if is_path else item.name)
            with self._lock:
                self._asked += 1
                self._unlisted += [item.name] if pose is None else []
            if pose is not None:
                yield pose

    def _file(self, item: Item) -> Path | None:
        """Where the photo is, if it is a file."""
        if isinstance(self._photos, FolderPhotos):
            return self._photos.file(item).path
        hung = _on_features(self._photos)
        return None if hung is None else next(iter(hung.place(item).files), None)

    def _mapped(self, item: Item) -> Iterator[Pose]:
        if self._placing.columns:
            for feature, _ in self._feature(item):
                named = {self._placing.columns[part] for part in self._placing.columns}
                row = {name: feature.attributes.get(name) for name in named}
                yield columns_pose(row, self._placing.columns)

    def _guessed(self, item: Item) -> Iterator[Pose]:
        for feature, _ in self._feature(item):
            row = {n: value for n, value in feature.attributes.items() if key(n) in _OF_PHOTOS}
            if row:
                yield columns_pose(row, {})

    def _point(self, item: Item) -> Pose | None:
        """The feature's point as a position."""
        for feature, ref in self._feature(item):
            if feature.geometry is None or self._features is None:
                continue
            crs = crs_of(self._features.srs(ref.layer))
            shape = shapely.from_wkb(feature.geometry, on_invalid="ignore")
            if crs is None or shape is None or shape.geom_type != "Point" or shape.is_empty:
                continue
            x, y, z = shapely.get_coordinates(shape, include_z=True)[0]
            return Pose(
                xyz=(float(x), float(y), float(z) if np.isfinite(z) else None),
                crs=crs,
                rough_height=True,
                source=f"the point of its feature ({ref.layer} {ref.fid})",
            )
        return None

    def _feature(self, item: Item) -> Iterator[tuple[Feature, FeatureRef]]:
        """The first feature that the photo hangs on."""
        if self._features is None or not item.features:
            return
        ref = item.features[0]
        with self._lock:
            feature = self._features.read(ref)
        if feature is not None:
            yield feature, ref

    def close(self) -> None:
        """Let go of the features."""
        if self._features is not None:
            self._features.close()


def _stretched(pose: Pose, size: Size) -> Pose:
    """A pose that says so if its lens is of a picture of another shape than a (stored) photo."""
    if pose.lens is None or not has_own_size(pose.lens):
        return pose
    upright = size if pose.orientation < 5 else Size(size.height, size.width)
    width, height = pose.lens.size
    if same_shape(pose.lens.size, upright):
        return pose
    return pose.assuming(f"lens of a picture of {width} x {height}, stretched to this one's shape")


def _on_features(photos: PhotoSource | None) -> Photos | None:
    """A source whose photos hang on features; what reads those is loaded for no other."""
    if photos is None or isinstance(photos, FolderPhotos):
        return None
    from attachtrans.stores.photos import Photos

    return photos if isinstance(photos, Photos) else None


def common_lens(placing: Placing) -> Pose | None:
    """The camera that is given for all photos, as a pose to `merge` before others.

    None where there is none, or several, which the poses of a table name.

    Raises:
        SourceError: its file cannot be read.
        ArgumentError: several, and no table.
    """
    if placing.camera is None:
        return None
    cameras = read_cameras(placing.camera)
    if "" in cameras:
        return Pose(lens=cameras[""], source=f"lens of {placing.camera.name}")
    if placing.poses is None:
        raise ArgumentError(
            f"--camera {placing.camera}: has {len(cameras)} cameras ({', '.join(cameras)}), and "
            "only --poses could name that of each photo; give a file with one"
        )
    return None


def read_pose_table(path: Path, placing: Placing) -> PoseTable:
    """The poses of a file, with what the user says of them. Raises as `read_poses`."""
    cameras = {} if placing.camera is None else read_cameras(placing.camera)
    options = PoseOptions(
        crs=None if placing.poses_crs is None else user_crs("--poses-crs", placing.poses_crs),
        mapping=placing.columns,
        cameras=cameras,
        columns=tuple(placing.header),
        radius_unit=placing.radius_unit,
    )
    return read_poses(path, options=options)
