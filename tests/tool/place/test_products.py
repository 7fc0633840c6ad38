"""Products of photos: orthos against the ground they show, names, cameras, full disks."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import CRS

from attachtrans.errors import ArgumentError, BusyError, GeorefError, SinkError
from attachtrans.geo.rectify import rectify
from attachtrans.stores.poses.camera_json import read_camera
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.products import (
    Products,
    colours,
    full_value,
    product_names,
    safe_path,
    target,
    windows,
)
from attachtrans.tool.place.viewer import Seen
from attachtrans.types import Size
from tests.geo import scene
from tests.tool.place import world
from tests.tool.place.test_viewer import pose

VIEW = scene.view(eye=world.eyes()[0])


def seen(known=VIEW, **more):
    return Seen(
        pose=pose(assumed=("one thing", "another")),
        view=known,
        ground="a relief",
        near_m=None,
        crs=known.world.crs,
        datum=known.world.crs,
        **more,
    )


@pytest.fixture(scope="module")
def picture():
    return np.moveaxis(world.picture(VIEW), -1, 0)


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs, file.tags(), file.colorinterp


def test_an_ortho_shows_the_pattern_of_the_ground_where_it_is(picture, tmp_path):
    products = Products(placing=Placing(ortho=tmp_path, resolution=0.5))
    products.write("one/two.jpg", seen(), picture)
    array, grid, crs, tags, shown = read(tmp_path / "one" / "two.tif")
    assert (crs.to_epsg(), grid.a, grid.e) == (32633, 0.5, -0.5)
    assert (grid.c % 0.5, grid.f % 0.5) == (0.0, 0.0)
    assert [colour.name for colour in shown] == ["red", "green", "blue", "alpha"]
    assert tags["POSE_SOURCE"] == "a test"
    assert tags["POSE_ASSUMED"] == "one thing; another"
    assert tags["GROUND_SOURCE"] == "a relief"
    assert set(np.unique(array[3])) == {0, 255}
    rows, cols = np.nonzero(array[3])
    places = np.stack([grid.c + (cols + 0.5) * 0.5, grid.f - (rows + 0.5) * 0.5])
    off = array[0][rows, cols] - world.pattern(places)
    assert np.abs(np.median(off)) < 0.5
    assert np.percentile(np.abs(off), 99) < 8.0
    assert (array[:3, array[3] == 0] == 0).all()


@pytest.mark.parametrize(
    ("dtype", "bands"), [("uint8", 1), ("uint16", 3), ("int16", 2), ("float32", 5), ("uint8", 4)]
)
def test_types_and_bands(dtype, bands, picture, tmp_path):
    pixels = np.repeat(picture[:1], bands, axis=0).astype(dtype)
    products = Products(placing=Placing(ortho=tmp_path, resolution=2.0))
    products.write("a", seen(), pixels)
    array, *_ = read(tmp_path / "a.tif")
    assert (len(array), array.dtype) == (bands + 1, np.dtype(dtype))
    assert array[-1].max() == full_value(np.dtype(dtype))
    expected, mask = rectify(
        pixels, VIEW, products.grid(seen()), interpolation="cubic", antialias=True
    )
    assert np.array_equal(array[:-1], expected)
    assert np.array_equal(array[-1] > 0, mask > 0)


def test_a_photos_own_transparency_stays(picture, tmp_path):
    """Its left half is transparent: on the map, what lies left of its middle column."""
    alpha = np.full(picture.shape[1:], 255, dtype=np.uint8)
    alpha[:, :80] = 0
    products = Products(placing=Placing(ortho=tmp_path, resolution=1.0))
    products.write("a.png", seen(), picture, alpha)
    array, grid, *_ = read(tmp_path / "a.tif")
    rows, cols = np.mgrid[0 : array.shape[1], 0 : array.shape[2]]
    places = np.stack([grid.c + cols.ravel() + 0.5, grid.f - rows.ravel() - 0.5])
    col = VIEW.map_to_pixel(places)[0].reshape(rows.shape)
    whole = Products(placing=Placing(ortho=tmp_path / "w", resolution=1.0))
    whole.write("a.png", seen(), picture)
    shown = read(tmp_path / "w" / "a.tif")[0][3] > 0
    assert (array[3][shown & (col < 78)] == 0).all()
    assert (array[3][shown & (col > 82)] == 255).all()


def test_true_black_is_no_gap(picture, tmp_path):
    """Trap 10: what is transparent says the alpha band, and no value."""
    products = Products(placing=Placing(ortho=tmp_path, resolution=1.0))
    products.write("a.png", seen(), np.zeros_like(picture))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata is None
        shown = file.read_masks(1)
        assert set(np.unique(shown)) == {0, 255}
        assert not file.read((1, 2, 3)).any()
    products.write("b.png", seen(), picture)
    with rasterio.open(tmp_path / "b.tif") as file:
        assert np.array_equal(file.read_masks(1), shown)


def test_the_system_is_the_users_else_the_photos(picture, tmp_path):
    for crs, wanted in ((None, 32632), (CRS.from_epsg(3857), 3857), (CRS.from_epsg(4326), 4326)):
        products = Products(placing=Placing(ortho=tmp_path), crs=crs)
        grid = products.grid(replace(seen(), crs=CRS.from_epsg(32632)))
        assert grid.crs.to_epsg() == wanted
    products.write("a.jpg", seen(), picture)
    assert read(tmp_path / "a.tif")[2].to_epsg() == 4326


def test_a_cloud_optimised_ortho_is_the_same(picture, tmp_path):
    for cog in (False, True):
        placing = Placing(ortho=tmp_path / str(cog), resolution=1.0, cog=cog)
        Products(placing=placing).write("a.jpg", seen(), picture)
    plain, cog = (read(tmp_path / str(cog) / "a.tif") for cog in (False, True))
    assert np.array_equal(plain[0], cog[0])
    assert plain[1:3] == cog[1:3]


def test_orthos_that_nobody_wants(picture, tmp_path):
    for resolution in (1e-4, 1e-6):
        products = Products(placing=Placing(ortho=tmp_path, resolution=resolution))
        with pytest.raises(GeorefError, match=r"a\.jpg: .*(give a larger|--resolution)"):
            products.write("a.jpg", seen(), picture)
    sky = scene.view(eye=world.eyes(pitch=170.0)[0], far_m=100.0)
    with pytest.raises(GeorefError, match="shows no ground"):
        Products(placing=Placing(ortho=tmp_path)).write("a.jpg", seen(sky), picture)
    assert not list(tmp_path.rglob("*.tif"))


def test_cameras_say_all_that_is_known(tmp_path, picture):
    datum = CRS.from_user_input("EPSG:32633+3855")
    products = Products(placing=Placing(cameras=tmp_path))
    products.write("one/two.jpg", replace(seen(), datum=datum), picture)
    path = tmp_path / "one" / "two.jpg.camera.json"
    found = read_camera(json.loads(path.read_text(encoding="utf-8")), path)
    assert found.crs == datum
    assert np.array_equal(found.camera.position, VIEW.eye.position)
    assert found.as_pose().assumed == ("one thing", "another")
    assert not found.as_pose().rough_height
    assert found.name == "one/two.jpg"


def test_folders_are_made_or_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("ortho", "rpc", "cameras"):
        products = Products(placing=Placing(**{name: tmp_path / "a" / name}))
        with ExitStack() as stack:
            products.prepare(stack)
            assert (tmp_path / "a" / name).is_dir()
            with pytest.raises(BusyError, match="another run of attachtrans writes to"):
                products.prepare(stack)
        assert not list((tmp_path / "a" / name).iterdir())
        wrong = Products(placing=Placing(**{name: tmp_path / "file" / "b"}))
        with pytest.raises(ArgumentError, match=f"--{name} .*cannot be made"):
            wrong.prepare(stack)
    with pytest.raises(SinkError, match="cannot be made"):
        target(tmp_path, "file/photo", ".tif")


def test_a_full_disk_leaves_no_part_of_an_ortho(picture, tmp_path):
    products = Products(placing=Placing(ortho=tmp_path, resolution=0.3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(SinkError, match="cannot be written"):
            products.write("a.jpg", seen(), picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())


PARTS = st.one_of(
    st.sampled_from(
        ["a", "A", "..", ".", "", "con", "a.jpg", "a.png", "a.jpg.tif", "a\nb", "é", "e\u0301"]
    ),
    st.text(max_size=8).filter(lambda text: "/" not in text),
    st.text("ab", min_size=110, max_size=140),
)
KEYS = st.builds(
    lambda parts, ending: "/".join(parts) + ending,
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(["", ".jpg", ".JPG", ".png", ".tif"]),
).filter(lambda key: key.strip("/"))


@given(st.lists(KEYS, unique=True, max_size=12))
@example(["..", "\\"])
def test_every_photo_has_a_name_of_its_own_within_the_folder(keys):
    """Also where file systems know no case, and for names that lead out of a folder."""
    names = product_names(keys)
    products, paths = Products(placing=Placing(), names=names), set()
    for key in keys:
        path = safe_path(products.name(key), ".tif")
        assert not {"..", ".", ""} & set(path.parts)
        assert all(len(part.encode()) <= 200 for part in path.parts)
        paths.add(str(path).casefold())
    assert len(paths) == len(keys)
    assert product_names(reversed(keys)) == names


def test_names_stay_what_photos_are_called():
    assert product_names(["a.jpg", "b.jpg", "one/a.jpg"]) == {}
    assert product_names(["a.jpg", "a.png"]) == {"a.jpg": "a.jpg", "a.png": "a.png"}


def test_windows_cover_a_raster_once():
    for size in (Size(1, 1), Size(1024, 1024), Size(1025, 2049)):
        seen_px = np.zeros(size[::-1], dtype=np.int32)
        for window in windows(size):
            seen_px[window.slices] += 1
        assert (seen_px == 1).all()


def test_colours():
    assert colours(1) == ("gray", "alpha")
    assert colours(4) == ("undefined",) * 4 + ("alpha",)
    assert full_value(np.dtype("uint16")) == 65535
    assert full_value(np.dtype("float32")) == 1.0


def test_a_resolution_in_the_wrong_unit_is_refused(tmp_path):
    degrees = Products(placing=Placing(ortho=tmp_path, resolution=0.5), crs=CRS.from_epsg(4326))
    with pytest.raises(GeorefError, match=r"0\.5 leaves \d x \d pixels.*WGS 84 \(degree\)"):
        degrees.grid(seen())
