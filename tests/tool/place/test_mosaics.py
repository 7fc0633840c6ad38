"""Mosaics in parts: the same as of a piece, with few photos in memory, and strays told."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from attachtrans.errors import GeorefError, ImageError
from attachtrans.geo.mosaic import Frame, Mosaic
from attachtrans.tool.place import mosaics
from attachtrans.tool.place.mosaics import Kind, Mosaicker
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.viewer import Viewer
from attachtrans.types import Item, Size, Window
from tests.geo import scene
from tests.tool.place import world
from tests.tool.place.test_viewer import GROUND, LENS, pose

SIZE = Size(160, 120)
PLACES = [(-60.0, -40.0), (-20.0, -40.0), (20.0, -40.0), (60.0, 10.0)]


def item(number):
    return Item(key=f"{number}.jpg", name=f"{number}.jpg", media_type="", nbytes=None, features=())


def grey(number, bands=2, dtype=np.uint8):
    """A picture that says whose it is and where in it a pixel lies."""
    pixels = np.full((bands, 120, 160), 40 * (number + 1), dtype=dtype)
    pixels[-1] = np.arange(160)[None]
    return pixels


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    return world.write_dem(tmp_path_factory.mktemp("dem") / "dem.tif", GROUND)


def narrow(size):
    """Windows of 96 x 160 pixels, which end within blocks."""
    return [
        Window(
            col=col, row=row, width=min(96, size.width - col), height=min(160, size.height - row)
        )
        for row in range(0, size.height, 160)
        for col in range(0, size.width, 96)
    ]


class Run:
    """A mosaic of photos at places; counts what is decoded."""

    def __init__(self, path, placing, places=PLACES, **options):
        self.fetched = []
        self.viewer = Viewer(placing)
        self.maker = Mosaicker(
            path=path,
            placing=placing,
            **{"seam": "nearest", "crs": None, "fetch": self.fetch, **options},
        )
        for number, place in enumerate(places):
            self.add(number, place)

    def add(self, number, place, decoded=None):
        known = pose(place, pitch=10.0, heading=90.0 * number)
        seen = self.viewer.view(known, SIZE)
        kind = Kind.of(*(decoded or self.fetch(item(number))))
        self.maker.add(item(number), known, seen, kind)

    def fetch(self, photo):
        self.fetched.append(photo.key)
        return grey(int(photo.key[0])), None

    def write(self, **options):
        grid = self.maker.write(self.viewer, **options)
        self.viewer.close()
        with rasterio.open(self.maker.path) as file:
            return grid, file.read()


@pytest.mark.slow
@pytest.mark.parametrize(("seam", "occlusion"), [("nearest", True), ("sharpest", False)])
def test_parts_make_the_whole(seam, occlusion, dem, tmp_path, monkeypatch):
    placing = Placing(dem=dem, occlusion=occlusion, resolution=0.8)
    grid, whole = Run(tmp_path / "a.tif", placing, seam=seam).write()
    monkeypatch.setattr(mosaics, "windows", narrow)
    monkeypatch.setattr(mosaics, "_HELD_BYTES", 1)
    parts = Run(tmp_path / "b.tif", placing, seam=seam)
    other, array = parts.write()
    assert np.array_equal(array, whole)
    assert (other.size, other.affine) == (grid.size, grid.affine)
    assert len(parts.maker._photos) == 1
    assert len(parts.maker._live) <= len(PLACES)
    # And it is what the geometry says of all of them at once.
    viewer = Viewer(placing)
    views = [
        viewer.view(pose(place, pitch=10.0, heading=90.0 * number), SIZE).view
        for number, place in enumerate(PLACES)
    ]
    viewer.close()
    mosaic = Mosaic(
        frames=[
            Frame(view, lambda window, n=number: grey(n)[:, *window.slices])
            for number, view in enumerate(views)
        ],
        grid=grid,
        seam=seam,
        occlusion=occlusion,
    )
    values, mask, index = mosaic.window(
        Window(col=0, row=0, width=grid.size.width, height=grid.size.height)
    )
    assert np.array_equal(whole[-1] > 0, mask > 0)
    assert (whole[0] == values[0]).mean() > 0.999
    assert set(np.unique(index)) == {-1, 0, 1, 2, 3}


def test_only_photos_that_a_part_shows_are_decoded(dem, tmp_path, monkeypatch):
    """Each once, although no two of them are kept: they lie beside each other."""
    places = [(-90.0, 0.0), (0.0, 0.0), (90.0, 0.0)]
    known = [pose(place, z=240.0, pitch=0.0) for place in places]
    monkeypatch.setattr(mosaics, "_HELD_BYTES", 1)
    run = Run(tmp_path / "a.tif", Placing(dem=dem, resolution=0.5), places=[])
    for number, one in enumerate(known):
        kind = Kind.of(*run.fetch(item(number)))
        run.maker.add(item(number), one, run.viewer.view(one, SIZE), kind)
    run.fetched.clear()
    told = []
    run.write(watch=lambda done, total: told.append((done, total)))
    assert sorted(run.fetched) == ["0.jpg", "1.jpg", "2.jpg"]
    assert told[-1][0] == told[-1][1] == len(told)


def test_photos_of_another_kind_are_refused_one_by_one(dem, tmp_path):
    run = Run(tmp_path / "a.tif", Placing(dem=dem, resolution=1.0), PLACES[:2])
    for decoded in (grey(2, bands=3), grey(2, dtype=np.uint16)):
        with pytest.raises(GeorefError, match=r"it has \d bands of uint.*the mosaic 2 of uint8"):
            run.add(2, PLACES[2], (decoded, None))
    assert len(run.maker) == 2
    run.write()


def test_a_photo_that_sees_too_far_is_refused(tmp_path):
    run = Run(tmp_path / "a.tif", Placing(ground_m=200.0, resolution=1e-3), PLACES[:0])
    with pytest.raises(GeorefError, match=r"its ortho would have \d+ x \d+ pixels"):
        run.add(0, PLACES[0])
    assert len(run.maker) == 0


def test_transparent_parts_of_photos_are_transparent(dem, tmp_path):
    alpha = np.full((120, 160), 255, dtype=np.uint8)
    alpha[:60] = 0

    def fetch(photo):
        number = int(photo.key[0])
        return grey(number), alpha if number == 1 else None

    placing = Placing(dem=dem, resolution=1.0)
    run = Run(tmp_path / "a.tif", placing, [], fetch=fetch)
    for number in (0, 1):
        run.add(number, PLACES[number], fetch(item(number)))
    _, array = run.write()
    plain = Run(tmp_path / "b.tif", placing, PLACES[:2]).write()[1]
    assert array.shape == plain.shape
    assert 0.1 < (array[-1] > 127).sum() / (plain[-1] > 0).sum() < 0.95


def test_a_stray_photo_is_named(tmp_path):
    run = Run(tmp_path / "a.tif", Placing(ground_m=200.0, resolution=1.0))
    run.add(4, (60_000.0, 0.0))
    with pytest.raises(GeorefError, match=r"4\.jpg lies far from the other photos"):
        run.maker.write(run.viewer)
    assert not list(tmp_path.iterdir())
    assert len(Run(tmp_path / "b.tif", Placing(ground_m=200.0), PLACES[:1]).maker) == 1


def test_the_system_is_that_of_the_first_photo_or_the_users(dem, tmp_path):
    for crs, wanted in ((None, 32633), (scene.UTM, 32633), ("EPSG:4326", 4326)):
        from pyproj import CRS

        asked = None if crs is None else CRS.from_user_input(crs)
        run = Run(tmp_path / "a.tif", Placing(dem=dem), PLACES[:2], crs=asked)
        assert run.maker.grid().crs.to_epsg() == wanted


def test_a_mosaic_across_the_antimeridian(tmp_path):
    """Two photos on either side of it, in longitudes: one raster that runs on, not around."""
    from pyproj import CRS

    from attachtrans.geo.pose import Pose
    from attachtrans.geo.rotation import pose_matrix

    wgs84 = CRS.from_epsg(4326)
    placing = Placing(ground_m=0.0, resolution=1e-5, crs="EPSG:4326")
    run = Run(tmp_path / "a.tif", placing, [], crs=wgs84)
    for number, longitude in enumerate((179.9998, -179.9998)):
        known = Pose(
            xyz=(longitude, -17.0, 100.0),
            crs=wgs84,
            rotation=pose_matrix("hpr", (0.0, 0.0, 0.0)),
            lens=LENS,
        )
        seen = run.viewer.view(known, SIZE)
        run.maker.add(item(number), known, seen, Kind.of(*run.fetch(item(number))))
    grid, array = run.write()
    assert grid.size.width < 1000
    assert {40, 80} <= set(np.unique(array[0][array[-1] > 0]))


def test_a_photo_that_vanishes_leaves_no_part_of_a_mosaic(dem, tmp_path):
    run = Run(tmp_path / "a.tif", Placing(dem=dem, resolution=1.0), PLACES[:2])

    def gone(photo):
        raise ImageError(f"{photo.key}: is damaged by now")

    run.maker.fetch = gone
    with pytest.raises(ImageError, match="damaged by now"):
        run.maker.write(run.viewer)
    assert not list(tmp_path.iterdir())
